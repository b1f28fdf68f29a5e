#!/bin/sh
# PID 1 of a machine: loads the modules, mounts the guest's root, and runs one command in it.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

failed=
while read -r module parameters; do
    # shellcheck disable=SC2086 # parameters are words
    insmod "/modules/$module" $parameters || failed="$failed $module"
done </modules/list

# No udev names the ports here.
mkdir -p /dev/virtio-ports
for name in result output peer; do
    until port=$(grep -lsx "$name" /sys/class/virtio-ports/*/name); do sleep 0.02; done
    port=${port%/name}
    ln -s "../${port##*/}" "/dev/virtio-ports/$name"
done

finish() {
    echo "$1" >/dev/virtio-ports/result
    poweroff -f
}
[ -z "$failed" ] || finish "failed: cannot load$failed"
share() { # TAG FOLDER
    mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose "$1" "$2" ||
        finish "failed: cannot mount $1"
}
share machine /machine
share host /original
# A guest of the host's architecture has the host's root.
if grep -qs '^root' /sys/bus/virtio/drivers/9pnet_virtio/*/mount_tag; then
    share root /guest
else
    mount --bind /original /guest
fi

mount -t proc proc /guest/proc
mount -t sysfs sysfs /guest/sys
mount --bind /dev /guest/dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /guest/dev/pts
for folder in dev/shm tmp mnt; do mount -t tmpfs tmpfs "/guest/$folder"; done
mount -t tmpfs -o mode=0755 tmpfs /guest/run
mount -t bpf -o mode=0700 bpf /guest/sys/fs/bpf
mount -t cgroup2 cgroup2 /guest/sys/fs/cgroup
mount -t tracefs tracefs /guest/sys/kernel/tracing
mount -t debugfs debugfs /guest/sys/kernel/debug
# Folders of the host that the guest does not have otherwise.
while read -r folder; do
    mkdir -p "/guest/$folder"
    mount --bind "/original/$folder" "/guest/$folder"
done </machine/folders

hostname machine
ip link set lo up
mkdir -p /guest/run/machine
cp /machine/command /guest/run/machine/command
chroot /guest /bin/sh /run/machine/command </dev/null >/dev/virtio-ports/output 2>&1
finish "exit $?"
