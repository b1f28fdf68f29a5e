//! Network namespaces. Bind mounts keep them alive, and other processes can find them there.

use std::{
    fs::{
        File, {self},
    },
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

use crate::{LabError, SyscallFilter, lab::Core, process::Process};

/// Settings for all interfaces created later. Duplicate address detection would delay each address by a
/// second or two, and reverse path filters would drop packets that tests send on purpose.
const QUIET: [(&str, &str); 8] = [
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv6/conf/all/disable_ipv6", "0"),
    ("net/ipv6/conf/default/disable_ipv6", "0"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
];

/// A handle of a network namespace, which lives until the lab ends or its pod is removed.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    path: PathBuf,
    core: Arc<Core>,
}

impl Namespace {
    /// Creates the namespace, with `lo` up.
    pub(crate) fn create(core: &Arc<Core>, name: &str) -> Result<Self, LabError> {
        let namespace = Self::named(core, name)?;
        namespace.make()?;
        Ok(namespace)
    }

    /// Returns a handle of a namespace that does not exist yet.
    pub(crate) fn named(core: &Arc<Core>, name: &str) -> Result<Self, LabError> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(LabError::Name {
                namespace: name.to_owned(),
            });
        }
        Ok(Self {
            name: name.to_owned(),
            path: core.home.dir.join("ns").join(name),
            core: Arc::clone(core),
        })
    }

    pub(crate) fn make(&self) -> Result<(), LabError> {
        self.hold()?;
        for (key, value) in QUIET {
            self.set_sysctl(key, value)?;
        }
        self.set_up("lo", true)
    }

    /// A new thread enters a new namespace and mounts its file. The mount keeps the namespace alive.
    fn hold(&self) -> Result<(), LabError> {
        File::create_new(&self.path).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                let namespace = self.name.clone();
                return LabError::Duplicate { namespace };
            }
            self.failed("create", source)
        })?;
        let nothing: Option<&str> = None;
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let own = Path::new("/proc/thread-self/ns/net");
            mount(Some(own), &self.path, nothing, MsFlags::MS_BIND, nothing)
        };
        on_thread(make).map_err(|errno| self.failed("create", errno.into()))
    }

    /// Returns its name in the lab.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the file for `setns` and `nsenter --net=`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a descriptor. It keeps the namespace and its interfaces alive: drop it before the lab.
    pub fn open(&self) -> Result<File, LabError> {
        File::open(&self.path).map_err(|source| self.failed("open", source))
    }

    /// Runs `work` on a new thread inside the namespace, and waits for it. A panic propagates.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let file = self.open()?;
        let inside = move || {
            setns(&file, CloneFlags::CLONE_NEWNET)?;
            drop(file);
            Ok(work())
        };
        on_thread(inside).map_err(|errno: nix::Error| self.failed("enter", errno.into()))
    }

    /// Starts a program inside. It is killed with the lab.
    pub fn spawn(&self, command: Command) -> Result<Process, LabError> {
        self.spawn_under(None, command)
    }

    /// Starts a program inside, under a filter of system calls.
    pub fn spawn_filtered(&self, command: Command, filter: &SyscallFilter) -> Result<Process, LabError> {
        self.spawn_under(Some(filter), command)
    }

    fn spawn_under(&self, filter: Option<&SyscallFilter>, command: Command) -> Result<Process, LabError> {
        let core = &self.core;
        Process::spawn(command, self.open()?, &core.home.id, &core.children, filter)
    }

    /// Writes a sysctl of this namespace; `key` is a path below `/proc/sys`.
    pub fn set_sysctl(&self, key: &str, value: &str) -> Result<(), LabError> {
        let path = Path::new("/proc/sys").join(key);
        // Files below /proc/sys/net belong to the namespace of the thread that opens them.
        self.run(|| fs::write(path, value))?
            .map_err(|source| LabError::Sysctl {
                namespace: self.name.clone(),
                key: key.to_owned(),
                value: value.to_owned(),
                source,
            })
    }

    /// Unmounts the namespace. Open sockets keep it alive until they are closed.
    pub(crate) fn release(&self) -> Result<(), LabError> {
        umount2(&self.path, MntFlags::MNT_DETACH).map_err(|errno| self.failed("remove", errno.into()))?;
        fs::remove_file(&self.path).map_err(|source| self.failed("remove", source))
    }

    /// Returns a function that makes an error about a socket inside.
    pub(crate) fn socket_failed(&self, action: impl Into<String>) -> impl FnOnce(io::Error) -> LabError {
        let (namespace, action) = (self.name.clone(), action.into());
        move |source| LabError::Socket {
            namespace,
            action,
            source,
        }
    }

    fn failed(&self, action: &'static str, source: io::Error) -> LabError {
        LabError::Namespace {
            action,
            namespace: self.name.clone(),
            source,
        }
    }
}

fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        scope
            .spawn(work)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
