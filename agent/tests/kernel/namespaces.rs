//! Finds a namespace by its id, independent of what holds it.

use std::path::Path;

use nix::net::if_::if_nametoindex;
use xdp_agent::{
    node::netns::{Namespaces, Netns, NetnsError},
    testing::{HostAndPod, TestProcess, eventually},
};

/// Whether the namespace with the id of the pair, looked up from the host, is the pod's.
fn leads_to_the_pod(fixture: &HostAndPod) -> bool {
    let id = fixture.pair().netns_id;
    fixture.host.run(|| match Netns::find(id) {
        Ok(netns) => netns.run(|| if_nametoindex("eth0").is_ok()).unwrap(),
        Err(NetnsError::NotFound { .. }) => false,
        Err(error) => panic!("{error}"),
    })
}

#[test]
fn a_namespace_held_only_by_a_mount_is_found() {
    assert!(leads_to_the_pod(&HostAndPod::new()));
}

#[test]
fn a_namespace_held_only_by_a_process_is_found() {
    let fixture = HostAndPod::new();
    let _holder = hold_by_process(&fixture);
    fixture.pod.unname();
    assert!(leads_to_the_pod(&fixture));
}

#[test]
fn a_namespace_mounted_only_in_another_mount_namespace_is_found() {
    let fixture = HostAndPod::new();
    let path = fixture.pod.path();
    // Unmounts the copies of other tests' namespaces, so that it does not keep them alive.
    let script = format!(
        "mount -t tmpfs none /mnt && touch /mnt/pod && mount --bind {0} /mnt/pod && \
         for m in /run/netns/*; do umount -l $m; done; exec sleep 60",
        path.display()
    );
    let holder = TestProcess::start(
        "unshare",
        &["--mount", "--propagation", "private", "sh", "-c", &script],
    );
    eventually("the other mount exists", || mounts_pod(&holder));
    fixture.pod.unname();
    assert!(leads_to_the_pod(&fixture));
}

fn mounts_pod(holder: &TestProcess) -> bool {
    let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", holder.id())).unwrap();
    mounts.contains(" /mnt/pod ") && !mounts.contains("/run/netns/")
}

#[test]
fn an_unknown_id_is_an_error_that_names_the_id() {
    let fixture = HostAndPod::new();
    let error = fixture.host.run(|| Netns::find(12345).unwrap_err());
    assert!(error.to_string().contains("12345"), "{error}");
}

#[test]
fn a_cached_path_that_leads_to_another_namespace_is_not_used() {
    let fixture = HostAndPod::new();
    let mut namespaces = Namespaces::default();
    let id = fixture.pair().netns_id;
    fixture.host.run(|| namespaces.find(id).map(drop).unwrap());
    let _holder = hold_by_process(&fixture);
    fixture.pod.unname();
    fixture.pod.create_again();
    fixture.host.run(|| {
        let netns = namespaces.find(id).unwrap();
        assert!(
            netns.run(|| if_nametoindex("eth0").is_ok()).unwrap(),
            "the name leads to a new, empty namespace"
        );
    });
}

#[test]
fn looking_a_namespace_up_does_not_keep_it_alive() {
    let fixture = HostAndPod::new();
    let mut namespaces = Namespaces::default();
    let id = fixture.pair().netns_id;
    fixture.host.run(|| namespaces.find(id).map(drop).unwrap());
    fixture.pod.unname();
    eventually("the pair dies with the namespace", || fixture.pairs().is_empty());
    let _ = namespaces;
}

/// Starts a process in the pod's network namespace only.
fn hold_by_process(fixture: &HostAndPod) -> TestProcess {
    let holder = TestProcess::start(
        "nsenter",
        &[&format!("--net={}", fixture.pod.path().display()), "sleep", "60"],
    );
    let link = |path: &Path| {
        std::fs::metadata(path)
            .map(|meta| std::os::unix::fs::MetadataExt::ino(&meta))
            .ok()
    };
    let entered = Path::new("/proc").join(holder.id().to_string()).join("ns/net");
    let pod = link(&fixture.pod.path());
    eventually("the process is inside", || link(&entered) == pod);
    holder
}
