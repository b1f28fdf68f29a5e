//! The lab's directory: one tmpfs with all its mounts, so that one unmount removes everything.
//!
//! `/run/xdp-lab/PID-N` is the tmpfs. It has `ns/NAME` (namespaces) and `bpf`, a bpffs of the lab's own: its
//! pins are removed with the mount, and `ip netns exec`, which mounts another /sys, cannot hide it.
//! `/run/xdp-lab/PID-N.lock` is locked while the lab lives; the kernel releases the lock when the process
//! ends.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs::{
        File, {self},
    },
    io,
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MntFlags, MsFlags, mount, umount2},
};

use crate::{
    LabError,
    guard::{Guard, Remains},
    reap::Reaper,
};

const ROOT: &str = "/run/xdp-lab";

static LABS: AtomicU32 = AtomicU32::new(0);

/// The directory of one lab.
#[derive(Debug)]
pub(crate) struct Home {
    /// Unique while the lab lives: `PID-N`.
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    guard: Guard,
    _lock: Flock<File>,
}

impl Home {
    pub(crate) fn create() -> Result<Self, LabError> {
        fs::create_dir_all(ROOT).map_err(failed("create", Path::new(ROOT)))?;
        let (id, lock) = claim()?;
        let dir = Path::new(ROOT).join(&id);
        let guard = Guard::start(&mut Remains {
            processes: Reaper::new(&id),
            script: c_path(&end_script(&dir)),
            mount: c_path(&dir),
            lock: c_path(&lock_path(&id)),
            lock_file: lock.as_raw_fd(),
        })
        .map_err(|source| LabError::Guard { source })?;
        let home = Self {
            id,
            dir,
            guard,
            _lock: lock,
        };
        home.mount().inspect_err(|_| home.remove())?;
        Ok(home)
    }

    fn mount(&self) -> Result<(), LabError> {
        make_dir(&self.dir)?;
        mount_fs("tmpfs", &self.dir)?;
        make_dir(&self.dir.join("ns"))?;
        make_dir(&self.dir.join("bpf"))?;
        mount_fs("bpf", &self.dir.join("bpf"))
    }

    /// Sets a shell script that runs when the lab ends, after its processes are gone.
    pub(crate) fn at_end(&self, script: &str) -> Result<(), LabError> {
        let path = end_script(&self.dir);
        fs::write(&path, script).map_err(failed("write", &path))
    }

    pub(crate) fn remove(&self) {
        clear(&self.id);
        self.guard.dismiss();
    }
}

/// Removes the remains of labs whose process has ended. Returns how many there were.
///
/// Only needed if the guard was killed as well.
pub(crate) fn sweep() -> usize {
    let Ok(entries) = fs::read_dir(ROOT) else { return 0 };
    let ids: BTreeSet<String> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            Some(name.strip_suffix(".lock").unwrap_or(&name).to_owned())
        })
        .collect();
    let dead = ids.into_iter().filter_map(|id| {
        // Removed since it was listed.
        if !Path::new(ROOT).join(&id).exists() && !lock_path(&id).exists() {
            return None;
        }
        // The lock is removed last, so a lab without one is dead. This creates it again.
        let file = File::create(lock_path(&id)).ok()?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()?;
        Some((id, lock))
    });
    dead.map(|(id, _lock)| clear(&id)).count()
}

/// The lock is removed last: a lab without one is dead.
fn clear(id: &str) {
    let dir = Path::new(ROOT).join(id);
    Reaper::new(id).kill_all();
    let script = end_script(&dir);
    if script.exists() {
        let _ = Command::new("/bin/sh").arg(script).stdin(Stdio::null()).status();
    }
    let _ = umount2(&dir, MntFlags::MNT_DETACH);
    let _ = fs::remove_dir(&dir);
    let _ = fs::remove_file(lock_path(id));
}

/// Claims a name that no living lab has. The lock decides: in another pid namespace a process may have the
/// same id.
fn claim() -> Result<(String, Flock<File>), LabError> {
    loop {
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", std::process::id());
        let path = lock_path(&id);
        let file = File::create(&path).map_err(failed("create", &path))?;
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
            continue;
        };
        // A sweep may have removed the file between the two calls, and a dead lab may have had this name.
        let linked = lock.metadata().is_ok_and(|file| file.nlink() > 0);
        if linked && !Path::new(ROOT).join(&id).exists() {
            return Ok((id, lock));
        }
    }
}

fn end_script(dir: &Path) -> PathBuf {
    dir.join("end.sh")
}

fn lock_path(id: &str) -> PathBuf {
    Path::new(ROOT).join(format!("{id}.lock"))
}

fn make_dir(path: &Path) -> Result<(), LabError> {
    fs::create_dir(path).map_err(failed("create", path))
}

fn mount_fs(kind: &str, path: &Path) -> Result<(), LabError> {
    // Only root writes: the agent refuses other directories.
    let mode = Some("mode=0755");
    mount(Some(kind), path, Some(kind), MsFlags::empty(), mode)
        .map_err(|errno| failed("mount a file system on", path)(errno.into()))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LabError {
    let path = path.to_owned();
    move |source| LabError::Home { action, path, source }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("made of digits and constants")
}
