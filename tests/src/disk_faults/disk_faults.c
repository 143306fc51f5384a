/* Faults of a disk for one process, preloaded into it (LD_PRELOAD): chosen operations on files below one directory fail,
 * and what was not synced can be taken back after the process was killed.
 *
 *   CONCOORD_FAULT_DIR      the directory, absolute and without symbolic links; other files are left alone
 *   CONCOORD_FAULT_CONTROL  a file of struct control, shared with the test, which reads the counts and arms the faults
 *   CONCOORD_FAULT_JOURNAL  where every write is noted with what it replaced; without it nothing can be taken back
 *
 * A killed process loses nothing that it wrote: the page cache keeps it. A machine that loses its power does lose what
 * was not synced. So each write is noted in the journal first, with the bytes that it replaces, and a sync is noted when
 * it is done. After the kill the test puts back what no sync covers (disk_faults/journal.rs), and has a disk as a power
 * cut would leave it. Creations, renames and removals are not taken back, nor is what is written through a mapping.
 *
 * Writers that call the kernel without libc are not seen. Everything runs under one lock, so that the journal has the
 * order of the disk; a sync does not hold it while the disk works, or no other thread could write meanwhile.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* What is counted, and can fail. GROW is a write, a truncation or an allocation that makes a file longer: what fails
 * first when a disk is full. A write that makes a file longer counts as both. */
enum operation { WRITE, SYNC, OPEN, RENAME, GROW, OPERATIONS };

struct control {
    uint64_t count[OPERATIONS];   /* operations so far */
    uint64_t fail_at[OPERATIONS]; /* the one that fails, counted from 1; 0 for none */
    uint64_t error;               /* errno of the failures */
    uint64_t lasting;             /* not 0: all after it fail too */
    uint64_t failed;              /* failures so far */
};

/* One entry of the journal, followed by `old_bytes` bytes that were replaced and `new_bytes` that replaced them. */
struct entry {
    uint64_t kind;      /* ENTRY_... */
    uint64_t inode;
    uint64_t offset;    /* of a write; of ENTRY_SYNC: length of the journal when the sync began */
    uint64_t old_size;  /* of the file before */
    uint64_t old_bytes; /* replaced, from `offset` on */
    uint64_t new_bytes;
};
enum { ENTRY_WRITE = 1, ENTRY_RESIZE = 2, ENTRY_SYNC = 3, ENTRY_GONE = 4 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct control none, *control = &none;
static char directory[PATH_MAX];
static int journal = -1;

/* The function of this name that is covered by ours. */
#define NEXT(name) ({ \
    static __typeof__(name) *next; \
    if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name); \
    next; \
})

__attribute__((constructor)) static void start(void) {
    const char *below = getenv("CONCOORD_FAULT_DIR"), *shared = getenv("CONCOORD_FAULT_CONTROL");
    const char *noted = getenv("CONCOORD_FAULT_JOURNAL");
    if (!below || !shared) return;
    int fd = NEXT(open64)(shared, O_RDWR | O_CLOEXEC);
    void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (noted) journal = NEXT(open64)(noted, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (mapped == MAP_FAILED || (noted && journal < 0)) {
        /* A test that believes in faults which can't happen would prove nothing. */
        static const char said[] = "disk_faults: the control file or the journal can't be opened\n";
        NEXT(write)(2, said, sizeof said - 1);
        abort();
    }
    close(fd);
    control = mapped;
    snprintf(directory, sizeof directory, "%s", below);
}

static int is_below(const char *path) {
    size_t length = strlen(directory);
    return length && !strncmp(path, directory, length) && (path[length] == '/' || !path[length]);
}

static int is_ours(int fd) {
    char link[64], path[PATH_MAX];
    if (!*directory) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_below(path);
}

/* Whether a path, which need not exist, leads below the directory: where its parent really is decides. */
static int names_ours(int at, const char *path) {
    char joined[2 * PATH_MAX], parent[PATH_MAX], link[64], base[PATH_MAX] = ".";
    if (!*directory) return 0;
    if (*path != '/' && at != AT_FDCWD) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length < 0) return 0;
        base[length] = 0;
    }
    if (*path == '/') snprintf(joined, sizeof joined, "%s", path);
    else snprintf(joined, sizeof joined, "%s/%s", base, path);
    char *name = strrchr(joined, '/');
    *name = 0;
    return realpath(*joined ? joined : "/", parent) && is_below(parent);
}

