//! The pin directory: `DIR/abi-1/maps/<MAP>`, `DIR/abi-1/links/<LINK>`, `DIR/abi-1/gro/<host ifindex>`.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use xdp_core::tables::ABI_VERSION;

use super::error::OpenError;

const NIC: &str = "nic-";
const READER: &str = "reader-";
const CLSACT: &str = "clsact-";
const TRACEPOINT: &str = "tp-";

/// Paths below one pin directory.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    root: PathBuf,
}

impl Pins {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn abi(&self) -> PathBuf {
        self.root.join(format!("abi-{ABI_VERSION}"))
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.abi().join("maps").join(name)
    }

    pub(super) fn nic(&self, ifindex: u32) -> PathBuf {
        self.link(NIC, ifindex)
    }

    pub(super) fn reader(&self, host_ifindex: u32) -> PathBuf {
        self.link(READER, host_ifindex)
    }

    /// The program behind a clsact filter: the filter itself cannot be pinned.
    pub(super) fn clsact(&self, host_ifindex: u32) -> PathBuf {
        self.link(CLSACT, host_ifindex)
    }

    pub(super) fn tracepoint(&self, name: &str) -> PathBuf {
        self.links().join(format!("{TRACEPOINT}{name}"))
    }

    /// A directory entry says: GRO was off before the agent switched it on. (bpffs holds no files.)
    pub(super) fn gro(&self, host_ifindex: u32) -> PathBuf {
        self.abi().join("gro").join(host_ifindex.to_string())
    }

    pub(super) fn nics(&self) -> io::Result<Vec<u32>> {
        numbered(&self.links(), NIC)
    }

    pub(super) fn readers(&self) -> io::Result<Vec<u32>> {
        numbered(&self.links(), READER)
    }

    pub(super) fn clsacts(&self) -> io::Result<Vec<u32>> {
        numbered(&self.links(), CLSACT)
    }

    pub(super) fn gros(&self) -> io::Result<Vec<u32>> {
        numbered(&self.abi().join("gro"), "")
    }

    fn links(&self) -> PathBuf {
        self.abi().join("links")
    }

    fn link(&self, kind: &str, ifindex: u32) -> PathBuf {
        self.links().join(format!("{kind}{ifindex}"))
    }

    /// Makes the directories, for root only.
    pub(super) fn create(&self) -> Result<(), OpenError> {
        self.check_bpffs()?;
        for name in ["maps", "links", "gro"] {
            let path = self.abi().join(name);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|source| OpenError::pin("create", &path, source))?;
        }
        self.check_bpffs()
    }

    /// The directory, or the nearest one above that exists, must be on a bpffs.
    fn check_bpffs(&self) -> Result<(), OpenError> {
        let nearest = self.root.ancestors().find(|path| path.exists());
        let path = nearest.unwrap_or(Path::new("/"));
        let found = statfs(path).map_err(|errno| OpenError::pin("inspect", path, errno.into()))?;
        if found.filesystem_type() == BPF_FS_MAGIC {
            return Ok(());
        }
        Err(OpenError::NotBpffs {
            path: self.root.clone(),
        })
    }
}

/// Numbers behind `prefix` in a directory's names, in order; none if there is no directory.
fn numbered(directory: &Path, prefix: &str) -> io::Result<Vec<u32>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number: Option<u32> = name
            .to_str()
            .and_then(|name| name.strip_prefix(prefix)?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The right to change what is pinned below a directory. Ends with the process, however that ends.
pub(super) struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// Takes the directory. `status` looks in for moments, hence the second tries.
    pub(super) fn take(directory: &Path) -> Result<Self, OpenError> {
        let mut tries = 0;
        loop {
            match lock(directory, FlockArg::LockExclusiveNonblock)? {
                Some(file) => return Ok(Self { _file: file }),
                None if tries < 20 => thread::sleep(Duration::from_millis(10)),
                None => {
                    return Err(OpenError::Running {
                        path: directory.to_owned(),
                    });
                }
            }
            tries += 1;
        }
    }

    /// Whether somebody has it.
    pub(super) fn is_taken(directory: &Path) -> Result<bool, OpenError> {
        Ok(lock(directory, FlockArg::LockSharedNonblock)?.is_none())
    }
}

fn lock(directory: &Path, kind: FlockArg) -> Result<Option<Flock<File>>, OpenError> {
    let file = File::open(directory).map_err(|source| OpenError::pin("open", directory, source))?;
    match Flock::lock(file, kind) {
        Ok(file) => Ok(Some(file)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(OpenError::pin("lock", directory, errno.into())),
    }
}
