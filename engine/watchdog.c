#include "watchdog.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "timer.h"

/* The limit is reached after so many alarms without a turn.  Alarms do not pile up while a process
 * is stopped, hence several. */
#define ALARMS 4

struct lift_watchdog {
    struct lift_loop *loop;
    struct lift_timer *turn;
    uint32_t period_ms;
};

/* Mutable globals, since a signal handler has no payload. */
static volatile sig_atomic_t missed; /* alarms since the last sign of life */
static const void *volatile now_running;
static lift_watchdog_fn *volatile describe_running;
static volatile uint32_t limit_of_all_ms;

static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0) {
        /* nobody is left to tell */
    }
}

static void say_number(uint32_t number)
{
    char digits[12], *at = digits + sizeof digits - 1;
    *at = '\0';
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    say(at);
}

static void on_alarm(int number)
{
    static char what[512];
    if (++missed < ALARMS)
        return;
    signal(number, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    say("lunalift: nothing has moved for ");
    say_number(limit_of_all_ms);
    say(" ms: giving up; what was promised is in the journal\n");
    if (now_running) {
        signal(SIGSEGV, SIG_DFL); /* looking may be fatal, and then it is the same end */
        describe_running(now_running, what, sizeof what);
        say("  it was running ");
        say(what);
        say("\n");
    }
    abort();
}

static void on_turn(void *payload)
{
    struct lift_watchdog *dog = payload;
    missed = 0;
    lift_timer_free(dog->turn);
    dog->turn = lift_timer_new(dog->loop, dog->period_ms, on_turn, dog);
}

static void set_alarm(uint32_t period_ms)
{
    struct timeval period = {.tv_sec = period_ms / 1000, .tv_usec = period_ms % 1000 * 1000};
    setitimer(ITIMER_REAL, &(struct itimerval){period, period}, NULL);
}

struct lift_watchdog *lift_watchdog_new(struct lift_loop *loop, uint32_t limit_ms,
                                        lift_watchdog_fn *describe)
{
    struct lift_watchdog *dog = lift_calloc(1, sizeof *dog);
    *dog = (struct lift_watchdog){.loop = loop, .period_ms = limit_ms / ALARMS + 1};
    describe_running = describe;
    limit_of_all_ms = limit_ms;
    on_turn(dog);
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    set_alarm(dog->period_ms);
    return dog;
}

void lift_watchdog_free(struct lift_watchdog *dog)
{
    if (!dog)
        return;
    set_alarm(0);
    signal(SIGALRM, SIG_DFL);
    lift_timer_free(dog->turn);
    lift_free(dog);
}

const void *lift_watchdog_running(const void *running)
{
    const void *before = now_running;
    now_running = running;
    missed = 0;
    return before;
}