/* Counts an operation; -1 with errno when it is one that fails. Under the lock. */
static int count(enum operation operation) {
    uint64_t number = ++control->count[operation], at = control->fail_at[operation];
    if (!at || number < at || (number > at && !control->lasting)) return 0;
    control->failed++;
    errno = (int)control->error;
    return -1;
}

static void note(struct entry entry, const void *old, const void *new) {
    struct iovec parts[3] = {
        {&entry, sizeof entry}, {(void *)old, entry.old_bytes}, {(void *)new, entry.new_bytes},
    };
    ssize_t wanted = (ssize_t)(sizeof entry + parts[1].iov_len + parts[2].iov_len);
    if (NEXT(writev)(journal, parts, 3) != wanted) abort();
}

/* Notes that `length` bytes from `offset` on are about to be replaced by `new`, or cut off if `new` is null. */
static void note_change(int fd, uint64_t kind, off64_t offset, const void *new, size_t length) {
    struct stat64 known;
    if (journal < 0 || fstat64(fd, &known) || !S_ISREG(known.st_mode)) return;
    size_t old_bytes = offset < known.st_size ? (size_t)(known.st_size - offset) : 0;
    if (new && old_bytes > length) old_bytes = length;
    char *old = malloc(old_bytes + 1), link[64];
    /* The descriptor may be open for writing only. */
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int reader = NEXT(open64)(link, O_RDONLY | O_CLOEXEC);
    if (!old || reader < 0 || pread64(reader, old, old_bytes, offset) != (ssize_t)old_bytes) abort();
    close(reader);
    struct entry entry = {kind, known.st_ino, (uint64_t)offset, (uint64_t)known.st_size, old_bytes, new ? length : 0};
    note(entry, old, new);
    free(old);
}

