/* Fails, or kills at, the nth write, rename, fsync, open or link below one folder.

   Loaded by LD_PRELOAD into a process that forks one child for each fault; the child calls
   fault_arm. Python sees what it would see of a full disk, a broken one, or one of another user. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[PATH_MAX];
static long wanted = -1, seen = 0;
static int code = 0;
enum { HALF = -1 }; /* the disk gets full in the middle of a write; elsewhere as ENOSPC */

void fault_arm(const char *folder, long nth, int error) {
    snprintf(root, sizeof root, "%s", folder);
    wanted = nth; code = error; seen = 0;
}
long fault_seen(void) { return seen; }

static int inside(const char *path) { return root[0] && path && strncmp(path, root, strlen(root)) == 0; }

static int inside_fd(int fd) {
    char link[64], path[PATH_MAX];
    if (!root[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return inside(path);
}

static int fails(int counts) {
    if (!counts) return 0;
    if (__sync_add_and_fetch(&seen, 1) != wanted) return 0;
    if (code == 0) { kill(getpid(), SIGKILL); pause(); }
    errno = code == HALF ? ENOSPC : code;
    return 1;
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY; }

#define OPEN(name) \
int name(const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    REAL(name); \
    if (fails(writes(flags) && inside(path))) return -1; \
    return real(path, flags, mode); \
}
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
int name(int at, const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    REAL(name); \
    if (fails(writes(flags) && inside(path))) return -1; \
    return real(at, path, flags, mode); \
}
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
FILE *name(const char *path, const char *mode) { \
    REAL(name); \
    if (fails(mode[0] != 'r' && inside(path))) return NULL; \
    return real(path, mode); \
}
FOPEN(fopen)
FOPEN(fopen64)

/* With HALF one half is written, and the next step fails. */
ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    if (root[0] && fails(inside_fd(fd))) {
        if (code != HALF) return -1;
        code = ENOSPC; wanted = seen + 1;
        if (size > 1) return real(fd, data, size / 2);
        errno = code;
        return -1;
    }
    return real(fd, data, size);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    if (root[0] && fails(inside_fd(fd))) return -1;
    return real(fd, parts, count);
}
int fsync(int fd) { REAL(fsync); if (fails(inside_fd(fd))) return -1; return real(fd); }
int rename(const char *from, const char *to) {
    REAL(rename);
    if (fails(inside(to))) return -1;
    return real(from, to);
}
int renameat(int a, const char *from, int b, const char *to) {
    REAL(renameat);
    if (fails(inside(to))) return -1;
    return real(a, from, b, to);
}
int link(const char *from, const char *to) {
    REAL(link);
    if (fails(inside(to))) return -1;
    return real(from, to);
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
    REAL(linkat);
    if (fails(inside(to))) return -1;
    return real(a, from, b, to, flags);
}
int mkdir(const char *path, mode_t mode) { REAL(mkdir); if (fails(inside(path))) return -1; return real(path, mode); }
