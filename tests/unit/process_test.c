#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/process.h"
#include "engine/timer.h"

struct run {
    struct lift_loop *loop;
    struct lift_process *process;
    struct lift_error err;
    int done, status, awaited;
    bool truncated;
    char out[256], errors[256]; /* as `done` had them, cut */
    size_t out_length, errors_length, streamed[3];
};

static int open_fds(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static int fds_before;

static int setup(void **state)
{
    static struct run run;
    fds_before = open_fds();
    run = (struct run){.awaited = 1};
    run.loop = lift_loop_new(&run.err);
    *state = &run;
    return run.loop ? 0 : -1;
}

static int teardown(void **state)
{
    struct run *run = *state;
    int left = lift_loop_handles(run->loop);
    lift_loop_free(run->loop);
    return left + (open_fds() - fds_before);
}

static void remember(char *to, size_t room, const struct lift_buf *from)
{
    if (from->data)
        strncpy(to, from->data, room - 1);
}

static void on_done(void *payload, struct lift_process_end *end)
{
    struct run *run = payload;
    run->done++;
    run->status = end->status;
    run->truncated = end->truncated;
    run->out_length = end->out.length;
    run->errors_length = end->err.length;
    remember(run->out, sizeof run->out, &end->out);
    remember(run->errors, sizeof run->errors, &end->err);
    if (run->done == run->awaited)
        lift_loop_stop(run->loop);
}

static void on_output(void *payload, int fd, const char *bytes, size_t length)
{
    struct run *run = payload;
    assert_non_null(bytes);
    run->streamed[fd] += length;
}

static void stop(void *payload)
{
    struct run *run = payload;
    lift_loop_stop(run->loop);
}

static void run_for(struct run *run, uint64_t ms)
{
    struct lift_timer *end = lift_timer_new(run->loop, ms, stop, run);
    lift_loop_run(run->loop);
    lift_timer_free(end);
}

static struct lift_process *start(struct run *run, const struct lift_process_spec *spec)
{
    return lift_process_start(run->loop, spec, on_output, on_done, run, &run->err);
}

/* `sh -c script`, to its end. */
static void shell(struct run *run, const char *script, struct lift_process_spec spec)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    spec.argv = argv;
    struct lift_process *process = start(run, &spec);
    assert_non_null(process);
    assert_int_equal(run->done, 0);
    lift_loop_run(run->loop);
    assert_int_equal(run->done, 1);
    run->done = 0;
    lift_process_free(process);
}

static void keeps_both_outputs_and_the_status(void **state)
{
    struct run *run = *state;
    shell(run, "echo out; echo err >&2; exit 7", (struct lift_process_spec){0});
    assert_string_equal(run->out, "out\n");
    assert_string_equal(run->errors, "err\n");
    assert_true(WIFEXITED(run->status));
    assert_int_equal(WEXITSTATUS(run->status), 7);
    assert_false(run->truncated);
    shell(run, "kill -TERM $$", (struct lift_process_spec){0});
    assert_true(WIFSIGNALED(run->status));
    assert_int_equal(WTERMSIG(run->status), SIGTERM);
}

static void done_never_runs_from_the_start(void **state)
{
    struct run *run = *state;
    const char *argv[] = {"/bin/true", NULL};
    struct lift_process *process = start(run, &(struct lift_process_spec){.argv = argv});
    usleep(50000); /* it has ended long ago */
    assert_int_equal(run->done, 0);
    assert_true(lift_process_pid(process) > 0);
    lift_loop_run(run->loop);
    assert_int_equal(run->done, 1);
    lift_process_kill(process, SIGKILL); /* nothing left to kill */
    lift_process_free(process);
    lift_process_free(NULL);
}

