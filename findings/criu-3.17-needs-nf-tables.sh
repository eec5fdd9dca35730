#!/bin/bash
# CRIU 3.17.1 refuses every command on a kernel without nf_tables, even for a process that has no connection: "Could not
# initialize kernel features detection". With the module, it saves and restores on Debian's kernels 6.1 and 6.12. It
# also needs a writable /tmp and the loopback network for that detection.
#
# Seen: CRIU 3.17.1-2+deb12u2, kernels 6.1.192 and 6.12.117 as guests of QEMU 7.2.22, 2026-11-27: without nf_tables
# "failed", with it "saved" and "restored".
. "$(dirname "$0")/lib/guest.sh"
need qemu-system-x86_64 apt-get dpkg ldd

libraries=
for package in criu=3.17.1-2+deb12u2 libprotobuf-c1 libnet1 libnl-3-200 libbsd0 libmd0 libnftables1 libnftnl11 libmnl0 \
  libxtables12 libjansson4 libgnutls30; do
  at=$(unpack "$package") || skip "there is no $package"
  libraries=$libraries:$at/usr/lib/x86_64-linux-gnu:$at/lib/x86_64-linux-gnu
done
criu=$folder/criu/usr/sbin/criu
printed=$(LD_LIBRARY_PATH=${libraries#:} ldd "$criu")
grep -q 'not found' <<< "$printed" && skip "a library is missing: $printed"

cat > "$folder/script" << 'END'
export LD_LIBRARY_PATH=/criu
setsid sleep 1000 < /dev/null > /tmp/out 2>&1 &
mkdir /tmp/images
if /criu/criu dump -t $! -D /tmp/images -o log > /tmp/said 2>&1; then
  echo saved
  /criu/criu restore -d -D /tmp/images -o log > /tmp/said 2>&1 && echo restored
else
  echo failed
  grep -h Error /tmp/images/log /tmp/said | tail -n 2
fi
poweroff -f
END

# $1: package of a kernel, $2: the word that is wanted; then the modules.
try() {
  package=$1 wanted=$2
  shift 2
  kernel=$(unpack "$package") || skip "there is no $package"
  rm -rf "$folder/rootfs"
  mkdir -p "$folder/rootfs/criu" "$folder/rootfs/lib64"
  cp "$criu" "$folder/rootfs/criu"
  grep -o '/[^ ]*' <<< "$printed" | grep -v ld-linux | while read -r file; do cp -L "$file" "$folder/rootfs/criu"; done
  cp -L /lib64/ld-linux-x86-64.so.2 "$folder/rootfs/lib64"
  initramfs "$kernel" "$folder/initramfs" "$folder/script" "$@"
  (machine "$kernel" "$folder/initramfs" -serial stdio < /dev/null > "$folder/said" 2>&1) &
  for _ in $(seq 900); do kill -0 $! 2> /dev/null || break; sleep 0.1; done
  echo "$package, last module ${*: -1}: $(tr -d '\r' < "$folder/said" | tr '\n' ' ')"
  grep -q "$wanted" "$folder/said" || changed "it should say $wanted"
}

diag='unix_diag inet_diag tcp_diag udp_diag raw_diag netlink_diag af_packet_diag'
for package in "$KERNEL_6_1" "$KERNEL_6_12"; do
  try "$package" failed $diag
  try "$package" restored $diag nfnetlink libcrc32c nf_tables
done
