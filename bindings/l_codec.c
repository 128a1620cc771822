/* lunalift.codec: digests, encodings and names that nobody else has. */
#include <lauxlib.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>

#include "bindings/check.h"
#include "bindings/modules.h"
#include "engine/base64.h"
#include "engine/gzip.h"
#include "engine/http.h"
#include "engine/xml.h"

#define RANDOM_MAX 64

static void to_hex(const unsigned char *bytes, size_t count, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

static int push_buf(lua_State *L, struct lift_buf *buf)
{
    lua_pushlstring(L, buf->data != NULL ? buf->data : "", buf->length);
    lift_buf_free(buf);
    return 1;
}

static int push_hex(lua_State *L, const unsigned char *digest, size_t count)
{
    char hex[2 * SHA256_DIGEST_LENGTH];
    to_hex(digest, count, hex);
    lua_pushlstring(L, hex, 2 * count);
    return 1;
}

static int codec_sha256(lua_State *L)
{
    size_t length = 0;
    const char *bytes = luaL_checklstring(L, 1, &length);
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)bytes, length, digest);
    return push_hex(L, digest, sizeof digest);
}

static int codec_sha1(lua_State *L)
{
    size_t length = 0;
    const char *bytes = luaL_checklstring(L, 1, &length);
    unsigned char digest[SHA_DIGEST_LENGTH];
    SHA1((const unsigned char *)bytes, length, digest);
    return push_hex(L, digest, sizeof digest);
}

static int codec_gzip(lua_State *L)
{
    size_t length = 0;
    const char *bytes = luaL_checklstring(L, 1, &length);
    struct lift_buf *out = buf_push(L);
    luaL_argcheck(L, lift_gzip(out, bytes, length), 1, "too long");
    return push_buf(L, out);
}

static int codec_gunzip(lua_State *L)
{
    size_t length = 0;
    const char *bytes = luaL_checklstring(L, 1, &length);
    struct lift_buf *out = buf_push(L);
    struct lift_error err = {0};
    return lift_gunzip(out, bytes, length, &err) ? push_buf(L, out) : fail_push(L, &err);
}

static int codec_base64(lua_State *L)
{
    size_t length = 0;
    const char *bytes = luaL_checklstring(L, 1, &length);
    struct lift_buf *out = buf_push(L);
    luaL_argcheck(L, lift_base64_encode(out, bytes, length), 1, "too long");
    return push_buf(L, out);
}

static int codec_unbase64(lua_State *L)
{
    size_t length = 0;
    const char *text = luaL_checklstring(L, 1, &length);
    struct lift_buf *out = buf_push(L);
    struct lift_error err = {0};
    return lift_base64_decode(out, text, length, &err) ? push_buf(L, out) : fail_push(L, &err);
}

static int codec_percent(lua_State *L)
{
    size_t length = 0;
    const char *text = luaL_checklstring(L, 1, &length), *keep = luaL_optstring(L, 2, NULL);
    struct lift_buf *out = buf_push(L);
    luaL_argcheck(L, lift_http_encode(out, text, length, keep), 1, "too long");
    return push_buf(L, out);
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* What is no escape stays as it is. */
static int codec_unpercent(lua_State *L)
{
    size_t length = 0;
    const char *text = luaL_checklstring(L, 1, &length);
    luaL_Buffer out;
    luaL_buffinit(L, &out);
    for (size_t i = 0; i < length; i++) {
        int high = text[i] == '%' && length - i > 2 ? digit_of(text[i + 1]) : -1;
        int low = high >= 0 ? digit_of(text[i + 2]) : -1;
        char byte = text[i];
        if (low >= 0)
            byte = (char)(high << 4 | low);
        luaL_addchar(&out, byte);
        if (low >= 0)
            i += 2;
    }
    luaL_pushresult(&out);
    return 1;
}

static void random_bytes(lua_State *L, unsigned char *out, int count)
{
    if (RAND_bytes(out, count) != 1)
        luaL_error(L, "the system gives no random bytes");
}

static int codec_uuid(lua_State *L)
{
    unsigned char bytes[16];
    char hex[32];
    random_bytes(L, bytes, sizeof bytes);
    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40); /* version 4: random */
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
    to_hex(bytes, sizeof bytes, hex);
    char text[37];
    snprintf(text, sizeof text, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
             hex + 20);
    lua_pushstring(L, text);
    return 1;
}

static int codec_random_hex(lua_State *L)
{
    lua_Integer count = luaL_checkinteger(L, 1);
    luaL_argcheck(L, count >= 1 && count <= RANDOM_MAX, 1, "out of range (1 to 64)");
    unsigned char bytes[RANDOM_MAX];
    char hex[2 * RANDOM_MAX];
    random_bytes(L, bytes, (int)count);
    to_hex(bytes, (size_t)count, hex);
    lua_pushlstring(L, hex, 2 * (size_t)count);
    return 1;
}

static int codec_xml_escape(lua_State *L)
{
    size_t length = 0;
    const char *text = luaL_checklstring(L, 1, &length);
    struct lift_buf *out = buf_push(L);
    struct lift_error err = {0};
    if (!lift_xml_escape(out, text, length, &err))
        return luaL_argerror(L, 1, err.text);
    return push_buf(L, out);
}

int open_codec(lua_State *L)
{
    static const luaL_Reg functions[] = {{"sha256", codec_sha256},
                                         {"sha1", codec_sha1},
                                         {"gzip", codec_gzip},
                                         {"gunzip", codec_gunzip},
                                         {"base64", codec_base64},
                                         {"unbase64", codec_unbase64},
                                         {"percent", codec_percent},
                                         {"unpercent", codec_unpercent},
                                         {"uuid", codec_uuid},
                                         {"random_hex", codec_random_hex},
                                         {"xml_escape", codec_xml_escape},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
