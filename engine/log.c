#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "secret.h"

/* Longer texts are cut: a log is read by people. */
#define TEXT_MAX ((size_t)16 << 10)

#define ONCE_MAX 64 /* more different ones are written each time */

struct lift_log {
    int fd; /* borrowed */
    enum lift_level level;
    bool json;
    uint64_t once[ONCE_MAX]; /* digests of what is written once */
    size_t once_count;
};

static const char *const LEVELS[] = {"error", "warn", "info", "debug"};

struct lift_log *lift_log_new(int fd, enum lift_level level, bool json)
{
    struct lift_log *log = lift_calloc(1, sizeof *log);
    *log = (struct lift_log){.fd = fd, .level = level, .json = json};
    return log;
}

void lift_log_free(struct lift_log *log)
{
    lift_free(log);
}

bool lift_log_enabled(const struct lift_log *log, enum lift_level level)
{
    return log && level <= log->level;
}

/* The length of the well-formed UTF-8 character at text, 0 when there is none. */
static size_t character(const unsigned char *text)
{
    unsigned char lead = text[0];
    if (lead < 0x80)
        return 1;
    size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    }
    bool overlong = (lead == 0xE0 && text[1] < 0xA0) || (lead == 0xF0 && text[1] < 0x90);
    bool surrogate = lead == 0xED && text[1] > 0x9F, beyond = lead == 0xF4 && text[1] > 0x8F;
    return overlong || surrogate || beyond ? 0 : length;
}

/* Those of C0, and of C1, which terminals obey as well. */
static bool is_control(const unsigned char *text)
{
    return *text < 0x20 || *text == 0x7F || (text[0] == 0xC2 && text[1] < 0xA0);
}

/* A line cannot outgrow LIFT_BUF_MAX, its texts being cut; if it did, its end would be missing. */
static void put(struct lift_buf *line, const char *bytes, size_t length)
{
    if (!lift_buf_add(line, bytes, length))
        return;
}

static void put_escape(struct lift_buf *line, bool json, const unsigned char *at, size_t length)
{
    static const char NAMED[] = "\n\r\t", NAMES[] = "nrt";
    char escape[8];
    const char *named = strchr(NAMED, *at);
    if (named && *named)
        snprintf(escape, sizeof escape, "\\%c", NAMES[named - NAMED]);
    else if (json) /* no JSON text can hold a stray byte: the replacement character stands for it */
        snprintf(escape, sizeof escape, "\\u%04x", length == 0 ? 0xFFFD : at[length - 1]);
    else
        snprintf(escape, sizeof escape, "\\x%02x", *at);
    put(line, escape, strlen(escape));
}

static void put_escaped(struct lift_buf *line, bool json, bool quoted, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at) {
        size_t length = character(at);
        if (length == 0 || is_control(at))
            put_escape(line, json, at, length);
        else if (quoted && (*at == '"' || *at == '\\'))
            put(line, *at == '"' ? "\\\"" : "\\\\", 2);
        else
            put(line, (const char *)at, length);
        at += length && (json || !is_control(at)) ? length : 1;
    }
}

/* Redacted before it is escaped and cut: afterwards a secret would be harder to recognise. */
static char *presentable(const char *text)
{
    char *shown = lift_secret_redact(text ? text : "", text ? strlen(text) : 0);
    if (strlen(shown) > TEXT_MAX)
        memcpy(shown + TEXT_MAX - 3, "...", sizeof "...");
    return shown;
}

enum quotes { NEVER, WHERE_NEEDED, ALWAYS };

static void put_text(struct lift_buf *line, bool json, enum quotes quotes, const char *text)
{
    char *shown = presentable(text);
    bool needed = !*shown || strpbrk(shown, " \t\r\n\"=\\");
    bool quoted = quotes == ALWAYS || (quotes == WHERE_NEEDED && needed);
    if (quoted)
        put(line, "\"", 1);
    put_escaped(line, json, quoted, shown);
    if (quoted)
        put(line, "\"", 1);
    lift_free(shown);
}

static void put_time(struct lift_buf *line)
{
    struct timespec now;
    struct tm utc;
    char seconds[32], text[64];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text, sizeof text, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
    put(line, text, strlen(text));
}

static void puts_to(struct lift_buf *line, const char *text)
{
    put(line, text, strlen(text));
}

static void write_line(int fd, const struct lift_buf *line)
{
    size_t done = 0;
    while (done < line->length) {
        ssize_t wrote = write(fd, line->data + done, line->length - done);
        if (wrote < 0 && errno != EINTR)
            return; /* where would one complain? */
        done += wrote > 0 ? (size_t)wrote : 0;
    }
}

static void put_plain_line(struct lift_buf *line, enum lift_level level, const char *message,
                           const struct lift_field *fields, size_t count)
{
    put_time(line);
    puts_to(line, " ");
    puts_to(line, LEVELS[level]);
    puts_to(line, " ");
    put_text(line, false, NEVER, message);
    for (size_t i = 0; i < count; i++) {
        puts_to(line, " ");
        puts_to(line, fields[i].key);
        puts_to(line, "=");
        put_text(line, false, WHERE_NEEDED, fields[i].value);
    }
}

static void put_json_line(struct lift_buf *line, enum lift_level level, const char *message,
                          const struct lift_field *fields, size_t count)
{
    puts_to(line, "{\"time\":\"");
    put_time(line);
    puts_to(line, "\",\"level\":\"");
    puts_to(line, LEVELS[level]);
    puts_to(line, "\",\"message\":");
    put_text(line, true, ALWAYS, message);
    for (size_t i = 0; i < count; i++) {
        puts_to(line, ",\"");
        puts_to(line, fields[i].key);
        puts_to(line, "\":");
        put_text(line, true, ALWAYS, fields[i].value);
    }
    puts_to(line, "}");
}

void lift_log_write(struct lift_log *log, enum lift_level level, const char *message,
                    const struct lift_field *fields, size_t count)
{
    if (!lift_log_enabled(log, level))
        return;
    struct lift_buf line = {0};
    (log->json ? put_json_line : put_plain_line)(&line, level, message, fields, count);
    puts_to(&line, "\n");
    write_line(log->fd, &line);
    lift_buf_free(&line);
}

/* FNV-1a, the terminating zero included. */
static uint64_t digest(uint64_t hash, const char *text)
{
    do
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    while (*text++);
    return hash;
}

void lift_log_write_once(struct lift_log *log, enum lift_level level, const char *message,
                         const struct lift_field *fields, size_t count)
{
    if (!lift_log_enabled(log, level))
        return;
    uint64_t line = digest(UINT64_C(0xcbf29ce484222325), message);
    for (size_t i = 0; i < count; i++)
        line = digest(digest(line, fields[i].key), fields[i].value);
    for (size_t i = 0; i < log->once_count; i++) {
        if (log->once[i] == line)
            return;
    }
    if (log->once_count < ONCE_MAX)
        log->once[log->once_count++] = line;
    lift_log_write(log, level, message, fields, count);
}

void lift_logf(struct lift_log *log, enum lift_level level, const char *fmt, ...)
{
    if (!lift_log_enabled(log, level))
        return;
    char *message = NULL;
    va_list args;
    va_start(args, fmt);
    int length = vasprintf(&message, fmt, args);
    va_end(args);
    if (length < 0)
        lift_no_memory();
    lift_log_write(log, level, message, NULL, 0);
    lift_free(message);
}
