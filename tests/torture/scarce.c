/* Stands before malloc in the whole program, the libraries' calls included. */
#include "tests/torture/scarce.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct scarcity scarcity;

#ifdef LIFT_SANITIZED
#define REAL(name) __interceptor_##name
#else
#define REAL(name) __libc_##name
#endif
void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t count, size_t size);
void *REAL(realloc)(void *memory, size_t size);

static bool is_refused(void)
{
    if (scarcity.after == 0 || (scarcity.exempt && *scarcity.exempt))
        return false;
    scarcity.seen++;
    if (scarcity.all ? scarcity.seen < scarcity.after : scarcity.seen != scarcity.after)
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return is_refused() ? NULL : REAL(malloc)(size);
}

void *calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : REAL(calloc)(count, size);
}

void *realloc(void *memory, size_t size)
{
    return is_refused() ? NULL : REAL(realloc)(memory, size);
}

/* The sanitizer's own would not ask us. */
char *strndup(const char *text, size_t length)
{
    size_t kept = strnlen(text, length);
    char *copy = malloc(kept + 1);
    if (copy)
        memcpy(copy, text, kept), copy[kept] = '\0';
    return copy;
}

char *strdup(const char *text)
{
    return strndup(text, strlen(text));
}
