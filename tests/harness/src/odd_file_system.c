/* A preloaded library that makes system calls fail as on limited file systems. ODD selects the limits:
   no-modes (chmod succeeds without effect), no-chmod, no-locks, no-directory-sync. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

static int odd(const char *what) {
    const char *list = getenv("ODD");
    return list && strstr(list, what);
}

static int refused(int error) {
    errno = error;
    return -1;
}

int flock(int file, int operation) {
    if (odd("no-locks")) return refused(ENOLCK);
    return ((int (*)(int, int))dlsym(RTLD_NEXT, "flock"))(file, operation);
}

int fsync(int file) {
    struct stat status;
    if (odd("no-directory-sync") && !fstat(file, &status) && S_ISDIR(status.st_mode)) return refused(EINVAL);
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int chmod(const char *path, mode_t mode) {
    if (odd("no-modes")) return 0;
    if (odd("no-chmod")) return refused(EPERM);
    return ((int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "chmod"))(path, mode);
}

int fchmod(int file, mode_t mode) {
    if (odd("no-modes")) return 0;
    if (odd("no-chmod")) return refused(EPERM);
    return ((int (*)(int, mode_t))dlsym(RTLD_NEXT, "fchmod"))(file, mode);
}
