#!/bin/busybox sh
# Process 1 of the guest. It loads the drivers, starts the target in a process namespace of its own, as a container
# engine does, and then answers the emulator's questions, one line each, on the port `agent`:
#   request   NUMBER VERB [ARGUMENT]
#   answer    NUMBER TEXT
#   event     - up | - exit CODE | - failed TEXT
# While the emulator asks nothing, this script sleeps in a read: the target is alone in the machine.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp

while read -r module; do
  insmod "/modules/$module"
done < /modules/order

# The driver creates the ports some time after it was loaded.
port() {
  while :; do
    for entry in /sys/class/virtio-ports/*; do
      [ "$(cat "$entry/name" 2>/dev/null)" = "$1" ] && { echo "/dev/${entry##*/}"; return; }
    done
    usleep 10000
  done
}
exec 3<>"$(port agent)"

fail() {
  echo "- failed $*" >&3
  poweroff -f
}

ifconfig lo 127.0.0.1 up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up || fail 'the guest has no network card'
route add default gw 10.0.2.2
hostname fc-vm

# An image comes as a tar archive on a disk.
if [ -e /image ]; then
  mount -t tmpfs -o size=95% image /target
  tar -xf /dev/vda -C /target || fail 'the file system of the image does not fit into the memory of the guest'
fi
cd /target && mkdir -p proc sys dev tmp etc && chmod 1777 tmp && cd / || fail 'the target has no room'
[ -s /target/etc/resolv.conf ] || echo 'nameserver 10.0.2.3' > /target/etc/resolv.conf
[ -s /target/etc/hosts ] || echo '127.0.0.1 localhost' > /target/etc/hosts
mount -t sysfs -o ro sys /target/sys
mount -t tmpfs -o mode=755 dev /target/dev
mknod -m 666 /target/dev/null c 1 3
mknod -m 666 /target/dev/zero c 1 5
mknod -m 666 /target/dev/full c 1 7
mknod -m 666 /target/dev/random c 1 8
mknod -m 666 /target/dev/urandom c 1 9
mkdir -m 1777 /target/dev/shm
ln -s /proc/self/fd /target/dev/fd
cp /bin/busybox /start /target/dev

echo '- up' >&3
out=$(port out)
err=$(port err)

# The file `enter` has the environment, and ends in `exec`.
contained() {
  (exec unshare -p -m -f /bin/sh /enter < /dev/null > "$out" 2> "$err" 3>&-) &
  launcher=$!
  # The first process of the namespace is the only child of `unshare`.
  while read -r child < "/proc/$launcher/task/$launcher/children" || [ -d "/proc/$launcher" ]; do
    [ -n "$child" ] && { echo "$child" > /target.pid; break; }
    usleep 10000
  done
  wait $launcher
}

# CRIU saves a session that has no namespaces, and files but no ports of a virtual machine.
saved_by_criu() {
  : > /out
  : > /err
  tail -f /out > "$out" &
  tail -f /err > "$err" &
  (exec setsid /bin/sh /enter < /dev/null > /out 2> /err 3>&-) &
  echo $! > /target.pid
  wait $!
  code=$?
  # If it was saved, it is no child of ours any more when it comes back, so its end must be looked for.
  while [ -e /saved ]; do
    if [ -e /restored ]; then
      # A restored process that has ended stays until process 1 waits. Its exit status is the last field but none.
      stat=$(cat "/proc/$(cat /target.pid)/stat" 2> /dev/null) || { code=0; break; }
      set -- ${stat##*) }
      [ "$1" = Z ] && { code=$(( ${50} & 127 ? 128 + (${50} & 127) : ${50} >> 8 )); break; }
    fi
    usleep 100000
  done
  # What it said last has to get through.
  sleep 2
  return $code
}

if [ -e /criu ]; then start=saved_by_criu; else start=contained; fi
(
  $start
  echo "- exit $?" >&3
  poweroff -f
) &

# MONOTONIC, the offsets of REALTIME and BOOTTIME from it, all in nanoseconds, and the hardware clock in seconds.
clocks() {
  awk '/^now at/ { now = $3 } /\.offset:/ { offset[n++] = $2 } n == 3 { exit }
       END { printf "%s %s %s ", now, offset[1], offset[2] }' /proc/timer_list
  cat /sys/class/rtc/rtc0/since_epoch 2>/dev/null || echo 0
}

# $1: dump or restore, with its arguments. The answer is `done`, or CRIU's own complaint.
criu() {
  LD_LIBRARY_PATH=/criu /criu/criu "$@" -D /images -o log -v2 > /images/said 2>&1 && { echo done; return; }
  grep -h Error /images/log /images/said | tail -n 3 | tr '\n' ' '
  return 1
}

save() {
  rm -rf /images /restored
  mkdir /images
  : > /saved
  criu dump -t "$(cat /target.pid)" || rm /saved
}

restore() {
  criu restore -d && : > /restored
}

# Minor and major page faults of the target, which stand behind its name in brackets.
faults() {
  sed 's/.*) //' "/proc/$(cat /target.pid)/stat" | cut -d ' ' -f 8,10
}

# Whole bytes of the files that CRIU wrote.
saved() {
  find /images -type f -exec stat -c %s {} + | awk '{ sum += $1 } END { print sum + 0 }'
}

# $1: a port as four hexadecimal digits. Sockets in state 0A listen; 7F (127) is the last byte of a loopback address.
listens() {
  awk -v port=":$1" '$4 == "0A" && substr($2, length($2) - 4) == port {
                       if ($2 ~ /^.{6}7F:/ || $2 ~ /^0{24}01000000:/) loopback = 1; else found = 1
                     }
                     END { print found ? "yes" : loopback ? "loopback" : "no" }' /proc/net/tcp /proc/net/tcp6
}

while :; do
  # Without the emulator at the other end the port says "end of file".
  read -r number verb argument <&3 || { usleep 100000; continue; }
  case $verb in
    clocks) answer=$(clocks) ;;
    source) answer=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource) ;;
    listens) answer=$(listens "$argument") ;;
    random) answer=$(cat /proc/sys/kernel/random/uuid) ;;
    set) answer=$(date -u -s "@$argument" > /dev/null 2>&1 && echo done || echo failed) ;;
    signal) answer=$(kill "-$argument" "$(cat /target.pid)" 2>&1 && echo done || echo failed) ;;
    faults) answer=$(faults) ;;
    saved) answer=$(saved) ;;
    save) answer=$(save) ;;
    restore) answer=$(restore) ;;
    *) answer='unknown' ;;
  esac
  echo "$number $answer" >&3
done
