#include "secret.h"

#include <string.h>

#include "base64.h"

/*
 * What to look for in a text: the secret itself, or what base64 makes of it at one of the three
 * places where it can begin within a group of three bytes.  Its first and last bits may then share
 * a character with the neighbours: `lead` and `tail` hide those characters too.
 */
struct needle {
    char *text;
    size_t length;
    bool base64, lead, tail;
};

enum { NEEDLES = 4, SHORTEST = 4 };

struct lift_secret {
    struct lift_secret *next, *previous; /* in `living` */
    char *bytes;
    size_t length;
    unsigned count;
    struct needle needles[NEEDLES]; /* without text when the secret is too short to be hidden */
};

/* The one mutable global: a line may hold any secret there is, whoever made it and whoever logs, so
 * hiding must know them all.  One thread, hence no lock. */
static struct lift_secret *living;

static void wipe(char *bytes, size_t length)
{
    if (bytes)
        explicit_bzero(bytes, length);
    lift_free(bytes);
}

static void prepare_base64(struct needle *needle, const char *bytes, size_t length, size_t shift)
{
    struct lift_buf shifted = {.max = SIZE_MAX / 4}, encoded = shifted;
    if (!lift_buf_add(&shifted, "xx", shift) || !lift_buf_add(&shifted, bytes, length) ||
        !lift_base64_encode(&encoded, shifted.data, shifted.length))
        lift_no_memory(); /* nothing is as long as that */

    /* Only characters whose six bits are all the secret's. */
    size_t from = (shift * 8 + 5) / 6, to = shifted.length * 8 / 6;
    needle->length = to - from;
    needle->text = lift_calloc(1, needle->length + 1);
    memcpy(needle->text, encoded.data + from, needle->length);
    needle->base64 = true;
    needle->lead = shift > 0;
    needle->tail = shifted.length % 3 > 0;
    lift_buf_wipe(&shifted);
    lift_buf_wipe(&encoded);
}

static void prepare(struct lift_secret *secret)
{
    /* A secret read from a file often ends in a line break that no peer will echo. */
    size_t length = secret->length;
    while (length > 0 && strchr("\r\n", secret->bytes[length - 1]))
        length--;
    if (length < SHORTEST)
        return;
    struct needle *plain = &secret->needles[0];
    plain->length = length;
    plain->text = lift_calloc(1, length + 1);
    memcpy(plain->text, secret->bytes, length);
    for (size_t shift = 0; shift < 3; shift++)
        prepare_base64(&secret->needles[1 + shift], secret->bytes, length, shift);
}

struct lift_secret *lift_secret_new(const void *bytes, size_t length)
{
    struct lift_secret *secret = lift_calloc(1, sizeof *secret);
    secret->bytes = lift_calloc(1, length + 1);
    if (length > 0)
        memcpy(secret->bytes, bytes, length);
    secret->length = length;
    secret->count = 1;
    prepare(secret);

    secret->next = living;
    if (living)
        living->previous = secret;
    living = secret;
    return secret;
}

struct lift_secret *lift_secret_ref(struct lift_secret *secret)
{
    if (secret)
        secret->count++;
    return secret;
}

void lift_secret_free(struct lift_secret *secret)
{
    if (!secret || --secret->count > 0)
        return;
    if (secret->next)
        secret->next->previous = secret->previous;
    if (secret->previous)
        secret->previous->next = secret->next;
    else
        living = secret->next;
    for (size_t i = 0; i < NEEDLES; i++)
        wipe(secret->needles[i].text, secret->needles[i].length);
    wipe(secret->bytes, secret->length);
    lift_free(secret);
}

const char *lift_secret_bytes(const struct lift_secret *secret)
{
    return secret->bytes;
}

size_t lift_secret_length(const struct lift_secret *secret)
{
    return secret->length;
}

/*
 * Text is compared as it would read after undoing one escaping.  Which one, the text does not say,
 * and "%41" may be a password's own: each is tried, and all together for a text that was escaped
 * twice by different rules.
 */
