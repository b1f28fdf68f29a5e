//! A folder as it changes, with and without the kernel naming the file.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::mpsc,
};

use crate::source::Manifests;

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("xdp-agent-{name}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, path: &str, ip: &str) {
        let pod = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nstatus: {{podIP: {ip}}}\n");
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, pod).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn follow(folder: &Path) -> Manifests {
    let (sender, _) = mpsc::channel();
    Manifests::follow(folder, sender, ()).unwrap()
}

fn address(manifests: &mut Manifests, all: bool) -> Option<String> {
    assert_eq!(manifests.reload(all), []);
    let (_, pods) = manifests.objects();
    pods.first().map(|pod| pod.addresses[0].to_string())
}

#[test]
fn a_file_that_is_a_link_is_read_again_when_it_leads_elsewhere_though_nothing_names_it() {
    let folder = Folder::new("links");
    folder.write("..1/pod.yaml", "10.0.0.1");
    folder.write("..2/pod.yaml", "10.0.0.2");
    // As in a volume of a ConfigMap.
    symlink("..1", folder.0.join("..data")).unwrap();
    symlink("..data/pod.yaml", folder.0.join("pod.yaml")).unwrap();
    let mut manifests = follow(&folder.0);
    assert_eq!(address(&mut manifests, false).as_deref(), Some("10.0.0.1"));
    symlink("..2", folder.0.join("..new")).unwrap();
    fs::rename(folder.0.join("..new"), folder.0.join("..data")).unwrap();
    assert_eq!(address(&mut manifests, false).as_deref(), Some("10.0.0.2"));
}

#[test]
fn a_file_is_read_again_when_it_looks_different_whether_the_kernel_has_told_of_it_yet_or_not() {
    let folder = Folder::new("files");
    let mut manifests = follow(&folder.0);
    assert_eq!(address(&mut manifests, false), None);
    for (ip, all) in [("10.0.0.1", false), ("10.0.0.22", false), ("10.0.0.3", true)] {
        folder.write("pod.yaml", ip);
        assert_eq!(address(&mut manifests, all).as_deref(), Some(ip));
    }
    fs::remove_file(folder.0.join("pod.yaml")).unwrap();
    assert_eq!(address(&mut manifests, false), None);
}
