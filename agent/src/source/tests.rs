//! Follows a directory, with and without events that name the changed file.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::mpsc,
};

use xdp_plan::policy::MarkMask;

use crate::source::ManifestSource;

/// A temporary directory, removed at the end.
struct TempDirectory(PathBuf);

impl TempDirectory {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("xdp-agent-{name}-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        Self(directory)
    }

    fn write(&self, path: &str, ip: &str) {
        let pod = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nstatus: {{podIP: {ip}}}\n");
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, pod).unwrap();
    }
}

impl Drop for TempDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn follow(directory: &Path) -> ManifestSource {
    let (sender, _) = mpsc::channel();
    ManifestSource::follow(directory, MarkMask::default(), sender, ()).unwrap()
}

fn address(manifests: &mut ManifestSource, all: bool) -> Option<String> {
    assert_eq!(manifests.reload(all), []);
    let (_, pods) = manifests.objects();
    pods.first().map(|pod| pod.addresses[0].to_string())
}

#[test]
fn a_symbolic_link_is_read_again_when_its_target_changes_although_no_event_names_it() {
    let directory = TempDirectory::new("links");
    directory.write("..1/pod.yaml", "10.0.0.1");
    directory.write("..2/pod.yaml", "10.0.0.2");
    // As in a volume of a ConfigMap.
    symlink("..1", directory.0.join("..data")).unwrap();
    symlink("..data/pod.yaml", directory.0.join("pod.yaml")).unwrap();
    let mut manifests = follow(&directory.0);
    assert_eq!(address(&mut manifests, false).as_deref(), Some("10.0.0.1"));
    symlink("..2", directory.0.join("..new")).unwrap();
    fs::rename(directory.0.join("..new"), directory.0.join("..data")).unwrap();
    assert_eq!(address(&mut manifests, false).as_deref(), Some("10.0.0.2"));
}

#[test]
fn a_changed_file_is_read_again_whether_its_event_has_arrived_or_not() {
    let directory = TempDirectory::new("files");
    let mut manifests = follow(&directory.0);
    assert_eq!(address(&mut manifests, false), None);
    for (ip, all) in [("10.0.0.1", false), ("10.0.0.22", false), ("10.0.0.3", true)] {
        directory.write("pod.yaml", ip);
        assert_eq!(address(&mut manifests, all).as_deref(), Some(ip));
    }
    fs::remove_file(directory.0.join("pod.yaml")).unwrap();
    assert_eq!(address(&mut manifests, false), None);
}

/// Waits for the next event of changes.
fn next(events: &mpsc::Receiver<()>) {
    let event = events.recv_timeout(std::time::Duration::from_secs(20));
    event.expect("the change is reported");
    while events.try_recv().is_ok() {}
}

#[test]
fn a_directory_behind_a_link_is_followed_by_events_through_every_swap() {
    let directory = TempDirectory::new("swaps");
    let link = directory.0.join("current");
    let swap = |revision: &str| {
        symlink(revision, directory.0.join("new")).unwrap();
        fs::rename(directory.0.join("new"), &link).unwrap();
    };
    directory.write("0/pod.yaml", "10.0.0.10");
    swap("0");
    let (sender, events) = mpsc::channel();
    let mut manifests = ManifestSource::follow(&link, MarkMask::default(), sender, ()).unwrap();
    assert_eq!(address(&mut manifests, false).as_deref(), Some("10.0.0.10"));
    for revision in ["1", "2", "3"] {
        let ip = format!("10.0.0.1{revision}");
        directory.write(&format!("{revision}/pod.yaml"), &ip);
        assert!(
            events.try_recv().is_err(),
            "what the link does not lead to is not followed"
        );
        swap(revision);
        next(&events);
        assert_eq!(
            address(&mut manifests, false).as_deref(),
            Some(&*ip),
            "swap {revision}"
        );
        let later = format!("10.0.1.1{revision}");
        directory.write(&format!("{revision}/pod.yaml"), &later);
        next(&events);
        assert_eq!(
            address(&mut manifests, false).as_deref(),
            Some(&*later),
            "in {revision}"
        );
    }
}
