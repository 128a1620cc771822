/* Stands in for libFuzzer in ordinary builds: feeds every file of the folders given, once each. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 1 << 20 };

static int feed(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return 0;
    uint8_t *bytes = malloc(INPUT_MAX);
    size_t length = bytes != NULL ? fread(bytes, 1, INPUT_MAX, file) : 0;
    fclose(file);
    /* A copy of the exact size, so that AddressSanitizer sees a read past its end. */
    uint8_t *exact = malloc(length > 0 ? length : 1);
    if (bytes != NULL && exact != NULL) {
        memcpy(exact, bytes, length);
        LLVMFuzzerTestOneInput(exact, length);
    }
    free(exact);
    free(bytes);
    return 1;
}

static int feed_folder(const char *folder, int count)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char path[1024];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        printf("# %s\n", path); /* the last one named is the one that crashed */
        fflush(stdout);
        if (feed(path))
            printf("ok %d - %s\n", ++count, entry->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++)
        count = feed_folder(argv[i], count);
    printf("1..%d\n", count);
    return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
