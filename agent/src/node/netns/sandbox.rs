//! Finds the network namespaces of pods by the control groups of their processes.
//!
//! A pod cannot put a process into another pod's control group. So a namespace in which processes of a pod
//! run is the pod's, whatever addresses it carries.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::node::{
    netlink::client::Client,
    netns::{Netns, scan},
};

/// Returns the ids of the network namespaces in which processes of these pods run, by the pod's uid. Empty
/// outside of the host's pid namespace.
pub(crate) fn sandboxes(client: &mut Client, uids: &BTreeSet<&str>) -> BTreeMap<String, BTreeSet<i32>> {
    let mut found = BTreeMap::<String, BTreeSet<i32>>::new();
    for process in scan::processes() {
        let Ok(groups) = fs::read_to_string(process.join("cgroup")) else {
            continue;
        };
        let Some(uid) = uids.iter().find(|uid| is_of_pod(&groups, uid)) else {
            continue;
        };
        let netns = Netns::open(&process.join("ns/net"));
        if let Some(id) = netns.ok().and_then(|netns| netns.id(client).ok()?) {
            found.entry((*uid).to_owned()).or_default().insert(id);
        }
    }
    found
}

/// Returns whether control groups (`/proc/PID/cgroup`) are those of a pod. Of each path, the name closest to
/// the root counts: a container may name what is below its own group.
fn is_of_pod(groups: &str, uid: &str) -> bool {
    let uid = uid.replace('-', "_");
    let pods = groups.lines().filter_map(|line| line.split('/').find_map(pod_of));
    pods.map(|pod| pod.replace('-', "_")).any(|pod| pod == uid)
}

/// Returns the uid in the name of a pod's control group, as the kubelet names it:
/// `kubepods-burstable-podUID.slice`, with underscores, or `podUID`.
fn pod_of(name: &str) -> Option<&str> {
    match name.strip_suffix(".slice") {
        Some(slice) if slice.contains("kubepods") => Some(slice.rsplit_once("-pod")?.1),
        Some(_) => None,
        None => name.strip_prefix("pod"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "5f1c7d5e-8d3b-4f0a-9a55-0d6a3b1f2c11";

    #[test]
    fn control_groups_of_both_drivers_name_the_pod() {
        let systemd = "0::/../../kubepods-burstable.slice/kubepods-burstable-\
                       pod5f1c7d5e_8d3b_4f0a_9a55_0d6a3b1f2c11.slice/cri-containerd-0a.scope\n";
        let guaranteed =
            "0::/kubepods.slice/kubepods-pod5f1c7d5e_8d3b_4f0a_9a55_0d6a3b1f2c11.slice/x.scope\n";
        let cgroupfs = "12:memory:/kubepods/burstable/pod5f1c7d5e-8d3b-4f0a-9a55-0d6a3b1f2c11/0a\n";
        for groups in [systemd, guaranteed, cgroupfs] {
            assert!(is_of_pod(groups, UID), "{groups}");
        }
    }

    #[test]
    fn other_control_groups_do_not() {
        for groups in [
            "",
            "0::/\n",
            "0::/kubepods/burstable/pod5f1c7d5e-8d3b-4f0a-9a55-0d6a3b1f2c12/0a\n",
            "0::/kubepods/burstable/xpod5f1c7d5e-8d3b-4f0a-9a55-0d6a3b1f2c11\n",
            "0::/kubepods/burstable/podother/0a/pod5f1c7d5e-8d3b-4f0a-9a55-0d6a3b1f2c11\n",
            "0::/system.slice/pod5f1c7d5e_8d3b_4f0a_9a55_0d6a3b1f2c11.scope\n",
        ] {
            assert!(!is_of_pod(groups, UID), "{groups}");
        }
    }
}
