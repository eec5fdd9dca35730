#!/bin/bash
# A device file /dev/kvm that opens, and even creates machines, does not mean that a kernel boots in them. The module
# kvm-pvm offers it inside a virtual machine without nested virtualisation, and its guests need a kernel made for it.
# With QEMU's `-cpu max` QEMU fails at once ("failed to set MSR 0x10a"); with the bit off, the machine runs for ever and
# the kernel of Debian prints nothing. The processor's flags tell the two apart: with kvm-pvm there is neither vmx nor
# svm.
#
# Seen: host 6.18 with kvm-pvm, QEMU 7.2.22, guest kernel 6.1.192, 2026-11-27: not a byte on the console in 30 s; the
# same guest under emulation is up in 4 s.
. "$(dirname "$0")/lib/guest.sh"
need qemu-system-x86_64 apt-get dpkg
grep -q -w -E 'vmx|svm' /proc/cpuinfo && skip 'this processor has virtualisation of its own'
[ -r /dev/kvm ] && [ -w /dev/kvm ] || skip 'there is no /dev/kvm'
kernel=$(unpack "$KERNEL_6_1") || skip "there is no $KERNEL_6_1"

echo 'echo UP; poweroff -f' > "$folder/script"
initramfs "$kernel" "$folder/initramfs" "$folder/script"
for accel in kvm tcg; do
  cpu=max
  [ $accel = kvm ] && cpu=max,arch-capabilities=off
  (machine "$kernel" "$folder/initramfs" -accel $accel -cpu $cpu -serial stdio \
    < /dev/null > "$folder/$accel" 2> /dev/null) &
  for _ in $(seq 300); do kill -0 $! 2> /dev/null || break; sleep 0.1; done
  kill $! 2> /dev/null || true
  wait $! || true
  echo "$accel: $(wc -c < "$folder/$accel") bytes on the console"
done
grep -q UP "$folder/tcg" || skip 'the guest does not start under emulation either'
[ -s "$folder/kvm" ] && changed 'an ordinary kernel says something under kvm-pvm'
exit 0
