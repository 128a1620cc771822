/* Reply headers as libcurl hands them over, and what scripts are told of them; and URLs.  The
 * header callback is no part of http.h, hence the file itself. */
#include "engine/http.c" /* NOLINT */

#include <lauxlib.h>

#include "bindings/http_reply.h"
#include "tests/fuzz/fuzz.h"

struct input {
    struct http_reply reply;
    char url[256];
};

static int push(lua_State *L)
{
    struct input *input = lua_touserdata(L, 1);
    http_headers_push(L, input->reply.headers.data);
    http_reply_push(L, &input->reply, input->url);
    return 0;
}

/* libcurl never hands over more than one line, nor a longer one than this. */
static void read_headers(struct lift_http *http, char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        char *line = text + at, *end = memchr(line, '\n', length - at);
        size_t size = end ? (size_t)(end - line) + 1 : length - at;
        if (on_header(line, 1, size, http) != size)
            return;
        at += size;
    }
}

/* Input: status, one byte; URL, a line; headers; an empty line; body. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length < 2)
        return 0;
    struct lift_http http = {.reply_headers = {.max = HEADERS_MAX}};
    struct input input = {.reply = {.status = 200 + bytes[0] * 2, .method = "GET"}};
    struct lift_url url = {0};
    struct lift_error err = {0};
    char *text = lift_strndup((const char *)bytes + 1, length - 1);
    size_t left = strlen(text), line = strcspn(text, "\n");
    snprintf(input.url, sizeof input.url, "%.*s", (int)line, text);
    bool good = lift_url_parse(input.url, &url, &err);
    fuzz_demand(good || err.code == LIFT_CONFIG, "a URL is refused with a reason");
    lift_url_fini(&url);
    const char *blank = strstr(text + line, "\n\n");
    size_t end = blank ? (size_t)(blank - text) + 1 : left;
    if (line < end)
        read_headers(&http, text + line + 1, end - line - 1);
    const struct lift_http_reply reply = {
        .headers = http.reply_headers.data ? http.reply_headers.data : ""};
    content_type_of(&reply, input.reply.content_type, sizeof input.reply.content_type);
    input.reply.headers = http.reply_headers;
    if (blank && !lift_buf_adds(&input.reply.body, blank + 2))
        return 0;
    if (good)
        fuzz_call(push, &input);
    lift_buf_free(&input.reply.body);
    lift_buf_free(&http.reply_headers);
    lift_free(text);
    return 0;
}
