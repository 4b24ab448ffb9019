/* A disk that misbehaves. Loaded into a program before the C library, it counts the calls by which that changes files whose
 * path fits a pattern, and from a given one on refuses them, or kills the program there. It knows nothing of what is written.
 *
 *   FAULTY_PATHS  an extended regular expression
 *   FAULTY_CALLS  which calls count, each within commas: ",pwrite,fdatasync,"; without it, all
 *   FAULTY_FIRST  the first call that is not carried out, counted from 1; 0 for none
 *   FAULTY_LAST   the last one; 0 for no end
 *   FAULTY_ERROR  the error number of what is refused; 0 to kill the program in its place
 *   FAULTY_LOG    a file that gets a line for each call that counts
 *   FAULTY_TRACE  a file that gets each change that was carried out, with its bytes: power.py reads it. A sync is there twice,
 *                 when it begins and when it is done.
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
static int log_file = -1, trace_file = -1, is_on;
static const char *calls;
static regex_t paths;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static int opened(const char *name) {
    const char *path = getenv(name);
    return path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
}

__attribute__((constructor)) static void begin(void) {
    const char *pattern = getenv("FAULTY_PATHS");
    is_on = pattern && regcomp(&paths, pattern, REG_EXTENDED | REG_NOSUB) == 0;
    calls = getenv("FAULTY_CALLS");
    first = number("FAULTY_FIRST");
    last = number("FAULTY_LAST");
    error = number("FAULTY_ERROR");
    if (is_on) log_file = opened("FAULTY_LOG");
    if (is_on) trace_file = opened("FAULTY_TRACE");
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

/* The path of an open file; nothing where that is of no interest. */
static const char *path_of(int file, char *path, size_t size) {
    char link[64];
    if (!is_on || file == log_file || file == trace_file) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, size - 1);
    if (length <= 0) return NULL;
    path[length] = 0;
    return path;
}

static int fails_on_file(const char *call, int file) {
    char path[4096];
    return fails(call, path_of(file, path, sizeof path));
}

/* Writes down what was done: in one piece, since others write there too. */
static void trace(const char *call, const char *path, long long at, const void *bytes, size_t count) {
    if (trace_file < 0 || !path || regexec(&paths, path, 0, NULL, 0) != 0) return;
    int before = errno;
    char *line = malloc(4300 + count);
    if (!line) abort();
    int length = snprintf(line, 4300, "%s %ld %lld %zu %s\n", call, syscall(SYS_gettid), at, count, path);
    if (count) memcpy(line + length, bytes, count);
    if (syscall(SYS_write, trace_file, line, (size_t)length + count) != (long)((size_t)length + count)) abort();
    free(line);
    errno = before;
}

static void trace_on_file(const char *call, int file, long long at, const void *bytes, size_t count) {
    char path[4096];
    if (trace_file >= 0) trace(call, path_of(file, path, sizeof path), at, bytes, count);
}

#define REAL(result, name, ...) ((result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    if (fails_on_file("pwrite", file)) return -1;
    ssize_t written = REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t)(file, bytes, count, at);
    if (written > 0) trace_on_file("write", file, at, bytes, (size_t)written);
    return written;
}
ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) { return pwrite64(file, bytes, count, at); }
ssize_t write(int file, const void *bytes, size_t count) {
    if (fails_on_file("write", file)) return -1;
    ssize_t written = REAL(ssize_t, write, int, const void *, size_t)(file, bytes, count);
    if (written > 0) trace_on_file("write", file, lseek64(file, 0, SEEK_CUR) - written, bytes, (size_t)written);
    return written;
}
static int synced(const char *call, int (*sync)(int), int file) {
    if (fails_on_file(call, file)) return -1;
    trace_on_file("syncing", file, 0, NULL, 0);
    int failed = sync(file);
    if (!failed) trace_on_file("synced", file, 0, NULL, 0);
    return failed;
}
int fdatasync(int file) { return synced("fdatasync", REAL(int, fdatasync, int), file); }
int fsync(int file) { return synced("fsync", REAL(int, fsync, int), file); }
int ftruncate64(int file, off64_t size) {
    if (fails_on_file("ftruncate", file)) return -1;
    int failed = REAL(int, ftruncate64, int, off64_t)(file, size);
    if (!failed) trace_on_file("truncate", file, size, NULL, 0);
    return failed;
}
int ftruncate(int file, off_t size) { return ftruncate64(file, size); }
int rename(const char *from, const char *to) {
    if (fails("rename", to)) return -1;
    int failed = REAL(int, rename, const char *, const char *)(from, to);
    if (!failed) trace("rename", from, 0, to, strlen(to));
    return failed;
}
int mkdir(const char *path, mode_t mode) {
    return fails("mkdir", path) ? -1 : REAL(int, mkdir, const char *, mode_t)(path, mode);
}
int unlink(const char *path) {
    if (fails("unlink", path)) return -1;
    int failed = REAL(int, unlink, const char *)(path);
    if (!failed) trace("unlink", path, 0, NULL, 0);
    return failed;
}
