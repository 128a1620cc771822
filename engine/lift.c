#include "lift.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void lift_no_memory(void)
{
    static const char words[] = "lunalift: out of memory\n";
    if (write(STDERR_FILENO, words, sizeof words - 1) < 0) {
        /* nobody is left to tell */
    }
    abort();
}

void *lift_demand(void *memory)
{
    if (!memory)
        lift_no_memory();
    return memory;
}

void *lift_calloc(size_t count, size_t size)
{
    /* calloc(0) may be NULL without memory being out. */
    return lift_demand(calloc(count ? count : 1, size ? size : 1));
}

char *lift_strdup(const char *text)
{
    return text ? lift_demand(strdup(text)) : NULL;
}

char *lift_strndup(const char *text, size_t length)
{
    return text ? lift_demand(strndup(text, length)) : NULL;
}

char *lift_asprintf(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int length = vasprintf(&text, fmt, args);
    va_end(args);
    return lift_demand(length < 0 ? NULL : text);
}

void lift_free(void *memory)
{
    free(memory);
}
