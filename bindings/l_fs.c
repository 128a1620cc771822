/* lunalift.fs: files, for the lab and the tests.  Every call blocks for as long as the disk does.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "engine/file.h"

#define CHUNK ((size_t)1 << 20)

/* ---- C alone: errno or 0 ---- */

static int write_at(int fd, const char *bytes, size_t length, off_t offset)
{
    while (length > 0) {
        ssize_t written = pwrite(fd, bytes, length, offset);
        if (written < 0 && errno != EINTR)
            return errno;
        if (written > 0) {
            bytes += written;
            offset += written;
            length -= (size_t)written;
        }
    }
    return 0;
}

/* With O_APPEND Linux writes at the end, whatever the offset. */
static int write_file(const char *path, int flags, const char *bytes, size_t length, off_t offset)
{
    int fd = open(path, flags | O_WRONLY | O_CLOEXEC, 0666);
    if (fd < 0)
        return errno;
    int why = write_at(fd, bytes, length, offset);
    return close(fd) < 0 && why == 0 ? errno : why;
}

static int read_at(const char *path, char *out, size_t length, off_t offset, size_t *got)
{
    *got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC), why = 0;
    if (fd < 0)
        return errno;
    while (*got < length && why == 0) {
        ssize_t more = pread(fd, out + *got, length - *got, offset + (off_t)*got);
        if (more == 0)
            break;
        if (more > 0)
            *got += (size_t)more;
        else if (errno != EINTR)
            why = errno;
    }
    close(fd);
    return why;
}

/* splitmix64: the n-th word depends on the seed and n alone, so that filling may begin anywhere. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static void random_words(uint64_t *out, size_t count, uint64_t seed, uint64_t first)
{
    for (size_t i = 0; i < count; i++)
        out[i] = mix(seed + (first + i) * 0x9e3779b97f4a7c15);
}

static int fill_fd(int fd, uint64_t seed, off_t offset, size_t size)
{
    uint64_t *words = lift_calloc(1, CHUNK + 8);
    int why = 0;
    while (size > 0 && why == 0) {
        size_t skip = (size_t)(offset % 8), length = size < CHUNK ? size : CHUNK;
        random_words(words, (skip + length + 7) / 8, seed, (uint64_t)offset / 8);
        why = write_at(fd, (char *)words + skip, length, offset);
        offset += (off_t)length;
        size -= length;
    }
    lift_free(words);
    return why;
}

static int fill_file(const char *path, uint64_t seed, off_t offset, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return errno;
    int why = fill_fd(fd, mix(seed), offset, size);
    return close(fd) < 0 && why == 0 ? errno : why;
}

static int truncate_file(const char *path, off_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return errno;
    int why = ftruncate(fd, size) < 0 ? errno : 0;
    close(fd);
    return why;
}

static int is_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* The names, each with its NUL. */
static int list_folder(const char *path, struct lift_buf *out)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, is_entry, alphasort), why = count < 0 ? errno : 0;
    for (int i = 0; i < count; i++) {
        if (!lift_buf_add(out, entries[i]->d_name, strlen(entries[i]->d_name) + 1))
            why = EFBIG;
        free(entries[i]);
    }
    free(entries);
    return why;
}

/* ---- Lua ---- */

static int fail_errno(lua_State *L, int why, const char *path)
{
    struct lift_error err = {0};
    lift_file_fail(&err, why, path);
    return fail_push(L, &err);
}

/* True, or the failure of the file at argument 1. */
static int end(lua_State *L, int why)
{
    if (why != 0)
        return fail_errno(L, why, lua_tostring(L, 1));
    lua_pushboolean(L, 1);
    return 1;
}

static int end_call(lua_State *L, int result)
{
    return end(L, result < 0 ? errno : 0);
}

static off_t check_offset(lua_State *L, int arg)
{
    lua_Integer offset = luaL_checkinteger(L, arg);
    luaL_argcheck(L, offset >= 0, arg, "negative");
    return (off_t)offset;
}

static int fs_read(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct lift_buf *text = buf_push(L);
    struct lift_error err = {0};
    if (!lift_file_read(path, text, &err))
        return fail_push(L, &err);
    lua_pushlstring(L, text->data, text->length);
    lift_buf_free(text);
    return 1;
}

static int fs_write(lua_State *L)
{
    size_t length = 0;
    const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &length);
    return end(L, write_file(path, O_CREAT | O_TRUNC, text, length, 0));
}

static int fs_append(lua_State *L)
{
    size_t length = 0;
    const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &length);
    return end(L, write_file(path, O_CREAT | O_APPEND, text, length, 0));
}

static int fs_mkdir(lua_State *L)
{
    return end_call(L, mkdir(luaL_checkstring(L, 1), 0777));
}

static int fs_remove(lua_State *L)
{
    return end_call(L, remove(luaL_checkstring(L, 1)));
}

