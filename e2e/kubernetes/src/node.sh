#!/bin/bash
# The first process of a node: makes what it sees look like a machine of its own, and runs what runs on a node.
#
# Started in the node's network namespace and in mount, pid, uts and ipc namespaces of its own. When it is killed, the
# kernel ends all its processes, containers too, and unmounts everything it has mounted.
#
#   node.sh NODE_DIR     NODE_DIR holds what the library wrote: `environment`, `cgroups`, `etc/`
set -euo pipefail
here=$1
# NAME, NODE_IPS, LAB_DIR, BIN, LOGS, CGROUP_VERSION
. "$here/environment"

if [ "${2:-}" != inside ]; then
    # A line: where it is mounted, with which options, the node's folder in it.
    while read -r _ _ folder; do echo 0 >"$folder/cgroup.procs"; done <"$here/cgroups"
    exec unshare --cgroup "$BASH" "$0" "$here" inside
fi

hostname "$NAME"
mount --make-rprivate /

# --- /run is new with each start, as after a boot. What was mounted below it goes: namespaces of other labs, which this
# node would otherwise keep alive.
mount -t tmpfs -o mode=755 tmpfs "$here/run"
mkdir -p "$here"/run/{lock,netns,cluster/bin,cluster/state,cluster/logs}
mount --bind "$BIN" "$here/run/cluster/bin"
mount --bind "$LAB_DIR/cluster" "$here/run/cluster/state"
mount --bind "$LOGS" "$here/run/cluster/logs"
mount --rbind "$here/run" /mnt
# Another run on this machine may take its own away meanwhile.
awk '$5 ~ "^/run(/|$)" {print $5}' /proc/self/mountinfo | tac | while read -r at; do
    umount -l "$at" || ! mountpoint -q "$at"
done
mount --rbind /mnt /run
umount -R -l /mnt
BIN=/run/cluster/bin here=/run/cluster/state/$NAME LOGS=/run/cluster/logs

# --- the rest of the file system. /var stays over restarts, as a disk does.
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

# --- kernel interfaces, as seen from these namespaces
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t bpf bpf /sys/fs/bpf
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
    # Only groups without processes of their own hand out controllers.
    mkdir -p /sys/fs/cgroup/init
    echo 0 >/sys/fs/cgroup/init/cgroup.procs
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
    done
fi

# --- The network knows no pods from before, as after a boot.
ip link delete cni0 2>/dev/null || true
ip neigh flush all || true

# --- The kubelet sets these for the whole machine unless they are set. It reads them here, and leaves them alone.
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

# Mounts made by pods show on the node and the other way round, and nothing gets out.
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
# Also takes in the orphans, as the first process of its pid namespace.
while [ -n "$(jobs -pr)" ]; do wait -n || echo "a process of $NAME ended with $?"; done
