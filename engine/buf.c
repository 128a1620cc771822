#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SMALLEST 64

bool lift_quota_take(struct lift_quota *quota, size_t bytes)
{
    if (!quota)
        return true;
    if (quota->max && (quota->used > quota->max || bytes > quota->max - quota->used))
        return false;
    quota->used += bytes;
    return true;
}

void lift_quota_give(struct lift_quota *quota, size_t bytes)
{
    if (quota)
        quota->used -= bytes;
}

/* Room for `more` bytes and the NUL.  Not by realloc, which would leave a copy behind that nobody
 * wipes. */
static bool reserve(struct lift_buf *buf, size_t more)
{
    size_t max = buf->max ? buf->max : LIFT_BUF_MAX;
    if (buf->length > max || more > max - buf->length)
        return false;
    size_t need = buf->length + more + 1;
    if (need <= buf->capacity)
        return true;

    size_t capacity = buf->capacity ? buf->capacity : SMALLEST;
    while (capacity < need)
        capacity *= 2;
    char *data = lift_calloc(1, capacity);
    if (buf->data)
        memcpy(data, buf->data, buf->length);
    size_t length = buf->length;
    lift_buf_wipe(buf);
    buf->data = data;
    buf->length = length;
    buf->capacity = capacity;
    return true;
}

bool lift_buf_add(struct lift_buf *buf, const void *bytes, size_t length)
{
    if (!reserve(buf, length))
        return false;
    if (length > 0)
        memcpy(buf->data + buf->length, bytes, length);
    buf->length += length;
    buf->data[buf->length] = '\0';
    return true;
}

bool lift_buf_adds(struct lift_buf *buf, const char *text)
{
    return lift_buf_add(buf, text, strlen(text));
}

bool lift_buf_addf(struct lift_buf *buf, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, fmt, args);
    bool fits = length >= 0 && reserve(buf, (size_t)length);
    if (fits) {
        vsnprintf(buf->data + buf->length, (size_t)length + 1, fmt, again);
        buf->length += (size_t)length;
    }
    va_end(again);
    va_end(args);
    return fits;
}

void lift_buf_clear(struct lift_buf *buf)
{
    buf->length = 0;
    if (buf->data)
        buf->data[0] = '\0';
}

void lift_buf_wipe(struct lift_buf *buf)
{
    if (buf->data)
        explicit_bzero(buf->data, buf->capacity);
    lift_buf_free(buf);
}

void lift_buf_free(struct lift_buf *buf)
{
    lift_free(buf->data);
    buf->data = NULL;
    buf->length = 0;
    buf->capacity = 0;
}