static void gives_input_environment_and_folder(void **state)
{
    struct run *run = *state;
    size_t length = 300000; /* more than a pipe holds */
    char *input = calloc(1, length);
    assert_non_null(input);
    memset(input, 'i', length);
    const char *const env[] = {"ONLY=this", NULL};
    shell(run, "wc -c; echo $ONLY:$HOME; pwd",
          (struct lift_process_spec){
              .env = env, .cwd = "/proc", .input = input, .input_length = length});
    assert_string_equal(run->out, "300000\nthis:\n/proc\n");
    free(input);

    setenv("LIFT_TEST", "inherited", 1);
    shell(run, "wc -c; echo $LIFT_TEST", (struct lift_process_spec){0});
    assert_string_equal(run->out, "0\ninherited\n");
}

static void output_ends_at_the_ceiling_of_each_pipe(void **state)
{
    struct run *run = *state;
    shell(run, "yes | head -c 200000; printf 12345678 >&2",
          (struct lift_process_spec){.max_output = 8});
    assert_int_equal(run->out_length, 8);
    assert_string_equal(run->errors, "12345678");
    assert_true(run->truncated);
    assert_int_equal(run->streamed[1], 200000); /* those who look on see all of it */
    assert_int_equal(run->streamed[2], 8);

    shell(run, "printf 12345678; printf 12345678 >&2", (struct lift_process_spec){.max_output = 8});
    assert_false(run->truncated);
}

static void waits_for_the_pipes_not_just_the_child(void **state)
{
    struct run *run = *state;
    shell(run, "(sleep 0.1; echo late) & exit 3", (struct lift_process_spec){0});
    assert_string_equal(run->out, "late\n");
    assert_int_equal(WEXITSTATUS(run->status), 3);
    shell(run, "exec >&- 2>&-; sleep 0.1; exit 4", (struct lift_process_spec){0});
    assert_int_equal(WEXITSTATUS(run->status), 4);
}

