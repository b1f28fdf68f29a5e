//! A folder of manifests for an agent.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use xdp_lab::{Lab, LabPod};

/// The folder that an agent watches.
pub struct ManifestFolder {
    folder: PathBuf,
}

impl ManifestFolder {
    /// Creates an empty folder in the lab.
    pub fn new(lab: &Lab) -> anyhow::Result<Self> {
        let folder = lab.dir().join("manifests");
        fs::create_dir(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
        Ok(Self { folder })
    }

    /// Returns its path.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file atomically.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let (hidden, path) = (self.folder.join(format!(".{name}")), self.folder.join(name));
        fs::write(&hidden, text)?;
        fs::rename(&hidden, &path).with_context(|| format!("cannot write `{}`", path.display()))
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        fs::remove_file(self.folder.join(name)).with_context(|| format!("cannot remove `{name}`"))
    }

    /// Writes a pod's object to a file: namespace `games`, label `app: APP`, and the pod's addresses.
    pub fn write_pod(&self, name: &str, app: &str, pod: &LabPod) -> anyhow::Result<()> {
        self.write(&format!("{name}.yaml"), &pod_object(name, app, pod.addresses()))
    }

    /// Writes a pod's object with a spec, such as `{containers: […]}`.
    pub fn write_pod_with(&self, name: &str, app: &str, pod: &LabPod, spec: &str) -> anyhow::Result<()> {
        let object = pod_object(name, app, pod.addresses());
        self.write(&format!("{name}.yaml"), &format!("{object}spec: {spec}\n"))
    }
}

fn pod_object(name: &str, app: &str, addresses: impl Iterator<Item = IpAddr>) -> String {
    let addresses: Vec<String> = addresses.map(|ip| format!("{{ip: \"{ip}\"}}")).collect();
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{namespace: games, name: {name}, uid: uid-of-{name}, labels: {{app: {app}}}}}
status: {{podIPs: [{}]}}
",
        addresses.join(", ")
    )
}
