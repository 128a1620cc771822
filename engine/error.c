#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "secret.h"

static const char *const NAMES[] = {
    [LIFT_OK] = "ok",
    [LIFT_NOT_FOUND] = "not_found",
    [LIFT_CONFLICT] = "conflict",
    [LIFT_DENIED] = "denied",
    [LIFT_BUSY] = "busy",
    [LIFT_TIMEOUT] = "timeout",
    [LIFT_UNREACHABLE] = "unreachable",
    [LIFT_PROTOCOL] = "protocol",
    [LIFT_UNSUPPORTED] = "unsupported",
    [LIFT_CONFIG] = "config",
    [LIFT_NO_SPACE] = "no_space",
    [LIFT_INCOMPLETE] = "incomplete",
    [LIFT_FAILED] = "failed",
    [LIFT_CANCELLED] = "cancelled",
    [LIFT_BUG] = "bug",
};

const char *lift_code_name(enum lift_code code)
{
    size_t at = (size_t)code;
    return at < sizeof NAMES / sizeof *NAMES ? NAMES[at] : NAMES[LIFT_BUG];
}

/* A text that was cut may end within a character: JSON and terminals want whole ones. */
static void drop_partial_character(char *text)
{
    size_t end = strlen(text), start = end;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (need > 1 && end - (start - 1) < need)
        text[start - 1] = '\0';
}

/* How far a secret that begins in what is shown may reach behind it. */
#define LONGEST_SECRET ((size_t)64 << 10)

void lift_quote(char *out, size_t size, const char *text)
{
    char *shown = lift_secret_redact(text, strnlen(text, size + LONGEST_SECRET));
    if (snprintf(out, size, "%s", shown) >= (int)size)
        drop_partial_character(out);
    lift_free(shown);
}

static void format(char *to, size_t size, const char *fmt, va_list args) LIFT_PRINTF(3, 0);
static void format(char *to, size_t size, const char *fmt, va_list args)
{
    char *whole = NULL;
    if (vasprintf(&whole, fmt, args) < 0)
        lift_no_memory();
    lift_quote(to, size, whole);
    lift_free(whole);
}

bool lift_fail(struct lift_error *err, enum lift_code code, const char *fmt, ...)
{
    struct lift_error made = {.code = code}; /* err->text may be among the arguments */
    va_list args;
    va_start(args, fmt);
    format(made.text, sizeof made.text, fmt, args);
    va_end(args);
    *err = made;
    return false;
}

bool lift_hint(struct lift_error *err, const char *fmt, ...)
{
    char hint[sizeof err->hint];
    va_list args;
    va_start(args, fmt);
    format(hint, sizeof hint, fmt, args);
    va_end(args);
    memcpy(err->hint, hint, sizeof hint);
    return false;
}
