/* lunalift.console: what users read. */
#include <errno.h>
#include <lauxlib.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bindings/check.h"
#include "bindings/modules.h"

static bool write_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, text, length);
        if (written >= 0) {
            text += written;
            length -= (size_t)written;
        } else if (errno == EAGAIN) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};
            poll(&ready, 1, -1);
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* Output is data, and stays as it is: a short password would otherwise blank words of a manifest.
 */
static int console_out(lua_State *L)
{
    size_t length = 0;
    const char *text = luaL_checklstring(L, 1, &length);
    if (write_all(STDOUT_FILENO, text, length)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    struct lift_error err = {0};
    lift_fail(&err, LIFT_FAILED, "standard output: %s", strerror(errno));
    return fail_push(L, &err);
}

/* Messages may quote a peer that quotes a password. */
static int console_err(lua_State *L)
{
    size_t length = 0;
    const char *text = luaL_checklstring(L, 1, &length);
    char *clean = lift_secret_redact(text, length);
    (void)write_all(STDERR_FILENO, clean, strlen(clean)); /* where would it be said? */
    lift_free(clean);
    return 0;
}

static int console_is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty(STDOUT_FILENO));
    return 1;
}

static int console_width(lua_State *L)
{
    struct winsize size = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        size.ws_col = 80;
    lua_pushinteger(L, size.ws_col);
    return 1;
}

static const char *set_value(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

/* Asked of the environment, since setlocale() would change how numbers are read and printed. */
static int console_is_utf8(lua_State *L)
{
    const char *locale = set_value("LC_ALL");
    if (locale == NULL)
        locale = set_value("LC_CTYPE");
    if (locale == NULL)
        locale = set_value("LANG");
    lua_pushboolean(L,
                    locale != NULL && (strcasestr(locale, "utf-8") || strcasestr(locale, "utf8")));
    return 1;
}

int open_console(lua_State *L)
{
    static const luaL_Reg functions[] = {{"out", console_out},
                                         {"err", console_err},
                                         {"is_terminal", console_is_terminal},
                                         {"width", console_width},
                                         {"is_utf8", console_is_utf8},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
