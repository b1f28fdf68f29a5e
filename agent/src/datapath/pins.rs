//! The pin directory: `DIR/abi-N/maps/<MAP>`, `DIR/abi-N/links/<LINK>`, `DIR/abi-N/gro/<host ifindex>`, where N is the
//! version of the tables' layout.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use xdp_core::tables::ABI_VERSION;

use super::classifier::Classifier;
use super::error::OpenError;

const NIC: &str = "nic-";
const READER: &str = "reader-";
const CLSACT: &str = "clsact-";
pub(super) const TRACEPOINT: &str = "tp-";
const ABI: &str = "abi-";

/// Paths below one pin directory, of one version of the layout.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    root: PathBuf,
    abi: u32,
}

impl Pins {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            abi: ABI_VERSION,
        }
    }

    /// The same directory, as agents with other layouts have left it.
    pub(super) fn others(&self) -> io::Result<Vec<Self>> {
        let versions = numbered(&self.root, ABI)?.into_iter();
        let others = versions.filter(|abi| *abi != self.abi).map(|abi| Self {
            root: self.root.clone(),
            abi,
        });
        Ok(others.collect())
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn abi(&self) -> PathBuf {
        self.root.join(format!("{ABI}{}", self.abi))
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    pub(super) fn maps(&self) -> PathBuf {
        self.abi().join("maps")
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

    /// The link of a classifier on an interface of the host.
    pub(super) fn classifier(&self, classifier: Classifier, ifindex: u32) -> PathBuf {
        self.link(prefix(classifier), ifindex)
    }

    /// As [`Pins::clsact`].
    pub(super) fn classifier_clsact(&self, classifier: Classifier, ifindex: u32) -> PathBuf {
        self.link(&filter_prefix(classifier), ifindex)
    }

    /// Tables that another capacity or layout replaces, as long as their flows are carried over.
    pub(super) fn aside(&self) -> PathBuf {
        self.abi().join("aside")
    }

    pub(super) fn tracepoint(&self, name: &str) -> PathBuf {
        self.links().join(format!("{TRACEPOINT}{name}"))
    }

    /// A directory entry says: GRO was off before the agent switched it on. (bpffs holds no files.)
    pub(super) fn gro(&self, host_ifindex: u32) -> PathBuf {
        self.gro_notes().join(host_ifindex.to_string())
    }

    pub(super) fn gro_notes(&self) -> PathBuf {
        self.abi().join("gro")
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
        numbered(&self.gro_notes(), "")
    }

    pub(super) fn classifiers(&self, classifier: Classifier) -> io::Result<Vec<u32>> {
        numbered(&self.links(), prefix(classifier))
    }

    pub(super) fn classifier_clsacts(&self, classifier: Classifier) -> io::Result<Vec<u32>> {
        numbered(&self.links(), &filter_prefix(classifier))
    }

    /// Numbers of directories in [`Pins::aside`] whose names begin so.
    pub(super) fn asides(&self, prefix: &str) -> io::Result<Vec<u32>> {
        numbered(&self.aside(), prefix)
    }

    pub(super) fn links(&self) -> PathBuf {
        self.abi().join("links")
    }

    fn link(&self, kind: &str, ifindex: u32) -> PathBuf {
        self.links().join(format!("{kind}{ifindex}"))
    }

    /// Makes the directories, for root only.
    pub(super) fn create(&self) -> Result<(), OpenError> {
        self.check_bpffs()?;
        for path in [self.maps(), self.links(), self.gro_notes()] {
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

const fn prefix(classifier: Classifier) -> &'static str {
    match classifier {
        Classifier::Reader => READER,
        Classifier::Peer => "peer-",
        Classifier::PodIn => "pod-in-",
        Classifier::PodOut => "pod-out-",
        Classifier::NicOut => "nic-out-",
    }
}

fn filter_prefix(classifier: Classifier) -> String {
    match classifier {
        Classifier::Reader => CLSACT.to_owned(),
        other => format!("{}clsact-", prefix(other)),
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
