/* A wall clock that is set by a file. Loaded into a program before the C library, it adds the seconds that the file named by
 * MOVED_CLOCK holds to what the system's wall clock shows, and has timers of that clock come when it shows their time. The
 * other clocks are let be, as when a clock is set. It does not wake who sleeps; a signal does.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>

static long moved_s(void) {
    const char *path = getenv("MOVED_CLOCK");
    FILE *file = path ? fopen(path, "re") : NULL;
    long seconds = 0;
    if (file) {
        if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
        fclose(file);
    }
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, now);
    if (answer == 0 && clock == CLOCK_REALTIME) now->tv_sec += moved_s();
    return answer;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old) {
    static int (*real)(int, int, const struct itimerspec *, struct itimerspec *);
    if (!real) real = (int (*)(int, int, const struct itimerspec *, struct itimerspec *))dlsym(RTLD_NEXT, "timerfd_settime");
    struct itimerspec moved = *new;
    if (flags & TFD_TIMER_ABSTIME) {
        moved.it_value.tv_sec -= moved_s();
        /* All zero would turn the timer off. */
        if (moved.it_value.tv_sec < 1) moved.it_value.tv_sec = 1;
    }
    return real(fd, flags, &moved, old);
}
