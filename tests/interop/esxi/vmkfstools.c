/*
 * ESXi's vmkfstools for a guest that has LIO as its array:
 *
 *   vmkfstools -i DISK.vmdk -d rdm:/vmfs/devices/disks/DEVICE DESCRIPTOR.vmdk
 *   vmkfstools -P VOLUME        what file system it is, and on which devices
 *   vmkfstools -D FILE          who holds its lock: nobody
 *
 * The copy asks the target by EXTENDED COPY to fetch each stretch of the disk from the LUN that the
 * datastore is on. A target that does not offer it (3PC of its INQUIRY), or that refuses it, is
 * written to instead with what is read from the disk. /var/run/vsish/DEVICE counts both for vsish;
 * /etc/vmkfstools-pause holds milliseconds to wait after each command, so that tests see a copy
 * run.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <scsi/sg.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum { SECTOR = 512, STEP = 4 << 20, EXTENTS = 64, NAA = 16 };

struct device {
    int fd;
    char name[64]; /* naa.… */
    unsigned char naa[NAA];
    bool takes_copies;
};

struct copy {
    int flat;
    uint64_t bytes, done;
    struct device source, target;
    unsigned long long writes, failed; /* the counters of the target */
};

static _Noreturn void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(255);
}

/* ---- SCSI ---- */

enum { TO_DEVICE = SG_DXFER_TO_DEV, FROM_DEVICE = SG_DXFER_FROM_DEV };

static bool send_command(int fd, unsigned char *cdb, int direction, void *data, unsigned length)
{
    unsigned char sense[32] = {0};
    struct sg_io_hdr io = {
        .interface_id = 'S',
        .dxfer_direction = direction,
        .cmd_len = 16,
        .mx_sb_len = sizeof sense,
        .dxfer_len = length,
        .dxferp = data,
        .cmdp = cdb,
        .sbp = sense,
        .timeout = 60000,
    };

    /* The first command to a LUN may be told that something has changed. */
    for (int tries = 0; tries < 3; tries++) {
        if (ioctl(fd, SG_IO, &io) < 0)
            return false;
        if ((io.info & SG_INFO_OK_MASK) == SG_INFO_OK)
            return true;
        if ((sense[2] & 0xf) != 6)
            return false;
    }
    return false;
}

static bool inquire(int fd, int page, unsigned char *answer, unsigned length)
{
    unsigned char cdb[16] = {0x12, page >= 0, page >= 0 ? (unsigned char)page : 0,
                             (unsigned char)(length >> 8), (unsigned char)length};

    return send_command(fd, cdb, FROM_DEVICE, answer, length);
}

/* The designator of the LUN that is an NAA of 16 bytes. */
static bool find_naa(const unsigned char *page, unsigned char *naa)
{
    int end = 4 + (page[2] << 8 | page[3]);

    for (int at = 4; at + 4 + NAA <= end; at += 4 + page[at + 3]) {
        if ((page[at + 1] & 0x3f) == 3 && page[at + 3] == NAA)
            return memcpy(naa, page + at + 4, NAA);
    }
    return false;
}

static void open_device(struct device *device, const char *path)
{
    unsigned char page[1024] = {0}, standard[36] = {0};

    device->fd = open(path, O_RDWR | O_CLOEXEC);
    if (device->fd < 0)
        die("Failed to create virtual disk: The system cannot find the file specified (25).");
    if (!inquire(device->fd, 0x83, page, sizeof page) || !find_naa(page, device->naa))
        die("%s has no NAA", path);
    if (!inquire(device->fd, -1, standard, sizeof standard))
        die("%s does not answer", path);
    device->takes_copies = standard[5] & 8;
    strcpy(device->name, "naa.");
    for (int i = 0; i < NAA; i++)
        sprintf(device->name + 4 + 2 * i, "%02x", device->naa[i]);
}

static void put16(unsigned char *at, uint16_t value)
{
    memcpy(at, &(uint16_t){htobe16(value)}, 2);
}
static void put32(unsigned char *at, uint32_t value)
{
    memcpy(at, &(uint32_t){htobe32(value)}, 4);
}
static void put64(unsigned char *at, uint64_t value)
{
    memcpy(at, &(uint64_t){htobe64(value)}, 8);
}

static void put_target(unsigned char *descriptor, const struct device *device)
{
    descriptor[0] = 0xe4;
    descriptor[4] = 1; /* binary */
    descriptor[5] = 3; /* an NAA */
    descriptor[7] = NAA;
    memcpy(descriptor + 8, device->naa, NAA);
    descriptor[30] = SECTOR >> 8;
}

/* One EXTENDED COPY, sent to the target: header, two targets, one segment from block to block. */
static bool extended_copy(const struct copy *copy, uint64_t from, uint64_t to, unsigned bytes)
{
    unsigned char list[16 + 2 * 32 + 28] = {0}, cdb[16] = {0x83};
    unsigned char *segment = list + 16 + 2 * 32;

    put16(list + 2, 2 * 32);
    put32(list + 8, 28);
    put_target(list + 16, &copy->source);
    put_target(list + 16 + 32, &copy->target);
    segment[0] = 0x02;
    put16(segment + 2, 0x18);
    put16(segment + 6, 1);
    put16(segment + 10, (uint16_t)(bytes / SECTOR));
    put64(segment + 12, from / SECTOR);
    put64(segment + 20, to / SECTOR);
    put32(cdb + 10, sizeof list);
    return send_command(copy->target.fd, cdb, TO_DEVICE, list, sizeof list);
}

