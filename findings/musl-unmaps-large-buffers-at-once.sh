#!/bin/bash
# A server that allocates a buffer of 40 kB or more for each request and frees it behind the reply pays for it each
# time with musl: `free` gives the memory back to the kernel at once, so `malloc` maps it anew, and three pages are
# faulted in although the server writes one byte. A second buffer that stays does not help. glibc keeps what was freed,
# also above its threshold for mappings of their own: it raises that threshold at the first `free`.
#
# Seen: musl 1.2.3-1 and glibc 2.36 of Debian 12, 2026-11-27, page faults of 1,000 pairs of malloc and free:
# 4,000 bytes 236 and 1, 40,000 bytes 3,000 and 1, 100,000 bytes 3,000 and 1, 200,000 bytes 2,000 and 2.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
skip() { echo "not tried: $*"; exit 77; }
for program in cc apt-get dpkg; do command -v $program > /dev/null || skip "there is no $program"; done
[ "$(uname -m)" = x86_64 ] || skip 'the packages are for x86_64'

cd "$folder"
for package in musl=1.2.3-1 musl-dev=1.2.3-1; do
  apt-get download $package > /dev/null 2>&1 || skip "there is no $package"
done
for file in *.deb; do dpkg -x "$file" .; done

cat > faults.c << 'END'
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static long faults(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

int main(int count, char **sizes) {
  for (int each = 1; each < count; each++) {
    size_t size = strtoul(sizes[each], NULL, 10);
    volatile char *stays = malloc(size);
    *stays = 1;
    long before = faults();
    for (int round = 0; round < 1000; round++) {
      volatile char *buffer = malloc(size);
      *buffer = 1;
      free((void *)buffer);
    }
    printf("%ld ", faults() - before);
    free((void *)stays);
  }
  return 0;
}
END
sizes='4000 40000 100000 200000'
library=usr/lib/x86_64-linux-musl
cc -O1 -static -nostdinc -isystem usr/include/x86_64-linux-musl -nostdlib -o musl "$library/crt1.o" "$library/crti.o" \
  faults.c "$library/libc.a" "$library/crtn.o" 2> said || skip "$(head -n 1 said)"
cc -O1 -o glibc faults.c 2> said || skip "$(head -n 1 said)"
ldd glibc | grep -q 'libc.so.6' || skip 'the C library of this machine is not glibc'

echo "bytes: $sizes"
musl=$(./musl $sizes) glibc=$(./glibc $sizes)
echo "page faults of 1,000 pairs, musl: $musl"
echo "page faults of 1,000 pairs, glibc: $glibc"
set -- $musl
if [ "$1" -gt 600 ] || [ "$2" -lt 2000 ] || [ "$3" -lt 2000 ] || [ "$4" -lt 2000 ]; then echo CHANGED; exit 1; fi
for count in $glibc; do
  if [ "$count" -gt 50 ]; then echo CHANGED; exit 1; fi
done
