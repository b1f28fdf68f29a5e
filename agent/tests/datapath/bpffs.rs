//! A bpffs for one test. Its pins are gone when it is dropped.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use xdp_core::tables::ABI_VERSION;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A mounted bpffs.
pub(crate) struct Bpffs {
    mountpoint: PathBuf,
}

impl Bpffs {
    pub(crate) fn new() -> Self {
        let mountpoint = temporary();
        mount(
            Some("bpf"),
            &mountpoint,
            Some("bpf"),
            MsFlags::empty(),
            Some("mode=0700"),
        )
        .unwrap();
        Self { mountpoint }
    }

    /// A pin directory that does not exist yet.
    pub(crate) fn pin_dir(&self) -> PathBuf {
        self.mountpoint.join("xdp-operator")
    }

    /// The directory of the pins of this layout.
    pub(crate) fn pinned(&self) -> PathBuf {
        self.pin_dir().join(format!("abi-{ABI_VERSION}"))
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = umount2(&self.mountpoint, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.mountpoint);
    }
}

/// An ordinary directory.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        Self(temporary())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn temporary() -> PathBuf {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    // Not in /tmp, where others can write.
    let path = Path::new("/run").join(format!("xdp-test-{}-{number}", process::id()));
    fs::create_dir(&path).unwrap();
    path
}