static ssize_t faulty_write(int fd, const void *bytes, size_t length, off64_t offset, int moves) {
    struct stat64 known;
    pthread_mutex_lock(&lock);
    ssize_t result = -1;
    int grows = !fstat64(fd, &known) && S_ISREG(known.st_mode);
    if (moves) offset = fcntl(fd, F_GETFL) & O_APPEND ? known.st_size : lseek64(fd, 0, SEEK_CUR);
    grows = grows && offset + (off64_t)length > known.st_size;
    if (!count(WRITE) && !(grows && count(GROW))) {
        note_change(fd, ENTRY_WRITE, offset, bytes, length);
        result = moves ? NEXT(write)(fd, bytes, length) : NEXT(pwrite64)(fd, bytes, length, offset);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    return is_ours(fd) ? faulty_write(fd, bytes, length, 0, 1) : NEXT(write)(fd, bytes, length);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    return is_ours(fd) ? faulty_write(fd, bytes, length, offset, 0) : NEXT(pwrite64)(fd, bytes, length, offset);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

/* Many pieces are one write; each is written as one piece. */
static ssize_t faulty_writev(int fd, const struct iovec *parts, int parts_count, off64_t offset, int moves) {
    size_t length = 0, done = 0;
    for (int part = 0; part < parts_count; part++) length += parts[part].iov_len;
    char *whole = malloc(length + 1);
    if (!whole) abort();
    for (int part = 0; part < parts_count; done += parts[part++].iov_len)
        memcpy(whole + done, parts[part].iov_base, parts[part].iov_len);
    ssize_t result = faulty_write(fd, whole, length, offset, moves);
    free(whole);
    return result;
}

ssize_t writev(int fd, const struct iovec *parts, int parts_count) {
    return is_ours(fd) ? faulty_writev(fd, parts, parts_count, 0, 1) : NEXT(writev)(fd, parts, parts_count);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int parts_count, off64_t offset) {
    if (is_ours(fd)) return faulty_writev(fd, parts, parts_count, offset, 0);
    return NEXT(pwritev64)(fd, parts, parts_count, offset);
}
ssize_t pwritev(int fd, const struct iovec *parts, int parts_count, off_t offset) {
    return pwritev64(fd, parts, parts_count, offset);
}

/* Before a sync begins: how long the journal is, if it may go on. After it: what was noted until then is safe. */
static int begin_sync(int fd, struct entry *entry) {
    struct stat64 known, noted;
    pthread_mutex_lock(&lock);
    int result = count(SYNC);
    if (!result && journal >= 0 && !fstat64(fd, &known) && !fstat64(journal, &noted))
        *entry = (struct entry){ENTRY_SYNC, known.st_ino, (uint64_t)noted.st_size, 0, 0, 0};
    pthread_mutex_unlock(&lock);
    return result;
}

static int end_sync(int result, struct entry *entry) {
    pthread_mutex_lock(&lock);
    if (!result && entry->kind) note(*entry, "", "");
    pthread_mutex_unlock(&lock);
    return result;
}

#define SYNC_FUNCTION(name) \
    int name(int fd) { \
        struct entry entry = {0}; \
        if (!is_ours(fd)) return NEXT(name)(fd); \
        return begin_sync(fd, &entry) ? -1 : end_sync(NEXT(name)(fd), &entry); \
    }
SYNC_FUNCTION(fsync)
SYNC_FUNCTION(fdatasync)

/* Says nothing about what survives a power cut, so it covers nothing. */
int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
    struct entry unused;
    if (is_ours(fd) && begin_sync(fd, &unused)) return -1;
    return NEXT(sync_file_range)(fd, offset, length, flags);
}

/* The directory forgets what is at a path, which is removed or replaced: its inode may become that of another file. */
static void note_gone(int at, const char *path) {
    struct stat64 known;
    if (journal < 0 || fstatat64(at, path, &known, AT_SYMLINK_NOFOLLOW) || known.st_nlink > 1) return;
    note((struct entry){ENTRY_GONE, known.st_ino, 0, 0, 0, 0}, "", "");
}

int openat64(int at, const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    if (!names_ours(at, path)) return NEXT(openat64)(at, path, flags, mode);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (!count(OPEN)) {
        int old = flags & O_TRUNC && journal >= 0 ? NEXT(openat64)(at, path, O_RDONLY | O_CLOEXEC) : -1;
        if (old >= 0) {
            note_change(old, ENTRY_RESIZE, 0, NULL, 0);
            close(old);
        }
        result = NEXT(openat64)(at, path, flags, mode);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

#define OPEN_FUNCTION(head, at) \
    head { \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list more; \
            va_start(more, flags); \
            mode = va_arg(more, mode_t); \
            va_end(more); \
        } \
        return openat64(at, path, flags, mode); \
    }
OPEN_FUNCTION(int openat(int at, const char *path, int flags, ...), at)
OPEN_FUNCTION(int open64(const char *path, int flags, ...), AT_FDCWD)
OPEN_FUNCTION(int open(const char *path, int flags, ...), AT_FDCWD)

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    if (!names_ours(to_at, to)) return NEXT(renameat2)(from_at, from, to_at, to, flags);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (!count(RENAME)) {
        if (!flags) note_gone(to_at, to);
        result = NEXT(renameat2)(from_at, from, to_at, to, flags);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
int renameat(int from_at, const char *from, int to_at, const char *to) {
    return renameat2(from_at, from, to_at, to, 0);
}
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int at, const char *path, int flags) {
    if (!names_ours(at, path)) return NEXT(unlinkat)(at, path, flags);
    pthread_mutex_lock(&lock);
    note_gone(at, path);
    int result = NEXT(unlinkat)(at, path, flags);
    pthread_mutex_unlock(&lock);
    return result;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int ftruncate64(int fd, off64_t length) {
    struct stat64 known;
    if (!is_ours(fd) || fstat64(fd, &known)) return NEXT(ftruncate64)(fd, length);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (!(length > known.st_size && count(GROW))) {
        note_change(fd, ENTRY_RESIZE, length, NULL, 0);
        result = NEXT(ftruncate64)(fd, length);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    if (!is_ours(fd)) return NEXT(fallocate64)(fd, mode, offset, length);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (!count(GROW)) {
        note_change(fd, ENTRY_RESIZE, offset + length, NULL, 0);
        result = NEXT(fallocate64)(fd, mode, offset, length);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
int fallocate(int fd, int mode, off_t offset, off_t length) { return fallocate64(fd, mode, offset, length); }

/* This one returns its error. */
int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    if (!is_ours(fd)) return NEXT(posix_fallocate64)(fd, offset, length);
    return fallocate64(fd, 0, offset, length) ? errno : 0;
}
int posix_fallocate(int fd, off_t offset, off_t length) { return posix_fallocate64(fd, offset, length); }
