//! The programs and images that `e2e/kubernetes/build` has built.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

/// The programs and images of one build.
#[derive(Clone, Debug)]
pub(super) struct Artifacts {
    pub(super) bin: PathBuf,
}

impl Artifacts {
    /// Finds the build of the current sources. It never builds, because that takes minutes.
    pub(super) fn find() -> anyhow::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("build");
        let output = Command::new(&script)
            .arg("--path")
            .output()
            .with_context(|| format!("cannot run {}", script.display()))?;
        let bin = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        ensure!(
            bin.join("complete").exists(),
            "the programs of the cluster are not built; run as root: make kube"
        );
        Ok(Self { bin })
    }

    pub(super) fn kube(&self) -> PathBuf {
        self.bin.join("kube")
    }
}

pub(super) fn repository() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}
