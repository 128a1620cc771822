/* lunalift.journal: a small text on disk that is either old or new. */
#include "engine/journal.h"

#include <lauxlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/check.h"
#include "bindings/modules.h"

#define LOCK "lunalift.journal.lock"

struct lock {
    int fd; /* -1 once closed */
};

static int lock_close(lua_State *L)
{
    struct lock *lock = luaL_checkudata(L, 1, LOCK);
    if (lock->fd >= 0)
        close(lock->fd);
    lock->fd = -1;
    return 0;
}

static int succeed(lua_State *L, bool ok, const struct lift_error *err)
{
    if (!ok)
        return fail_push(L, err);
    lua_pushboolean(L, 1);
    return 1;
}

static int journal_write(lua_State *L)
{
    size_t length = 0;
    const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &length);
    struct lift_error err = {0};
    return succeed(L, lift_journal_write(path, text, length, &err), &err);
}

static int journal_read(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct lift_buf *text = buf_push(L);
    struct lift_error err = {0};
    if (!lift_journal_read(path, text, &err))
        return fail_push(L, &err);
    lua_pushlstring(L, text->data != NULL ? text->data : "", text->length);
    lift_buf_free(text);
    return 1;
}

static int journal_remove(lua_State *L)
{
    struct lift_error err = {0};
    return succeed(L, lift_journal_remove(luaL_checkstring(L, 1), &err), &err);
}

static int journal_make_folder(lua_State *L)
{
    lift_journal_make_folder(luaL_checkstring(L, 1));
    return 0;
}

static int journal_writable(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct lift_error err = {0};
    return succeed(L, lift_journal_writable(path, lua_toboolean(L, 2), &err), &err);
}

static int journal_list(lua_State *L)
{
    const char *folder = luaL_checkstring(L, 1);
    struct lift_buf *names = buf_push(L);
    struct lift_error err = {0};
    if (!lift_journal_list(folder, names, &err))
        return fail_push(L, &err);
    lua_newtable(L);
    lua_Integer count = 0;
    for (size_t at = 0; at < names->length; at += strlen(names->data + at) + 1) {
        lua_pushstring(L, names->data + at);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

static int journal_lock(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct lock *lock = lua_newuserdatauv(L, sizeof *lock, 0);
    lock->fd = -1;
    luaL_setmetatable(L, LOCK);
    struct lift_error err = {0};
    lock->fd = lift_journal_lock(path, &err);
    return lock->fd >= 0 ? 1 : fail_push(L, &err);
}

int open_journal(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"write", journal_write},       {"read", journal_read},
        {"remove", journal_remove},     {"lock", journal_lock},
        {"list", journal_list},         {"make_folder", journal_make_folder},
        {"writable", journal_writable}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"close", lock_close}, {NULL, NULL}};
    type_new(L, LOCK, methods, lock_close);
    luaL_newlib(L, functions);
    return 1;
}
