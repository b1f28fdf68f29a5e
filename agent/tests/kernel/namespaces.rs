//! Finding a namespace by its id, whatever holds it.

use std::path::Path;

use nix::net::if_::if_nametoindex;
use xdp_agent::node::netns::{Namespaces, Netns, NetnsError};

use crate::world::{Process, World, eventually};

/// Found from the host, is it the pod's?
fn leads_to_the_pod(world: &World) -> bool {
    let id = world.pair().netns_id;
    world.host.run(|| match Netns::find(id) {
        Ok(netns) => netns.run(|| if_nametoindex("eth0").is_ok()).unwrap(),
        Err(NetnsError::NotFound { .. }) => false,
        Err(error) => panic!("{error}"),
    })
}

#[test]
fn a_namespace_held_only_by_a_mount_is_found() {
    assert!(leads_to_the_pod(&World::new()));
}

#[test]
fn a_namespace_held_only_by_a_process_is_found() {
    let world = World::new();
    let _holder = hold_by_process(&world);
    world.pod.unname();
    assert!(leads_to_the_pod(&world));
}

#[test]
fn a_namespace_mounted_only_in_another_mount_namespace_is_found() {
    let world = World::new();
    let path = world.pod.path();
    // It keeps no other test's namespace alive: its copies of their mounts go at once.
    let script = format!(
        "mount -t tmpfs none /mnt && touch /mnt/pod && mount --bind {0} /mnt/pod && \
         for m in /run/netns/*; do umount -l $m; done; exec sleep 60",
        path.display()
    );
    let holder = Process::start(
        "unshare",
        &["--mount", "--propagation", "private", "sh", "-c", &script],
    );
    eventually("the other mount exists", || mounts_pod(&holder));
    world.pod.unname();
    assert!(leads_to_the_pod(&world));
}

fn mounts_pod(holder: &Process) -> bool {
    let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", holder.id())).unwrap();
    mounts.contains(" /mnt/pod ") && !mounts.contains("/run/netns/")
}

#[test]
fn an_id_without_a_namespace_is_an_error_that_says_what_to_check() {
    let world = World::new();
    let error = world.host.run(|| Netns::find(12345).unwrap_err());
    assert!(error.to_string().contains("12345"), "{error}");
}

#[test]
fn a_path_that_leads_elsewhere_by_now_is_not_believed() {
    let world = World::new();
    let mut namespaces = Namespaces::default();
    let id = world.pair().netns_id;
    world.host.run(|| namespaces.find(id).map(drop).unwrap());
    let _holder = hold_by_process(&world);
    world.pod.unname();
    world.pod.create_again();
    world.host.run(|| {
        let netns = namespaces.find(id).unwrap();
        assert!(
            netns.run(|| if_nametoindex("eth0").is_ok()).unwrap(),
            "the name leads to a new, empty namespace"
        );
    });
}

#[test]
fn looking_a_namespace_up_does_not_keep_it_alive() {
    let world = World::new();
    let mut namespaces = Namespaces::default();
    let id = world.pair().netns_id;
    world.host.run(|| namespaces.find(id).map(drop).unwrap());
    world.pod.unname();
    eventually("the pair dies with the namespace", || world.pairs().is_empty());
    let _ = namespaces;
}

/// A process in the pod's network namespace, and in nothing else of the pod's.
fn hold_by_process(world: &World) -> Process {
    let holder = Process::start(
        "nsenter",
        &[&format!("--net={}", world.pod.path().display()), "sleep", "60"],
    );
    let link = |path: &Path| {
        std::fs::metadata(path)
            .map(|meta| std::os::unix::fs::MetadataExt::ino(&meta))
            .ok()
    };
    let entered = Path::new("/proc").join(holder.id().to_string()).join("ns/net");
    let pod = link(&world.pod.path());
    eventually("the process is inside", || link(&entered) == pod);
    holder
}