enum escaping { NONE = 0, PERCENT = 1, XML = 2, BACKSLASH = 4, ANY = 7 };
static const unsigned ESCAPINGS[] = {NONE, PERCENT, XML, BACKSLASH, ANY};

/* What stands at the begin of a text: `length` of its bytes mean `bytes[0..count)`. */
struct piece {
    size_t length, count;
    char bytes[4];
};

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Read up to `most` digits; how many there were. */
static size_t number(const char *at, size_t left, size_t most, int base, unsigned *value)
{
    size_t used = 0;
    *value = 0;
    while (used < most && used < left && digit(at[used]) >= 0 && digit(at[used]) < base) {
        *value = *value * (unsigned)base + (unsigned)digit(at[used]);
        used++;
    }
    return used;
}

static struct piece byte_piece(size_t length, unsigned byte)
{
    return (struct piece){.length = length, .count = 1, .bytes = {(char)byte}};
}

static struct piece character_piece(size_t length, unsigned point)
{
    if (point < 0x80)
        return byte_piece(length, point);
    if (point < 0x800)
        return (struct piece){.length = length,
                              .count = 2,
                              .bytes = {(char)(0xC0 | point >> 6), (char)(0x80 | (point & 0x3F))}};
    if (point < 0x10000)
        return (struct piece){.length = length,
                              .count = 3,
                              .bytes = {(char)(0xE0 | point >> 12),
                                        (char)(0x80 | (point >> 6 & 0x3F)),
                                        (char)(0x80 | (point & 0x3F))}};
    return (struct piece){
        .length = length,
        .count = 4,
        .bytes = {(char)(0xF0 | (point >> 18 & 7)), (char)(0x80 | (point >> 12 & 0x3F)),
                  (char)(0x80 | (point >> 6 & 0x3F)), (char)(0x80 | (point & 0x3F))}};
}

static struct piece percent_piece(const char *at, size_t left)
{
    unsigned value;
    if (*at == '+')
        return byte_piece(1, ' ');
    if (*at == '%' && number(at + 1, left - 1, 2, 16, &value) == 2)
        return byte_piece(3, value);
    return (struct piece){0};
}