static void a_program_that_cannot_start_is_an_error_of_the_start(void **state)
{
    struct run *run = *state;
    const char *missing[] = {"no-such-program-here", NULL};
    assert_null(start(run, &(struct lift_process_spec){.argv = missing}));
    assert_int_equal(run->err.code, LIFT_NOT_FOUND);
    assert_non_null(strstr(run->err.text, "no-such-program-here"));
    assert_true(run->err.hint[0] != '\0');

    const char *folder[] = {"/proc", NULL};
    assert_null(start(run, &(struct lift_process_spec){.argv = folder}));
    assert_int_equal(run->err.code, LIFT_DENIED);

    const char *fine[] = {"true", NULL};
    assert_null(start(run, &(struct lift_process_spec){.argv = fine, .cwd = "/no/such"}));
    assert_int_equal(run->err.code, LIFT_CONFIG);
    assert_non_null(strstr(run->err.text, "/no/such"));

    run_for(run, 20);
    assert_int_equal(run->done, 0);
    assert_int_equal(lift_loop_handles(run->loop), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie either */
    assert_int_equal(errno, ECHILD);
}

static void a_kill_reaches_the_whole_group(void **state)
{
    struct run *run = *state;
    const char *argv[] = {"sh", "-c", "sleep 60 & echo ready; wait", NULL};
    struct lift_process *process =
        start(run, &(struct lift_process_spec){.argv = argv, .own_group = true});
    assert_non_null(process);
    while (run->streamed[1] < strlen("ready\n"))
        run_for(run, 5);
    lift_process_kill(process, SIGTERM);
    uint64_t from = lift_loop_now_ms(run->loop);
    lift_loop_run(run->loop); /* the sleeper holds the pipes: only its end brings theirs */
    assert_true(lift_loop_now_ms(run->loop) - from < 30000);
    assert_int_equal(run->done, 1);
    assert_int_equal(WTERMSIG(run->status), SIGTERM);
    lift_process_free(process);
}

static void a_group_can_be_killed_after_its_leader_went(void **state)
{
    struct run *run = *state;
    const char *argv[] = {"sh", "-c", "sleep 60 & echo ready", NULL};
    struct lift_process *process =
        start(run, &(struct lift_process_spec){.argv = argv, .own_group = true});
    assert_non_null(process);
    run_for(run, 100);
    assert_int_equal(run->done, 0);
    lift_process_kill(process, SIGKILL);
    lift_loop_run(run->loop);
    assert_true(WIFEXITED(run->status));
    lift_process_free(process);
}

static void freeing_kills_and_silences(void **state)
{
    struct run *run = *state;
    int alive[2]; /* the child's children hold the other end until they are gone */
    assert_int_equal(pipe(alive), 0);
    char script[64], byte;
    const char *argv[] = {"sh", "-c", script, NULL};
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), alive[1]);
    snprintf(script, sizeof script, "sleep 60 >%s & echo ready; wait", path);
    struct lift_process *process =
        start(run, &(struct lift_process_spec){.argv = argv, .own_group = true});
    assert_non_null(process);
    while (run->streamed[1] < strlen("ready\n"))
        run_for(run, 5);
    close(alive[1]);
    lift_process_free(process);
    assert_int_equal(read(alive[0], &byte, 1), 0); /* else this waits a minute */
    close(alive[0]);
    run_for(run, 30);
    assert_int_equal(run->done, 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void leaves_other_children_alone(void **state)
{
    struct run *run = *state;
    pid_t other = fork();
    if (other == 0)
        _exit(9);
    shell(run, "sleep 0.05", (struct lift_process_spec){0});
    int status = 0;
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(WEXITSTATUS(status), 9);
}

static void several_at_a_time(void **state)
{
    struct run *run = *state;
    const char *argv[] = {"sh", "-c", "exit 0", NULL};
    struct lift_process *all[8];
    run->awaited = 8;
    for (size_t i = 0; i < 8; i++) {
        all[i] = start(run, &(struct lift_process_spec){.argv = argv});
        assert_non_null(all[i]);
    }
    lift_loop_run(run->loop);
    assert_int_equal(run->done, 8);
    for (size_t i = 0; i < 8; i++)
        lift_process_free(all[i]);
}

static void free_on_output(void *payload, int fd, const char *bytes, size_t length)
{
    struct run *run = payload;
    on_output(run, fd, bytes, length);
    lift_process_free(run->process);
    lift_loop_stop(run->loop);
}

static void free_on_done(void *payload, struct lift_process_end *end)
{
    struct run *run = payload;
    on_done(run, end);
    lift_process_free(run->process);
}

static void may_be_freed_by_its_own_callbacks(void **state)
{
    struct run *run = *state;
    const char *argv[] = {"sh", "-c", "echo a; sleep 60", NULL};
    struct lift_process_spec spec = {.argv = argv, .own_group = true};
    run->process = lift_process_start(run->loop, &spec, free_on_output, on_done, run, &run->err);
    lift_loop_run(run->loop);
    assert_int_equal(run->done, 0);

    const char *quick[] = {"true", NULL};
    spec.argv = quick;
    run->process = lift_process_start(run->loop, &spec, NULL, free_on_done, run, &run->err);
    lift_loop_run(run->loop);
    assert_int_equal(run->done, 1);
}

static void the_child_starts_clean(void **state)
{
    struct run *run = *state;
    int careless = open("/dev/null", O_RDONLY); /* no O_CLOEXEC */
    shell(run, "ls /proc/self/fd | wc -l", (struct lift_process_spec){0});
    assert_string_equal(run->out, "4\n"); /* 0, 1, 2, and the folder that ls reads */
    close(careless);
    shell(run, "kill -PIPE $$; echo alive", (struct lift_process_spec){0});
    assert_true(WIFSIGNALED(run->status)); /* though the loop ignores it */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keeps_both_outputs_and_the_status),
        TEST(done_never_runs_from_the_start),
        TEST(gives_input_environment_and_folder),
        TEST(output_ends_at_the_ceiling_of_each_pipe),
        TEST(waits_for_the_pipes_not_just_the_child),
        TEST(a_program_that_cannot_start_is_an_error_of_the_start),
        TEST(a_kill_reaches_the_whole_group),
        TEST(a_group_can_be_killed_after_its_leader_went),
        TEST(freeing_kills_and_silences),
        TEST(leaves_other_children_alone),
        TEST(several_at_a_time),
        TEST(may_be_freed_by_its_own_callbacks),
        TEST(the_child_starts_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
