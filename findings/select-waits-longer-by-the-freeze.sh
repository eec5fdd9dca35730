#!/bin/bash
# A time limit of `select` or `ppoll` does not run while the process is stopped, and one of `poll`, `epoll_wait` or
# `nanosleep` does. All six get a number of seconds from their caller, and the kernel starts each again after the stop:
# the first two with the time that was left before the stop, the others with the moment at which they end. So
# after a freeze one event loop finds all its timers due, and another finds none.
#
# Seen: Linux 6.18.44, 2026-11-27, waits of 2 s, stopped (SIGSTOP) from 0.3 s to 3.3 s: select, pselect and ppoll end at
# 5.0 s; poll, epoll_wait and nanosleep at 3.3 s (epoll_wait with EINTR).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
skip() { echo "not tried: $*"; exit 77; }
command -v cc > /dev/null || skip 'there is no C compiler'

cat > "$folder/wait.c" << 'END_OF_C'
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static void sleep_for(double seconds) {
  struct timespec time = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
  nanosleep(&time, NULL);
}

/* Waits for 2 s in this way. */
static void wait_by(const char *way) {
  struct timespec time = {2, 0};
  struct timeval interval = {2, 0};
  struct epoll_event event;
  if (!strcmp(way, "select")) select(0, NULL, NULL, NULL, &interval);
  if (!strcmp(way, "pselect")) pselect(0, NULL, NULL, NULL, &time, NULL);
  if (!strcmp(way, "ppoll")) ppoll(NULL, 0, &time, NULL);
  if (!strcmp(way, "poll")) poll(NULL, 0, 2000);
  if (!strcmp(way, "epoll_wait")) epoll_wait(epoll_create1(0), &event, 1, 2000);
  if (!strcmp(way, "nanosleep")) nanosleep(&time, NULL);
}

int main(int count, char **arguments) {
  pid_t children[16];
  double start = now();
  for (int i = 1; i < count; i++) {
    children[i] = fork();
    if (!children[i]) {
      wait_by(arguments[i]);
      double seconds = now() - start;
      printf("%s: %.1f s, %s\n", arguments[i], seconds, seconds > 4.2 ? "stood still" : "ran on");
      return 0;
    }
  }
  sleep_for(0.3);
  for (int i = 1; i < count; i++) kill(children[i], SIGSTOP);
  sleep_for(3);
  for (int i = 1; i < count; i++) kill(children[i], SIGCONT);
  while (wait(NULL) > 0) {}
  return 0;
}
END_OF_C
cc -O2 -o "$folder/wait" "$folder/wait.c" 2> "$folder/said" || skip "$(head -n 1 "$folder/said")"

uname -sr
"$folder/wait" select pselect ppoll poll epoll_wait nanosleep | sort | tee "$folder/seen"
for way in select pselect ppoll; do
  grep -q "^$way: .* stood still" "$folder/seen" || { echo "CHANGED: $way"; exit 1; }
done
for way in poll epoll_wait nanosleep; do
  grep -q "^$way: .* ran on" "$folder/seen" || { echo "CHANGED: $way"; exit 1; }
done