static int fs_rename(lua_State *L)
{
    return end_call(L, rename(luaL_checkstring(L, 1), luaL_checkstring(L, 2)));
}

/* The second path is the one that is made, and the one to name. */
static int end_made(lua_State *L, int result)
{
    int why = result < 0 ? errno : 0;
    lua_remove(L, 1);
    return end(L, why);
}

static int fs_link(lua_State *L)
{
    return end_made(L, link(luaL_checkstring(L, 1), luaL_checkstring(L, 2)));
}

static int fs_symlink(lua_State *L)
{
    return end_made(L, symlink(luaL_checkstring(L, 1), luaL_checkstring(L, 2)));
}

static int fs_realpath(lua_State *L)
{
    char resolved[PATH_MAX];
    const char *path = luaL_checkstring(L, 1);
    if (realpath(path, resolved) == NULL)
        return fail_errno(L, errno, path);
    lua_pushstring(L, resolved);
    return 1;
}

static int fs_chmod(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    lua_Integer mode = luaL_checkinteger(L, 2);
    luaL_argcheck(L, mode >= 0 && mode <= 07777, 2, "out of range (0 to 07777)");
    return end_call(L, chmod(path, (mode_t)mode));
}

static int fs_list(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct lift_buf *names = buf_push(L);
    int why = list_folder(path, names);
    if (why != 0)
        return fail_errno(L, why, path);
    lua_newtable(L);
    const char *name = names->data;
    for (lua_Integer i = 1; name != NULL && name < names->data + names->length; i++) {
        lua_pushstring(L, name);
        lua_rawseti(L, -2, i);
        name += strlen(name) + 1;
    }
    lift_buf_free(names);
    return 1;
}

static void set_integer(lua_State *L, const char *name, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static int fs_stat(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct stat found;
    if (stat(path, &found) < 0)
        return fail_errno(L, errno, path);
    lua_createtable(L, 0, 5);
    set_integer(L, "size", (lua_Integer)found.st_size);
    set_integer(L, "inode", (lua_Integer)found.st_ino);
    set_integer(L, "mode", (lua_Integer)(found.st_mode & 07777));
    lua_pushnumber(L, (lua_Number)found.st_mtim.tv_sec + (lua_Number)found.st_mtim.tv_nsec / 1e9);
    lua_setfield(L, -2, "mtime");
    lua_pushstring(L, S_ISREG(found.st_mode)   ? "file"
                      : S_ISDIR(found.st_mode) ? "directory"
                                               : "other");
    lua_setfield(L, -2, "kind");
    return 1;
}

static int fs_truncate(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    return end(L, truncate_file(path, check_offset(L, 2)));
}

static int fs_fill(lua_State *L)
{
    static const char *const names[] = {"size", "seed", "offset", NULL};
    const char *path = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    opt_known(L, 2, names);
    lua_Integer size = opt_integer(L, 2, "size", -1, 0, LUA_MAXINTEGER / 2);
    lua_Integer offset = opt_integer(L, 2, "offset", 0, 0, LUA_MAXINTEGER / 2);
    lua_Integer seed = opt_integer(L, 2, "seed", 0, LUA_MININTEGER, LUA_MAXINTEGER);
    luaL_argcheck(L, size >= 0, 2, "option 'size' is missing");
    return end(L, fill_file(path, (uint64_t)seed, (off_t)offset, (size_t)size));
}

static int fs_pread(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    off_t offset = check_offset(L, 2);
    size_t length = (size_t)check_offset(L, 3), got = 0;
    luaL_argcheck(L, length <= LIFT_BUF_MAX, 3, "more than 64 MiB at once");
    luaL_Buffer out;
    char *room = luaL_buffinitsize(L, &out, length);
    int why = read_at(path, room, length, offset, &got);
    if (why != 0)
        return fail_errno(L, why, path);
    luaL_pushresultsize(&out, got);
    return 1;
}

static int fs_pwrite(lua_State *L)
{
    size_t length = 0;
    const char *path = luaL_checkstring(L, 1);
    off_t offset = check_offset(L, 2);
    const char *bytes = luaL_checklstring(L, 3, &length);
    return end(L, write_file(path, 0, bytes, length, offset));
}

static int fs_cwd(lua_State *L)
{
    char path[PATH_MAX];
    if (getcwd(path, sizeof path) == NULL)
        return fail_errno(L, errno, ".");
    lua_pushstring(L, path);
    return 1;
}

int open_fs(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"read", fs_read},         {"write", fs_write},     {"append", fs_append},
        {"mkdir", fs_mkdir},       {"remove", fs_remove},   {"rename", fs_rename},
        {"link", fs_link},         {"symlink", fs_symlink}, {"realpath", fs_realpath},
        {"chmod", fs_chmod},       {"list", fs_list},       {"stat", fs_stat},
        {"truncate", fs_truncate}, {"fill", fs_fill},       {"pread", fs_pread},
        {"pwrite", fs_pwrite},     {"cwd", fs_cwd},         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
