#include "base64.h"

#include <string.h>

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool lift_base64_encode(struct lift_buf *out, const void *bytes, size_t length)
{
    const unsigned char *in = bytes;
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t group = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                         (left > 2 ? (uint32_t)in[i + 2] : 0);
        char quad[4] = {ALPHABET[group >> 18], ALPHABET[group >> 12 & 63],
                        left > 1 ? ALPHABET[group >> 6 & 63] : '=',
                        left > 2 ? ALPHABET[group & 63] : '='};
        if (!lift_buf_add(out, quad, sizeof quad))
            return false;
    }
    return lift_buf_add(out, "", 0);
}

static int digit_of(char c)
{
    const char *at = c ? strchr(ALPHABET, c) : NULL;
    return at ? (int)(at - ALPHABET) : -1;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* What may follow the digits: padding that completes the last group, or none at all. */
static bool ends_well(const char *text, size_t length, size_t digits)
{
    size_t pads = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '=')
            pads++;
        else if (!is_blank(text[i]))
            return false;
    }
    return digits % 4 != 1 && (pads == 0 || (digits % 4 != 0 && digits % 4 + pads == 4));
}

bool lift_base64_decode(struct lift_buf *out, const char *text, size_t length,
                        struct lift_error *err)
{
    uint32_t bits = 0; /* the low 6 * (digits % 4) are yet to be written, less what was */
    size_t digits = 0, i = 0;
    for (; i < length && text[i] != '='; i++) {
        if (is_blank(text[i]))
            continue;
        int digit = digit_of(text[i]);
        if (digit < 0)
            return lift_fail(err, LIFT_CONFIG, "not base64: unexpected byte at offset %zu", i);
        bits = bits << 6 | (uint32_t)digit;
        if (++digits % 4 == 1)
            continue; /* six bits make no byte yet */
        unsigned char byte = (unsigned char)(bits >> (6 - 2 * ((digits - 1) % 4)));
        if (!lift_buf_add(out, &byte, 1))
            return lift_fail(err, LIFT_NO_SPACE, "base64 of more than %zu bytes", out->max);
    }
    if (!ends_well(text + i, length - i, digits))
        return lift_fail(err, LIFT_CONFIG, "not base64: cut short, or wrongly padded");
    if (!lift_buf_add(out, "", 0))
        return lift_fail(err, LIFT_NO_SPACE, "base64 of more than %zu bytes", out->max);
    return true;
}
