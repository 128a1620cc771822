#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum lift_code lift_file_code(int errnum)
{
    switch (errnum) {
    case ENOENT:
        return LIFT_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return LIFT_CONFLICT;
    case EACCES:
    case EPERM:
    case EROFS:
        return LIFT_DENIED;
    case EBUSY:
    case ETXTBSY:
        return LIFT_BUSY;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return LIFT_NO_SPACE;
    case EOPNOTSUPP:
        return LIFT_UNSUPPORTED;
    default:
        return LIFT_FAILED;
    }
}

bool lift_file_fail(struct lift_error *err, int errnum, const char *what)
{
    return lift_fail(err, lift_file_code(errnum), "%s: %s", what, strerror(errnum));
}

static bool read_all(int fd, const char *path, struct lift_buf *out, struct lift_error *err)
{
    char chunk[16384];
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return lift_file_fail(err, errno, path);
        /* An empty addition at the end gives an empty file its terminator. */
        bool fits = lift_buf_add(out, chunk, (size_t)got);
        explicit_bzero(chunk, (size_t)got); /* keys and tokens are read here too */
        if (!fits)
            return lift_fail(err, LIFT_NO_SPACE, "%s: larger than %zu bytes", path,
                             out->max ? out->max : LIFT_BUF_MAX);
        if (got == 0)
            return true;
    }
}

bool lift_file_read(const char *path, struct lift_buf *out, struct lift_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return lift_file_fail(err, errno, path);
    bool read_ok = read_all(fd, path, out, err);
    close(fd);
    return read_ok;
}
