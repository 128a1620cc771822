/* lunalift.script: where scripts come from. */
#include <dirent.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "bindings/state.h"

#define SOURCE_MAX ((size_t)1 << 20)

static void push_file(lua_State *L, const char *name, const struct script_file *file)
{
    lua_createtable(L, 0, 4);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, file->path);
    lua_setfield(L, -2, "path");
    lua_pushstring(L, file->built_in ? "built in" : file->layer);
    lua_setfield(L, -2, "layer");
    lua_pushstring(L, file->sha256);
    lua_setfield(L, -2, "sha256");
}

static int script_find(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct script_file file;
    if (state_find_script(context_of(L), name, &file)) {
        push_file(L, name, &file);
        return 1;
    }
    struct lift_error err = {0};
    lift_fail(&err, LIFT_NOT_FOUND, "no script '%s'", name);
    return fail_push(L, &err);
}

/* Add to the set at index 2 the module names of one folder. */
static void add_names(lua_State *L, const char *layer, const char *folder)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", layer, folder);
    DIR **dir = lua_newuserdatauv(L, sizeof *dir, 0);
    *dir = opendir(path);
    if (*dir == NULL)
        return;
    luaL_setmetatable(L, "lunalift.script.dir");
    for (struct dirent *entry; (entry = readdir(*dir)) != NULL;) {
        size_t length = strlen(entry->d_name);
        if (entry->d_name[0] == '.' || length < 5 ||
            strcmp(entry->d_name + length - 4, ".lua") != 0)
            continue;
        lua_pushfstring(L, "%s.", folder);
        lua_pushlstring(L, entry->d_name, length - 4);
        lua_concat(L, 2);
        lua_pushboolean(L, 1);
        lua_rawset(L, 2);
    }
}

static int dir_close(lua_State *L)
{
    DIR **dir = lua_touserdata(L, 1);
    if (*dir != NULL)
        closedir(*dir);
    *dir = NULL;
    return 0;
}

static int script_list(lua_State *L)
{
    const char *folder = luaL_checkstring(L, 1);
    luaL_argcheck(L, strspn(folder, "abcdefghijklmnopqrstuvwxyz_") == strlen(folder), 1,
                  "a folder's name");
    lua_settop(L, 1);
    lua_newtable(L);
    for (const char *const *layer = context_of(L)->layers; *layer != NULL; layer++) {
        add_names(L, *layer, folder);
        lua_settop(L, 2);
    }
    lua_newtable(L);
    lua_Integer count = 0;
    for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
        struct script_file file;
        const char *name = lua_tostring(L, -2);
        if (!state_find_script(context_of(L), name, &file))
            continue;
        push_file(L, name, &file);
        lua_rawseti(L, 3, ++count);
    }
    return 1;
}

static int script_compile(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    if (luaL_loadfilex(L, path, "t") == LUA_OK)
        return 1;
    struct lift_error err = {0};
    lift_fail(&err, LIFT_CONFIG, "%s", lua_tostring(L, -1));
    return fail_push(L, &err);
}

static int script_source(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct lift_buf *buf = buf_push(L);
    struct lift_error err = {0};
    buf->max = SOURCE_MAX;
    char block[4096];
    FILE *file = fopen(path, "rb");
    bool ok = file != NULL;
    for (size_t n; ok && (n = fread(block, 1, sizeof block, file)) > 0;)
        ok = lift_buf_add(buf, block, n);
    if (file != NULL)
        fclose(file);
    if (!ok) {
        lift_fail(&err, LIFT_NOT_FOUND, "cannot read %s (a script has at most 1 MiB)", path);
        return fail_push(L, &err);
    }
    lua_pushlstring(L, buf->data != NULL ? buf->data : "", buf->length);
    return 1;
}

int open_script(lua_State *L)
{
    static const luaL_Reg functions[] = {{"find", script_find},
                                         {"list", script_list},
                                         {"compile", script_compile},
                                         {"source", script_source},
                                         {NULL, NULL}};
    type_new(L, "lunalift.script.dir", NULL, dir_close);
    luaL_newlib(L, functions);
    return 1;
}
