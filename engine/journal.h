/* A small file that is either the old text or the new, whatever happens: what a run has promised to
 * undo. */
#pragma once

#include "buf.h"

#define LIFT_JOURNAL_MAX ((size_t)64 << 10)

/* Write beside, fsync, rename, fsync the folder.  Mode 0600.  LIFT_CONFIG where the name is that of
 * anything but a plain file.  Blocks for as long as the disk does. */
LIFT_NODISCARD bool lift_journal_write(const char *path, const void *bytes, size_t length,
                                       struct lift_error *err);
/* LIFT_NOT_FOUND when there is none; LIFT_NO_SPACE above LIFT_JOURNAL_MAX. */
LIFT_NODISCARD bool lift_journal_read(const char *path, struct lift_buf *out,
                                      struct lift_error *err);
LIFT_NODISCARD bool lift_journal_remove(const char *path,
                                        struct lift_error *err); /* an absent one is fine */

/* Make the folders that `path` lies in, mode 0700, where they are missing: for a home that nobody
 * chose.  What cannot be made is told by the write or lock that follows. */
void lift_journal_make_folder(const char *path);

/* Can a file be written there, as things are now?  makes_folder: missing folders will be made.
 * Changes nothing; the failure names the folder. */
LIFT_NODISCARD bool lift_journal_writable(const char *path, bool makes_folder,
                                          struct lift_error *err);

/* Names of the journals in a folder, each with its NUL, unsorted; none when there is no such
 * folder. */
LIFT_NODISCARD bool lift_journal_list(const char *folder, struct lift_buf *names,
                                      struct lift_error *err);

/*
 * Only one process at a time: an advisory lock on `path`.lock, held until the returned fd is
 * closed.  -1 and LIFT_BUSY, naming the holder's pid, when another has it.
 */
LIFT_NODISCARD int lift_journal_lock(const char *path, struct lift_error *err);
