#include "journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static bool refused(struct lift_error *err, const char *act, const char *path)
{
    int why = errno;
    enum lift_code code = LIFT_FAILED;
    const char *hint = "";
    switch (why) {
    case ENOENT:
    case ENOTDIR:
        code = LIFT_CONFIG;
        hint = "create the folder, or name another";
        break;
    case EACCES:
    case EPERM:
    case EROFS:
        code = LIFT_DENIED;
        hint = "run as a user who may write there, or name another place";
        break;
    case ENOSPC:
    case EDQUOT:
        code = LIFT_NO_SPACE;
        hint = "free some space, or name another place";
        break;
    default:
        break;
    }
    lift_fail(err, code, "cannot %s %s: %s", act, path, strerror(why));
    return lift_hint(err, "%s", hint);
}

static bool write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t wrote = write(fd, bytes, length);
        if (wrote < 0 && errno != EINTR)
            return false;
        size_t done = wrote > 0 ? (size_t)wrote : 0;
        bytes += done;
        length -= done;
    }
    return true;
}

/* close() that keeps errno, and says whether all so far went well. */
static bool closed(int fd, bool well)
{
    int why = errno;
    if (close(fd) < 0 && well)
        return false;
    errno = why;
    return well;
}

/* One left by a crash is in nobody's use (the lock sees to that), but may have any mode or be a
 * link: hence made anew. */
static bool write_beside(const char *beside, const void *bytes, size_t length)
{
    unlink(beside);
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    return closed(fd, write_all(fd, bytes, length) && fsync(fd) == 0);
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? lift_strndup(path, (size_t)(slash - path) + 1) : lift_strdup(".");
}

