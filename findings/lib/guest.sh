# Sourced by the findings that need a virtual machine. It uses QEMU from PATH, and Debian packages in a temporary
# folder.

set -eu
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; wait; rm -rf "$folder"' EXIT

KERNEL_6_1=linux-image-6.1.0-56-cloud-amd64=6.1.192-2
KERNEL_6_12=linux-image-6.12.117+deb12-cloud-amd64=6.12.117-1~deb12u1
BUSYBOX=busybox-static=1:1.35.0-4+deb12u1+b1

# Exits with 77: the finding cannot be tried here.
skip() {
  echo "not tried: $*"
  exit 77
}

# Exits with 1: the behaviour is not what is written at the top of the finding any more.
changed() {
  echo "CHANGED: $*"
  exit 1
}

need() {
  for program; do
    command -v "$program" > /dev/null || skip "there is no $program"
  done
}

# Unpacks a package, NAME=VERSION, into a folder of its own and prints the folder.
unpack() {
  to=$folder/${1%%=*}
  if [ ! -d "$to" ]; then
    mkdir "$to"
    (cd "$folder" && apt-get download "$1" > /dev/null 2>&1) || return 1
    dpkg -x "$folder/${1%%=*}"_*.deb "$to"
  fi
  echo "$to"
}

# $1: folder of a kernel, $2: file of the initramfs, $3: the script that is process 1; then names of modules, in order.
# What is in $folder/rootfs already goes into the initramfs, too.
initramfs() {
  kernel=$1 file=$2 script=$3
  shift 3
  root=$folder/rootfs
  busybox=$(unpack "$BUSYBOX")/bin/busybox
  mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/modules"
  cp "$busybox" "$root/bin"
  for module; do
    found=$(find "$kernel/lib/modules" -name "$module.ko*" | head -n 1)
    case $found in
      '') ;;
      *.xz) "$busybox" xzcat "$found" > "$root/modules/$module.ko" ;;
      *) cp "$found" "$root/modules/$module.ko" ;;
    esac
  done
  {
    cat << END
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ifconfig lo up
for module in $*; do [ -e /modules/\$module.ko ] && insmod /modules/\$module.ko; done
END
    cat "$script"
  } > "$root/init"
  chmod 755 "$root/init"
  (cd "$root" && find . | "$busybox" cpio -o -H newc 2> /dev/null) > "$file"
}

# $1: folder of a kernel, $2: file of the initramfs; then further arguments of QEMU.
machine() {
  kernel=$1 file=$2
  shift 2
  exec qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -machine pc -cpu max -m 256 \
    -kernel "$kernel"/boot/vmlinuz-* -initrd "$file" -append 'console=ttyS0 quiet panic=-1' "$@"
}