/* ---- the disk ---- */

/* The device below a file. */
static void path_below(const struct stat *file, char *path, size_t size)
{
    char link[PATH_MAX], node[64];
    ssize_t length;

    snprintf(node, sizeof node, "/sys/dev/block/%u:%u", major(file->st_dev), minor(file->st_dev));
    length = readlink(node, link, sizeof link - 1);
    if (length < 0)
        die("Unable to get the device: Function not implemented (2490377)");
    link[length] = '\0';
    snprintf(path, size, "/dev/%s", strrchr(link, '/') + 1);
}

static int open_disk(const char *path)
{
    char line[PATH_MAX], name[PATH_MAX], flat[2 * PATH_MAX];
    FILE *descriptor = fopen(path, "r");
    int fd;

    if (!descriptor)
        die("Failed to open '%s': The system cannot find the file specified (25).", path);
    *name = '\0';
    while (fgets(line, sizeof line, descriptor)) {
        if (sscanf(line, "RW %*u VMFS \"%4095[^\n]", name) == 1)
            break;
    }
    fclose(descriptor);
    if (!strrchr(name, '"'))
        die("Failed to open '%s': The file specified is not a virtual disk (15).", path);
    *strrchr(name, '"') = '\0';
    snprintf(flat, sizeof flat, "%.*s/%s", (int)(strrchr(path, '/') - path), path, name);
    fd = open(flat, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        die("Failed to open '%s': The system cannot find the file specified (25).", path);
    return fd;
}

/* The stretches of the disk from `offset`; the holes between them read as zeros. */
static unsigned read_map(const struct copy *copy, uint64_t offset, struct fiemap *map)
{
    memset(map, 0, sizeof *map);
    map->fm_start = offset;
    map->fm_length = copy->bytes - offset;
    map->fm_flags = FIEMAP_FLAG_SYNC;
    map->fm_extent_count = EXTENTS;
    if (ioctl(copy->flat, FS_IOC_FIEMAP, map) < 0)
        die("Failed to clone disk: %s (%d).", strerror(errno), errno);
    return map->fm_mapped_extents;
}

/* ---- the copy ---- */

static void counters_file(const struct copy *copy, char *path, size_t size)
{
    snprintf(path, size, "/var/run/vsish/%s", copy->target.name);
}

static void read_counters(struct copy *copy)
{
    char path[128];
    FILE *file;

    counters_file(copy, path, sizeof path);
    file = fopen(path, "r");
    if (!file)
        return;
    if (fscanf(file, "%llu %llu", &copy->writes, &copy->failed) != 2)
        copy->writes = copy->failed = 0;
    fclose(file);
}

static void write_counters(const struct copy *copy)
{
    char path[128], fresh[136];
    FILE *file;

    counters_file(copy, path, sizeof path);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    file = fopen(fresh, "w");
    if (!file)
        return;
    fprintf(file, "%llu %llu\n", copy->writes, copy->failed);
    fclose(file);
    rename(fresh, path);
}

static void pause_a_while(void)
{
    long ms = 0;
    FILE *file = fopen("/etc/vmkfstools-pause", "r");

    if (!file)
        return;
    if (fscanf(file, "%ld", &ms) == 1)
        nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
    fclose(file);
}

static void read_and_write(const struct copy *copy, uint64_t at, unsigned bytes)
{
    static char buffer[STEP];

    if (pread(copy->flat, buffer, bytes, (off_t)at) != bytes ||
        pwrite(copy->target.fd, buffer, bytes, (off_t)at) != bytes)
        die("Failed to clone disk: Input/output error (327689).");
}

static void move(struct copy *copy, uint64_t from, uint64_t at, unsigned bytes)
{
    if (copy->target.takes_copies) {
        copy->target.takes_copies = extended_copy(copy, from, at, bytes);
        if (copy->target.takes_copies)
            copy->writes++;
        else
            copy->failed++;
        write_counters(copy);
    }
    if (!copy->target.takes_copies)
        read_and_write(copy, at, bytes);
}

static void advance(struct copy *copy, uint64_t bytes)
{
    copy->done += bytes;
    printf("\rClone: %d%% done.", (int)(copy->done * 100 / copy->bytes));
    fflush(stdout);
}

static void clear_until(struct copy *copy, uint64_t end)
{
    uint64_t hole[2] = {copy->done, end - copy->done};

    if (hole[1] == 0)
        return;
    if (ioctl(copy->target.fd, BLKZEROOUT, hole) < 0)
        die("Failed to clone disk: Input/output error (327689).");
    advance(copy, hole[1]);
}

static void copy_extent(struct copy *copy, const struct fiemap_extent *extent)
{
    uint64_t end = extent->fe_logical + extent->fe_length;

    if (end > copy->bytes)
        end = copy->bytes;
    if (extent->fe_flags & FIEMAP_EXTENT_UNWRITTEN)
        return;
    clear_until(copy, extent->fe_logical);
    while (copy->done < end) {
        unsigned bytes = end - copy->done < STEP ? (unsigned)(end - copy->done) : STEP;

        move(copy, extent->fe_physical + (copy->done - extent->fe_logical), copy->done, bytes);
        pause_a_while();
        advance(copy, bytes);
    }
}

static void copy_all(struct copy *copy)
{
    struct fiemap *map = calloc(1, sizeof *map + EXTENTS * sizeof *map->fm_extents);
    uint64_t next = 0;
    unsigned count;

    if (!map)
        abort();
    while (next < copy->bytes && (count = read_map(copy, next, map)) > 0) {
        for (unsigned i = 0; i < count; i++)
            copy_extent(copy, &map->fm_extents[i]);
        next = map->fm_extents[count - 1].fe_logical + map->fm_extents[count - 1].fe_length;
    }
    free(map);
    clear_until(copy, copy->bytes);
    if (fsync(copy->target.fd) < 0)
        die("Failed to clone disk: Input/output error (327689).");
}

/* The descriptor of the raw device mapping, and its pointer file. */
static void write_rdm(const char *path, uint64_t bytes)
{
    int stem = (int)strlen(path) - (int)strlen(".vmdk");
    char pointer[PATH_MAX];
    FILE *file = fopen(path, "wx");

    if (!file)
        die("Failed to clone disk: The file already exists (39).");
    snprintf(pointer, sizeof pointer, "%.*s-rdm.vmdk", stem, path);
    fprintf(file,
            "# Disk DescriptorFile\nversion=1\ncreateType=\"vmfsRawDeviceMap\"\n\n# Extent "
            "description\nRW %llu VMFSRDM \"%s\"\n",
            (unsigned long long)(bytes / SECTOR), strrchr(pointer, '/') + 1);
    fclose(file);
    close(open(pointer, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

static int clone_disk(const char *source, const char *device, const char *descriptor)
{
    struct copy copy = {.flat = open_disk(source)};
    struct stat flat;
    uint64_t room = 0;
    char below[64];

    if (fstat(copy.flat, &flat) < 0)
        die("Failed to open '%s': Input/output error (327689).", source);
    copy.bytes = (uint64_t)flat.st_size;
    path_below(&flat, below, sizeof below);
    open_device(&copy.source, below);
    open_device(&copy.target, device);
    if (ioctl(copy.target.fd, BLKGETSIZE64, &room) < 0 || room < copy.bytes)
        die("Failed to clone disk: The destination disk is too small (851983).");
    write_rdm(descriptor, room);
    read_counters(&copy);
    printf("Destination disk format: virtual raw disk mapping to '%s'\nCloning disk "
           "'%s'...\n\rClone: 0%% done.",
           device, source);
    fflush(stdout);
    copy_all(&copy);
    putchar('\n');
    return 0;
}

/* ---- questions ---- */

static int show_file_system(const char *path)
{
    struct statvfs space;
    struct stat top;
    struct device device = {0};
    char below[64];
    unsigned long long capacity, available;

    if (stat(path, &top) < 0 || statvfs(path, &space) < 0)
        die("Could not open '%s': The system cannot find the file specified (25).", path);
    path_below(&top, below, sizeof below);
    open_device(&device, below);
    capacity = (unsigned long long)space.f_blocks * space.f_frsize;
    available = (unsigned long long)space.f_bavail * space.f_frsize;
    printf("VMFS-6.82 (Raw Major Version: 24) file system spanning 1 partitions.\n"
           "File system label (if any): guest\nMode: public ATS-only\n"
           "Capacity %llu (%llu file blocks * 1048576), %llu (%llu blocks) avail, max supported "
           "file size 70368744177664\n"
           "Partitions spanned (on \"lvm\"):\n\t%s:1\nIs Native Snapshot Capable: NO\n",
           capacity, capacity >> 20, available, available >> 20, device.name);
    return 0;
}

static int show_lock(const char *path)
{
    if (access(path, F_OK) < 0)
        die("Could not open '%s': The system cannot find the file specified (25).", path);
    puts("Lock [type 10c00001 offset 45842432 v 33232, hb offset 4116480\ngen 2397, mode 0, owner "
         "00000000-00000000-0000-000000000000");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "-P") == 0)
        return show_file_system(argv[2]);
    if (argc == 3 && strcmp(argv[1], "-D") == 0)
        return show_lock(argv[2]);
    if (argc == 6 && strcmp(argv[1], "-i") == 0 && strcmp(argv[3], "-d") == 0 &&
        strncmp(argv[4], "rdm:", 4) == 0)
        return clone_disk(argv[2], argv[4] + 4, argv[5]);
    fputs("No valid command given. Use '-h' for help.\n", stderr);
    return 1;
}
