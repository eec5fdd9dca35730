#!/bin/bash
# Two restores of one snapshot draw the same "random" numbers from the kernel, unless the kernel is told that it is a
# copy: by the device vmgenid of QEMU and a driver, which Debian's kernel 6.12 has and its 6.1 has not (CONFIG_VMGENID).
#
# Seen: QEMU 7.2.22, 2026-11-27, /proc/sys/kernel/random/uuid read in both restores:
#   6.1.192 with vmgenid: coincide;  6.12.117 without: coincide;  6.12.117 with: differ
. "$(dirname "$0")/lib/guest.sh"
need qemu-system-x86_64 apt-get dpkg

# The guest draws ten numbers a second, so each restore draws its next ones at once.
cat > "$folder/script" << 'END'
n=0
while :; do
  n=$((n + 1))
  echo "$n $(cat /proc/sys/kernel/random/uuid)"
  usleep 100000
done
END

# The kernel reseeds now and then, of itself, and mixes in when interrupts came. That is seldom, so a difference counts
# only if it shows three times.
try() {
  for _ in 1 2 3; do
    draw "$@"
    [ $got = "$wanted" ] && return
  done
  changed "they should $wanted"
}

# $1: package of a kernel, $2: coincide or differ; then further arguments of QEMU.
draw() {
  package=$1 wanted=$2
  shift 2
  kernel=$(unpack "$package") || skip "there is no $package"
  rm -rf "$folder/root"
  initramfs "$kernel" "$folder/initramfs" "$folder/script"
  : > "$folder/first"
  mkfifo "$folder/monitor"
  machine "$kernel" "$folder/initramfs" "$@" -serial "file:$folder/first" -monitor stdio \
    < "$folder/monitor" > /dev/null 2>&1 &
  exec 4> "$folder/monitor"
  for _ in $(seq 600); do grep -q '^100 ' "$folder/first" 2> /dev/null && break; sleep 0.1; done
  printf 'migrate "exec:cat > %s"\nquit\n' "$folder/state" >&4
  wait $!
  exec 4>&-
  rm "$folder/monitor"
  for copy in one two; do
    : > "$folder/$copy"
    (machine "$kernel" "$folder/initramfs" "$@" -serial "file:$folder/$copy" -incoming "exec:cat $folder/state" \
      > "$folder/qemu" 2>&1) &
    for _ in $(seq 300); do [ "$(wc -l < "$folder/$copy")" -ge 6 ] && break; sleep 0.1; done
    kill $!
    wait $! || true
  done
  # The first lines may have begun before the snapshot, or before the driver has been told.
  first=$(sed -n 5p "$folder/one") second=$(sed -n 5p "$folder/two")
  [ -n "$first" ] && [ -n "$second" ] || skip "a restored guest said nothing: $(cat "$folder/qemu")"
  if [ "$first" = "$second" ]; then got=coincide; else got=differ; fi
  echo "$package $*: $got (${first:0:16}… ${second:0:16}…)"
}

try "$KERNEL_6_1" coincide -device vmgenid,guid=auto
try "$KERNEL_6_12" coincide
try "$KERNEL_6_12" differ -device vmgenid,guid=auto
