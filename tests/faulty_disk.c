/* A disk that misbehaves. Loaded into a program before the C library, it counts the calls by which that changes files whose
 * path fits a pattern, and from a given one on refuses them, or kills the program there. It knows nothing of what is written.
 *
 *   FAULTY_PATHS  an extended regular expression
 *   FAULTY_CALLS  which calls count, each within commas: ",pwrite,fdatasync,"; without it, all
 *   FAULTY_FIRST  the first call that is not carried out, counted from 1; 0 for none
 *   FAULTY_LAST   the last one; 0 for no end
 *   FAULTY_ERROR  the error number of what is refused; 0 to kill the program in its place
 *   FAULTY_LOG    a file that gets a line for each call that counts
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long counted;
static long first, last, error;
static int log_file = -1, is_on;
static const char *calls;
static regex_t paths;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

__attribute__((constructor)) static void begin(void) {
    const char *pattern = getenv("FAULTY_PATHS"), *log = getenv("FAULTY_LOG");
    is_on = pattern && regcomp(&paths, pattern, REG_EXTENDED | REG_NOSUB) == 0;
    calls = getenv("FAULTY_CALLS");
    first = number("FAULTY_FIRST");
    last = number("FAULTY_LAST");
    error = number("FAULTY_ERROR");
    if (is_on && log) log_file = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* Whether a call on a path is to be refused. */
static int fails(const char *call, const char *path) {
    if (!is_on || !path || regexec(&paths, path, 0, NULL, 0) != 0) return 0;
    if (calls) {
        char name[32];
        snprintf(name, sizeof name, ",%s,", call);
        if (!strstr(calls, name)) return 0;
    }
    long place = atomic_fetch_add(&counted, 1) + 1;
    if (log_file >= 0) {
        char line[4200];
        int length = snprintf(line, sizeof line, "%s %s\n", call, path);
        syscall(SYS_write, log_file, line, (size_t)length);
    }
    if (first == 0 || place < first || (last != 0 && place > last)) return 0;
    if (error == 0) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    errno = (int)error;
    return 1;
}

static int fails_on_file(const char *call, int file) {
    char link[64], path[4096];
    if (!is_on || file == log_file) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return fails(call, path);
}

#define REAL(result, name, ...) ((result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    return fails_on_file("pwrite", file) ? -1 : REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t)(file, bytes, count, at);
}
ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    return fails_on_file("pwrite", file) ? -1 : REAL(ssize_t, pwrite, int, const void *, size_t, off_t)(file, bytes, count, at);
}
ssize_t write(int file, const void *bytes, size_t count) {
    return fails_on_file("write", file) ? -1 : REAL(ssize_t, write, int, const void *, size_t)(file, bytes, count);
}
int fdatasync(int file) { return fails_on_file("fdatasync", file) ? -1 : REAL(int, fdatasync, int)(file); }
int fsync(int file) { return fails_on_file("fsync", file) ? -1 : REAL(int, fsync, int)(file); }
int ftruncate64(int file, off64_t size) {
    return fails_on_file("ftruncate", file) ? -1 : REAL(int, ftruncate64, int, off64_t)(file, size);
}
int ftruncate(int file, off_t size) {
    return fails_on_file("ftruncate", file) ? -1 : REAL(int, ftruncate, int, off_t)(file, size);
}
int rename(const char *from, const char *to) {
    return fails("rename", to) ? -1 : REAL(int, rename, const char *, const char *)(from, to);
}
int mkdir(const char *path, mode_t mode) {
    return fails("mkdir", path) ? -1 : REAL(int, mkdir, const char *, mode_t)(path, mode);
}
int unlink(const char *path) { return fails("unlink", path) ? -1 : REAL(int, unlink, const char *)(path); }
