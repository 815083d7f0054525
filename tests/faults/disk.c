/* A disk that is slow, fails, or forgets: preloaded into the service by tests/faults.
 *
 * DISK_PREFIX  files whose path begins so are on this disk; all others are left alone
 * DISK_MANNER  a file that holds milliseconds, by which each fsync is late, or "EIO": it fails, or
 *              "EROFS": nothing can be written nor opened for it; missing or empty: the disk is
 *              well.  It is read at each fsync and each write.
 * DISK_SHADOW  a directory that gets a copy of each file as it is at each fsync, and nothing
 *              else: what is there is what a power cut leaves of a disk that kept its word, and
 *              no more.  A copy is put in place by rename, before fsync returns.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_ours(int fd, char *path, size_t size)
{
    const char *prefix = getenv("DISK_PREFIX");
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (!prefix || length < 0)
        return 0;
    path[length] = 0;
    return strncmp(path, prefix, strlen(prefix)) == 0;
}

static int manner(void)
{
    const char *file = getenv("DISK_MANNER");
    char words[32] = "";
    int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, words, sizeof words - 1);
    close(fd);
    if (length > 0 && strncmp(words, "EIO", 3) == 0)
        return EIO;
    if (length > 0 && strncmp(words, "EROFS", 5) == 0)
        return EROFS;
    usleep(1000 * (length > 0 ? atoi(words) : 0));
    return 0;
}

static void keep(const char *path)
{
    const char *shadow = getenv("DISK_SHADOW"), *name = strrchr(path, '/') + 1;
    static __thread char block[1 << 16], fresh[4096], place[4096];
    if (!shadow)
        return;
    int from = open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return; /* a directory, or gone */
    snprintf(fresh, sizeof fresh, "%s/.%s.%d", shadow, name, (int)gettid());
    snprintf(place, sizeof place, "%s/%s", shadow, name);
    int to = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t length;
    while ((length = read(from, block, sizeof block)) > 0)
        if (write(to, block, length) != length)
            abort();
    close(from);
    close(to);
    if (length == 0)
        rename(fresh, place);
    else
        unlink(fresh);
}

static int sync_with(const char *function, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, function);
    static __thread char path[4096];
    if (!is_ours(fd, path, sizeof path))
        return real(fd);
    int wrong = manner();
    if (wrong) {
        errno = wrong;
        return -1;
    }
    int result = real(fd);
    if (result == 0)
        keep(path);
    return result;
}

int fsync(int fd) { return sync_with("fsync", fd); }

int fdatasync(int fd) { return sync_with("fdatasync", fd); }

static int is_read_only(int fd)
{
    static __thread char path[4096];
    const char *file = getenv("DISK_MANNER");
    return file && access(file, F_OK) == 0 && is_ours(fd, path, sizeof path) && manner() == EROFS;
}

ssize_t pwrite64(int fd, const void *octets, size_t size, off64_t at)
{
    ssize_t (*real)(int, const void *, size_t, off64_t) =
        (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    if (is_read_only(fd)) {
        errno = EROFS;
        return -1;
    }
    return real(fd, octets, size, at);
}

int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    int fd = real(path, flags, mode);
    if (fd >= 0 && (flags & O_ACCMODE) != O_RDONLY && is_read_only(fd)) {
        close(fd);
        errno = EROFS;
        return -1;
    }
    return fd;
}