/* Only then does a rename or an unlink outlive a power cut. */
static bool sync_folder(const char *path)
{
    char *folder = folder_of(path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    lift_free(folder);
    return fd >= 0 && closed(fd, fsync(fd) == 0);
}

/* A rename takes the place of whatever has the name: for root of a device such as /dev/null, too,
 * or of the link /dev/stdout. */
static bool is_replaceable(const char *path, struct lift_error *err)
{
    struct stat is;
    if (lstat(path, &is) < 0 || S_ISREG(is.st_mode))
        return true;
    lift_fail(err, LIFT_CONFIG, "%s is %s", path,
              S_ISDIR(is.st_mode) ? "a folder" : "no plain file, and would be replaced");
    return lift_hint(err, "name a file, or one that is not there yet");
}

bool lift_journal_write(const char *path, const void *bytes, size_t length, struct lift_error *err)
{
    if (length > LIFT_JOURNAL_MAX)
        return lift_fail(err, LIFT_NO_SPACE, "%s would pass %zu KiB", path, LIFT_JOURNAL_MAX >> 10);
    if (!is_replaceable(path, err))
        return false;
    char *beside = lift_asprintf("%s.tmp", path);
    bool written = write_beside(beside, bytes, length) && rename(beside, path) == 0;
    if (!written) {
        refused(err, "write", path);
        unlink(beside);
    } else if (!sync_folder(path)) {
        written = refused(err, "write", path);
    }
    lift_free(beside);
    return written;
}

/* One byte more than allowed is asked for, to see whether there is one. */
static bool read_all(int fd, char *bytes, size_t room, size_t *length)
{
    *length = 0;
    while (*length < room) {
        ssize_t got = read(fd, bytes + *length, room - *length);
        if (got == 0)
            return true;
        if (got < 0 && errno != EINTR)
            return false;
        *length += got > 0 ? (size_t)got : 0;
    }
    return true;
}

static bool too_large(const char *path, struct lift_error *err)
{
    lift_fail(err, LIFT_NO_SPACE, "the journal %s is larger than %zu KiB", path,
              LIFT_JOURNAL_MAX >> 10);
    return lift_hint(err,
                     "it is none of ours: keep the journal elsewhere with --journal file:PATH");
}

bool lift_journal_read(const char *path, struct lift_buf *out, struct lift_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return lift_fail(err, LIFT_NOT_FOUND, "there is no journal %s", path);
    if (fd < 0)
        return refused(err, "read", path);
    char *bytes = lift_calloc(1, LIFT_JOURNAL_MAX + 1);
    size_t length;
    bool well = closed(fd, read_all(fd, bytes, LIFT_JOURNAL_MAX + 1, &length));
    lift_buf_clear(out);
    if (!well)
        refused(err, "read", path);
    else if (length > LIFT_JOURNAL_MAX || !lift_buf_add(out, bytes, length))
        well = too_large(path, err);
    lift_free(bytes);
    return well;
}

bool lift_journal_remove(const char *path, struct lift_error *err)
{
    char *beside = lift_asprintf("%s.tmp", path);
    unlink(beside);
    lift_free(beside);
    if (unlink(path) < 0)
        return errno == ENOENT || refused(err, "remove", path);
    return sync_folder(path) || refused(err, "remove", path);
}

static bool ends_with(const char *name, const char *end)
{
    size_t length = strlen(name), tail = strlen(end);
    return length > tail && strcmp(name + length - tail, end) == 0;
}

bool lift_journal_list(const char *folder, struct lift_buf *names, struct lift_error *err)
{
    lift_buf_clear(names);
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return errno == ENOENT || refused(err, "look for", folder);
    bool well = true;
    for (struct dirent *entry; well && (entry = readdir(dir)) != NULL;)
        if (ends_with(entry->d_name, ".json") && !ends_with(entry->d_name, ".receipt.json"))
            well = lift_buf_add(names, entry->d_name, strlen(entry->d_name) + 1);
    closedir(dir);
    return well || lift_fail(err, LIFT_NO_SPACE, "the folder %s has too many journals", folder);
}

void lift_journal_make_folder(const char *path)
{
    char *folder = lift_strdup(path);
    for (char *slash = folder; (slash = strchr(slash + 1, '/')) != NULL;) {
        *slash = '\0';
        mkdir(folder, 0700);
        *slash = '/';
    }
    lift_free(folder);
}

/* "/a/b/" becomes "/a/"; false at the top. */
static bool go_up(char *folder)
{
    size_t length = strlen(folder);
    if (length < 2 || folder[length - 1] != '/')
        return false;
    folder[length - 1] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        slash[1] = '\0';
    return slash != NULL;
}

bool lift_journal_writable(const char *path, bool makes_folder, struct lift_error *err)
{
    if (!is_replaceable(path, err))
        return false;
    char *folder = folder_of(path);
    while (makes_folder && access(folder, F_OK) < 0 && errno == ENOENT && go_up(folder))
        ;
    bool well = access(folder, W_OK | X_OK) == 0;
    if (!well) {
        bool missing = errno == ENOENT || errno == ENOTDIR;
        lift_fail(err, missing ? LIFT_CONFIG : LIFT_DENIED, "the folder %s: %s", folder,
                  strerror(errno));
        lift_hint(err, missing ? "create it, or name another"
                               : "run as a user who may write there, or name another");
    }
    lift_free(folder);
    return well;
}

static int held(int fd, const char *path, struct lift_error *err)
{
    char pid[16] = "";
    ssize_t length = pread(fd, pid, sizeof pid - 1, 0);
    if (length > 0 && strtol(pid, NULL, 10) > 0)
        lift_fail(err, LIFT_BUSY, "process %ld works with the journal %s", strtol(pid, NULL, 10),
                  path);
    else /* it has the lock, but has not come to write its number yet */
        lift_fail(err, LIFT_BUSY, "another process works with the journal %s", path);
    lift_hint(err, "wait for it, or end it and start again: its promises will be settled first");
    close(fd);
    return -1;
}

/* The file stays: were it removed, two could hold locks of that name, the one on the file that is
 * gone and the other on its successor. */
int lift_journal_lock(const char *path, struct lift_error *err)
{
    char *name = lift_asprintf("%s.lock", path);
    int fd = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    lift_free(name);
    if (fd < 0) {
        refused(err, "lock", path);
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return held(fd, path, err);
        closed(fd, false);
        refused(err, "lock", path);
        return -1;
    }
    char pid[16];
    int length = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || !write_all(fd, pid, (size_t)length)) {
        closed(fd, false);
        refused(err, "lock", path);
        return -1;
    }
    return fd;
}
