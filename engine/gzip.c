#include "gzip.h"

#include <zlib.h>

#define BEST_WINDOW (15 + 16) /* zlib's way to say: in gzip's frame */
#define BEST_MEMORY 9
#define CHUNK ((size_t)64 << 10)

/* What next_in and avail_in can hold at once is 4 GiB; a lift_buf is never that large. */
static bool set_input(z_stream *stream, const void *bytes, size_t length)
{
    stream->next_in = (z_const Bytef *)bytes;
    stream->avail_in = (uInt)length;
    return length <= LIFT_BUF_MAX;
}

typedef int step_fn(z_stream *stream, int flush);

/* Until the stream ends, has no more input, or `out` is full, which *full tells.  Gives zlib's
 * last word. */
static int pump(z_stream *stream, step_fn *step, struct lift_buf *out, bool *full)
{
    unsigned char *chunk = lift_calloc(1, CHUNK);
    int status;
    do {
        stream->next_out = chunk;
        stream->avail_out = CHUNK;
        status = step(stream, Z_FINISH);
        *full = !lift_buf_add(out, chunk, CHUNK - stream->avail_out);
    } while (!*full && stream->avail_out == 0 && (status == Z_OK || status == Z_BUF_ERROR));
    lift_free(chunk);
    return status;
}

bool lift_gzip(struct lift_buf *out, const void *bytes, size_t length)
{
    z_stream stream = {0};
    bool full = true;
    if (!set_input(&stream, bytes, length))
        return false;
    if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, BEST_WINDOW, BEST_MEMORY,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        lift_no_memory();
    pump(&stream, deflate, out, &full);
    deflateEnd(&stream);
    return !full;
}

bool lift_gunzip(struct lift_buf *out, const void *bytes, size_t length, struct lift_error *err)
{
    z_stream stream = {0};
    bool full = false;
    if (!set_input(&stream, bytes, length))
        return lift_fail(err, LIFT_NO_SPACE, "larger than %zu bytes", LIFT_BUF_MAX);
    if (inflateInit2(&stream, BEST_WINDOW) != Z_OK)
        lift_no_memory();
    int status = pump(&stream, inflate, out, &full);
    bool whole = status == Z_STREAM_END && stream.avail_in == 0;
    const char *why = stream.msg;
    inflateEnd(&stream);
    if (full)
        return lift_fail(err, LIFT_NO_SPACE, "larger than %zu bytes once unpacked",
                         out->max ? out->max : LIFT_BUF_MAX);
    return whole || lift_fail(err, LIFT_PROTOCOL, "no gzip: %s",
                              why != NULL              ? why
                              : status == Z_STREAM_END ? "more follows its end"
                                                       : "cut short");
}
