#!/bin/bash
# QEMU accepts a connection to a forwarded port (user network, hostfwd) although nobody listens in the guest, and even
# although the guest has never run. So "the port is open" says nothing about a server in a guest.
#
# Seen: QEMU 7.2.22 (Debian 12), 2026-11-27: "accepted" from a guest whose processors never started.
. "$(dirname "$0")/lib/guest.sh"
need qemu-system-x86_64

port=$(( 20000 + $$ % 10000 ))
qemu-system-x86_64 -nodefaults -display none -S -m 64 -device virtio-net-pci,netdev=net,romfile= \
  -netdev "user,id=net,hostfwd=tcp:127.0.0.1:$port-:9000" &
qemu-system-x86_64 --version | head -n 1
for _ in $(seq 100); do
  if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then
    echo accepted
    exit 0
  fi
  sleep 0.1
done
changed 'QEMU did not accept the connection'
