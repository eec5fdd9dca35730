#!/bin/bash
# Linux ends `epoll_wait` with EINTR when it thaws a control group, so a server could count its freezes by that. It
# cannot: a freeze that begins before the server waits again interrupts nothing. That is so whenever the one that
# freezes runs as soon as the reply is there: here on the processor of the server, with real-time priority. Two
# milliseconds later each freeze leaves its EINTR.
#
# Seen: Linux 6.18.44, 2026-11-27, freezes of 20 ms without an EINTR, of 200 each: cgroup v1 200, v2 200; 2 ms later
# 3 and 1.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
skip() { echo "not tried: $*"; exit 77; }
command -v cc > /dev/null || skip 'there is no C compiler'
[ "$(id -u)" = 0 ] || skip 'only root can freeze a control group'

cat > "$folder/freeze.c" << 'END'
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Answers each byte with the number of waits that were interrupted. */
static int serve(int socket) {
  int poller = epoll_create1(0), interrupted = 0;
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(poller, EPOLL_CTL_ADD, socket, &event);
  for (;;) {
    char byte;
    if (epoll_wait(poller, &event, 1, -1) < 0) { interrupted++; continue; }
    if (read(socket, &byte, 1) <= 0) return 0;
    if (write(socket, &interrupted, sizeof interrupted) < 0) return 1;
  }
}

static int ask(int socket) {
  int interrupted;
  if (write(socket, "x", 1) != 1 || read(socket, &interrupted, sizeof interrupted) != sizeof interrupted) exit(2);
  return interrupted;
}

static int open_in(const char *group, const char *name) {
  char path[300];
  snprintf(path, sizeof path, "%s/%s", group, name);
  int file = open(path, O_WRONLY);
  if (file < 0) exit(77);
  return file;
}

static void order(int file, const char *word) { if (write(file, word, strlen(word)) < 0) exit(77); }

/* GROUP FILE FREEZE THAW DELAY_US */
int main(int count, char **arguments) {
  const char *group = arguments[1];
  int pair[2], listener = socket(AF_INET, SOCK_STREAM, 0), missed = 0, rounds = 200;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  bind(listener, (void *)&address, size), listen(listener, 1);
  getsockname(listener, (void *)&address, &size);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  sched_setaffinity(0, sizeof one, &one);
  if (mkdir(group, 0755)) return 77;
  pid_t server = fork();
  if (!server) {
    order(open_in(group, "cgroup.procs"), "0");
    _exit(serve(accept(listener, NULL, NULL)));
  }
  /* Runs as soon as it can, and so before the server that has just woken it. */
  struct sched_param priority = {.sched_priority = 50};
  if (sched_setscheduler(0, SCHED_FIFO, &priority)) exit(77);
  pair[0] = socket(AF_INET, SOCK_STREAM, 0);
  connect(pair[0], (void *)&address, size);
  int known = ask(pair[0]), file = open_in(group, arguments[2]), delay = atoi(arguments[5]);
  for (int round = 0; round < rounds; round++) {
    usleep(5000);
    known = ask(pair[0]);
    if (delay) usleep(delay);
    order(file, arguments[3]);
    usleep(20000);
    order(file, arguments[4]);
    usleep(1000);
    int now = ask(pair[0]);
    missed += now == known;
  }
  printf("%d\n", missed);
  kill(server, SIGKILL), waitpid(server, NULL, 0), close(file), usleep(20000), rmdir(group);
  return count != 6;
}
END
cc -O2 -o "$folder/freeze" "$folder/freeze.c" 2> "$folder/said" || skip "$(head -n 1 "$folder/said")"

uname -sr
tried=
for way in 'cgroup freezer.state FROZEN THAWED' 'cgroup2 cgroup.freeze 1 0'; do
  set -- $way
  if [ "$1" = cgroup2 ]; then options=.; else options=freezer; fi
  mount=$(awk -v type="$1" -v options="$options" '$3 == type && $4 ~ options {print $2; exit}' /proc/mounts)
  [ -n "$mount" ] || continue
  at_once=$("$folder/freeze" "$mount/finding-$$" "$2" "$3" "$4" 0) || continue
  later=$("$folder/freeze" "$mount/finding-$$" "$2" "$3" "$4" 2000) || continue
  echo "$1: without EINTR, of 200: ordered with the reply $at_once, 2 ms later $later"
  tried=yes
  if [ "$at_once" -lt 20 ] || [ "$later" -gt 20 ]; then echo 'CHANGED'; exit 1; fi
done
[ -n "$tried" ] || skip 'no freezer of control groups can be used'