static struct piece xml_piece(const char *at, size_t left)
{
    static const struct {
        const char *name;
        char means;
    } ENTITIES[] = {
        {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
    if (*at != '&')
        return (struct piece){0};
    for (size_t i = 0; i < sizeof ENTITIES / sizeof *ENTITIES; i++) {
        size_t length = strlen(ENTITIES[i].name);
        if (length <= left && memcmp(at, ENTITIES[i].name, length) == 0)
            return byte_piece(length, (unsigned char)ENTITIES[i].means);
    }
    if (left < 4 || at[1] != '#')
        return (struct piece){0};
    bool hex = at[2] == 'x' || at[2] == 'X';
    size_t head = hex ? 3 : 2;
    unsigned point;
    size_t digits = number(at + head, left - head, 7, hex ? 16 : 10, &point);
    if (digits == 0 || head + digits >= left || at[head + digits] != ';')
        return (struct piece){0};
    return character_piece(head + digits + 1, point);
}

static struct piece backslash_piece(const char *at, size_t left)
{
    static const char NAMES[] = "nrtbf\"\\/'", MEANS[] = "\n\r\t\b\f\"\\/'";
    unsigned value;
    if (*at != '\\' || left < 2 || at[1] == '\0')
        return (struct piece){0};
    const char *known = strchr(NAMES, at[1]);
    if (known)
        return byte_piece(2, (unsigned char)MEANS[known - NAMES]);
    if (at[1] == 'u' && number(at + 2, left - 2, 4, 16, &value) == 4)
        return character_piece(6, value);
    if (at[1] == 'x' && number(at + 2, left - 2, 2, 16, &value) == 2)
        return byte_piece(4, value);
    return (struct piece){0};
}

static struct piece unescape(const char *at, size_t left, unsigned escaping)
{
    struct piece piece = {0};
    if (escaping & PERCENT)
        piece = percent_piece(at, left);
    if (!piece.length && escaping & XML)
        piece = xml_piece(at, left);
    if (!piece.length && escaping & BACKSLASH)
        piece = backslash_piece(at, left);
    return piece;
}

static bool in_base64(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("+/-_", c));
}

/* The URL-safe alphabet differs in two characters. */
static bool same(const struct needle *needle, size_t at, char c)
{
    char want = needle->text[at];
    return c == want ||
           (needle->base64 && ((want == '+' && c == '-') || (want == '/' && c == '_')));
}

/* The bytes of text that stand for the needle from `done` on, advancing it; 0 when none do. */
static size_t take(const struct needle *needle, size_t *done, const char *at, size_t left,
                   unsigned escaping)
{
    struct piece piece = unescape(at, left, escaping);
    size_t fits = 0;
    while (fits < piece.count && *done + fits < needle->length &&
           same(needle, *done + fits, piece.bytes[fits]))
        fits++;
    if (piece.length && fits == piece.count) {
        *done += fits;
        return piece.length;
    }
    if (!same(needle, *done, *at))
        return 0;
    *done += 1;
    return 1;
}

/* A character shared with the secret's neighbour in base64: any will do. */
static size_t take_shared(const char *at, size_t left, unsigned escaping)
{
    if (left == 0)
        return 0;
    struct piece piece = unescape(at, left, escaping);
    if (piece.length && in_base64(piece.bytes[0]))
        return piece.length;
    return in_base64(*at) ? 1 : 0;
}

/* How many bytes of text the needle covers; 0 when it is not here. */
static size_t match(const struct needle *needle, const char *text, size_t left, unsigned escaping)
{
    size_t used = 0, done = 0;
    if (needle->lead && (used = take_shared(text, left, escaping)) == 0)
        return 0;
    while (done < needle->length) {
        size_t step = used < left ? take(needle, &done, text + used, left - used, escaping) : 0;
        if (step == 0)
            return 0;
        used += step;
    }
    return needle->tail ? used + take_shared(text + used, left - used, escaping) : used;
}

/* Spares nearly all calls of match(). */
static bool may_begin(const struct needle *needle, const char *text, size_t left)
{
    static const char INTRODUCERS[] = "%+&\\";
    size_t at = needle->lead ? 1 : 0;
    if (at >= left)
        return false;
    return memchr(INTRODUCERS, text[0], 4) || memchr(INTRODUCERS, text[at], 4) ||
           same(needle, 0, text[at]);
}

static size_t longest_of(const struct needle *needle, const char *text, size_t left)
{
    size_t longest = 0;
    for (size_t i = 0; i < sizeof ESCAPINGS / sizeof *ESCAPINGS; i++) {
        size_t here = match(needle, text, left, ESCAPINGS[i]);
        longest = here > longest ? here : longest;
    }
    return longest;
}

static size_t longest_match(const char *text, size_t left)
{
    size_t longest = 0;
    for (const struct lift_secret *secret = living; secret; secret = secret->next) {
        for (size_t i = 0; i < NEEDLES && secret->needles[i].text; i++) {
            const struct needle *needle = &secret->needles[i];
            size_t here = may_begin(needle, text, left) ? longest_of(needle, text, left) : 0;
            longest = here > longest ? here : longest;
        }
    }
    return longest;
}

/* Matches may overlap (one secret's end is another's begin), so the search goes on within one. Each
 * hides four bytes or more, hence the result is never longer. */
char *lift_secret_redact(const char *text, size_t length)
{
    char *out = lift_calloc(1, length + 1);
    size_t hidden_to = 0, used = 0;
    bool hidden = false;
    for (size_t at = 0; at < length; at++) {
        bool inside = hidden;
        size_t to = at + longest_match(text + at, length - at);
        hidden_to = to > hidden_to ? to : hidden_to;
        hidden = at < hidden_to;
        if (!hidden) {
            out[used++] = text[at] ? text[at] : ' ';
        } else if (!inside) {
            memcpy(out + used, "***", 3);
            used += 3;
        }
    }
    return out;
}
