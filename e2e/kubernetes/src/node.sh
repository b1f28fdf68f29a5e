#!/bin/bash
# The first process of a node: sets up mounts and settings like those of a separate machine, and runs a node's programs.
#
# Runs in the node's network namespace and in new mount, pid, uts and ipc namespaces. When it is killed, the kernel kills
# all its processes, including containers, and removes all its mounts.
#
#   node.sh NODE_DIR     NODE_DIR has the files of the library: `environment`, `cgroups`, `etc/`
set -euo pipefail
here=$1
# NAME, NODE_IPS, LAB_DIR, BIN, LOGS, CGROUP_VERSION
. "$here/environment"

if [ "${2:-}" != inside ]; then
    # Each line: mount point, mount options, the node's folder.
    while read -r _ _ folder; do echo 0 >"$folder/cgroup.procs"; done <"$here/cgroups"
    exec unshare --cgroup "$BASH" "$0" "$here" inside
fi

hostname "$NAME"
mount --make-rprivate /

# --- /run is new after each start, as after a boot. Unmounts everything below it: namespaces of other labs, which this
# node would otherwise keep alive.
mount -t tmpfs -o mode=755 tmpfs "$here/run"
mkdir -p "$here"/run/{lock,netns,cluster/bin,cluster/state,cluster/logs}
mount --bind "$BIN" "$here/run/cluster/bin"
mount --bind "$LAB_DIR/cluster" "$here/run/cluster/state"
mount --bind "$LOGS" "$here/run/cluster/logs"
mount --rbind "$here/run" /mnt
# Another lab on this machine may remove its own mounts at the same time.
awk '$5 ~ "^/run(/|$)" {print $5}' /proc/self/mountinfo | tac | while read -r at; do
    umount -l "$at" || ! mountpoint -q "$at"
done
mount --rbind /mnt /run
umount -R -l /mnt
BIN=/run/cluster/bin here=/run/cluster/state/$NAME LOGS=/run/cluster/logs

# --- The rest of the file system. /var persists over restarts, like a disk.
mkdir -p "$here"/{var,opt/cni,etc.upper,etc.work}
mkdir -p "$here"/var/{lib/{kubelet,containerd,cni,kube-proxy},log/{pods,containers},tmp}
mkdir -p "$LOGS/$NAME-pods"
mount --bind "$LOGS/$NAME-pods" "$here/var/log/pods"
mount -t overlay -o "lowerdir=/etc,upperdir=$here/etc.upper,workdir=$here/etc.work" overlay /etc
mount --rbind "$here/var" /var
mount --bind "$here/opt" /opt
ln -sfn /run /var/run
cp -r "$here/etc/." /etc/
ln -sfn "$BIN/cni" /opt/cni/bin

# --- Kernel interfaces as seen from these namespaces.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null || true
if [ "$CGROUP_VERSION" = 1 ]; then
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    while read -r name options _; do
        mkdir "/sys/fs/cgroup/$name"
        type=cgroup
        [ "$options" != unified ] || type=cgroup2 options=rw
        mount -t $type -o "$options" cgroup "/sys/fs/cgroup/$name"
    done <"$here/cgroups"
else
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # Only cgroups without processes can enable controllers for their children.
    mkdir -p /sys/fs/cgroup/init
    echo 0 >/sys/fs/cgroup/init/cgroup.procs
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
    done
fi

# --- Removes network state of earlier pods, as after a boot.
ip link delete cni0 2>/dev/null || true
ip neigh flush all || true

# --- The kubelet changes these machine-wide settings unless they have these values. It reads these files instead.
while read -r key value; do
    mkdir -p "/run/cluster/sysctl/${key%/*}"
    echo "$value" >"/run/cluster/sysctl/$key"
    mount --bind "/run/cluster/sysctl/$key" "/proc/sys/$key"
done <<END
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
END

# Mounts propagate between pods and the node, and not to the machine.
mount --make-rshared /
ulimit -n "$(ulimit -H -n)"

run() {
    local name=$1
    shift
    "$BIN/kube" "$name" "$@" >>"$LOGS/$NAME-$name.log" 2>&1 </dev/null &
}
run containerd --config /etc/containerd/config.toml
until "$BIN/ctr" version >/dev/null 2>&1; do sleep 0.1; done
for image in "$BIN"/images/*.tar; do
    "$BIN/ctr" -n k8s.io images import "$image" >>"$LOGS/$NAME-images.log" 2>&1
done
run kubelet --config /etc/kubernetes/kubelet.json --kubeconfig "$here/../$NAME.conf" \
    --hostname-override "$NAME" --node-ip "$NODE_IPS" --root-dir /var/lib/kubelet
run kube-proxy --config /etc/kubernetes/proxy.json
# As the first process of its pid namespace, it also reaps orphans.
while [ -n "$(jobs -pr)" ]; do wait -n || echo "a process of $NAME exited with $?"; done
