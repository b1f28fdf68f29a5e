//! The pin directory: `DIR/abi-N/maps/<MAP>`, `DIR/abi-N/links/<LINK>`, `DIR/abi-N/gro/<host ifindex>`, where
//! N is the version of the tables' layout.

use std::{
    fs::{
        DirBuilder, {self},
    },
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use xdp_core::tables::{ABI_VERSION, maps};
use xdp_plan::hook::Hook;

use crate::datapath::error::OpenError;

pub(in crate::datapath) const TRACEPOINT: &str = "tp-";
const PROBE: &str = "probe-";
const ABI: &str = "abi-";
/// The first version of the layout with today's names of the flow tables.
const RENAMED_FLOWS: u32 = 5;

/// Paths below one pin directory, of one version of the layout.
#[derive(Clone, Debug)]
pub(in crate::datapath) struct Pins {
    root: PathBuf,
    abi: u32,
}

impl Pins {
    pub(in crate::datapath) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            abi: ABI_VERSION,
        }
    }

    /// Lists the other versions of the layout that agents have left in this directory.
    pub(in crate::datapath) fn others(&self) -> io::Result<Vec<Self>> {
        let versions = numbered(&self.root, ABI)?.into_iter();
        let others = versions.filter(|abi| *abi != self.abi).map(|abi| Self {
            root: self.root.clone(),
            abi,
        });
        Ok(others.collect())
    }

    pub(in crate::datapath) fn root(&self) -> &Path {
        &self.root
    }

    pub(in crate::datapath) fn abi(&self) -> PathBuf {
        self.root.join(format!("{ABI}{}", self.abi))
    }

    pub(in crate::datapath) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Returns the name that a map has in this version of the layout.
    pub(in crate::datapath) fn map_name<'a>(&self, name: &'a str) -> &'a str {
        if self.abi >= RENAMED_FLOWS {
            return name;
        }
        match name {
            maps::ESTABLISHED => "FLOWS",
            maps::UNREPLIED => "YOUNG",
            maps::STACK => "THEIRS",
            other => other,
        }
    }

    pub(in crate::datapath) fn maps(&self) -> PathBuf {
        self.abi().join("maps")
    }

    /// Returns the pin of the link at a hook.
    pub(in crate::datapath) fn link(&self, hook: Hook, ifindex: u32) -> PathBuf {
        self.links().join(format!("{}{ifindex}", prefix(hook)))
    }

    /// Returns the pin of the link of a program that passes everything, on a NIC that is being probed. It has
    /// a name of its own: `status` shows a NIC as attached when it finds [`Pins::link`].
    pub(in crate::datapath) fn probe(&self, ifindex: u32) -> PathBuf {
        self.links().join(format!("{PROBE}{ifindex}"))
    }

    /// Lists the NICs with a pinned probe.
    pub(in crate::datapath) fn probes(&self) -> io::Result<Vec<u32>> {
        numbered(&self.links(), PROBE)
    }

    /// Returns the pin of the program behind a clsact filter: the filter itself cannot be pinned.
    pub(in crate::datapath) fn filter(&self, hook: Hook, ifindex: u32) -> PathBuf {
        self.links().join(format!("{}{ifindex}", filter_prefix(hook)))
    }

    /// Directory of flow tables of another capacity or layout while their flows are migrated.
    pub(in crate::datapath) fn parked(&self) -> PathBuf {
        self.abi().join("aside")
    }

    pub(in crate::datapath) fn tracepoint(&self, name: &str) -> PathBuf {
        self.links().join(format!("{TRACEPOINT}{name}"))
    }

    /// Directory that records that GRO was off before the agent switched it on. (A bpffs holds no files.)
    pub(in crate::datapath) fn gro(&self, host_ifindex: u32) -> PathBuf {
        self.gro_notes().join(host_ifindex.to_string())
    }

    pub(in crate::datapath) fn gro_notes(&self) -> PathBuf {
        self.abi().join("gro")
    }

    pub(in crate::datapath) fn gros(&self) -> io::Result<Vec<u32>> {
        numbered(&self.gro_notes(), "")
    }

    /// Lists the interfaces with a pinned link at a hook.
    pub(in crate::datapath) fn links_of(&self, hook: Hook) -> io::Result<Vec<u32>> {
        numbered(&self.links(), prefix(hook))
    }

    /// Lists the interfaces with a pinned filter at a hook.
    pub(in crate::datapath) fn filters(&self, hook: Hook) -> io::Result<Vec<u32>> {
        numbered(&self.links(), &filter_prefix(hook))
    }

    /// Lists the numbers of the directories in [`Pins::parked`] whose names begin with `prefix`.
    pub(in crate::datapath) fn parked_numbers(&self, prefix: &str) -> io::Result<Vec<u32>> {
        numbered(&self.parked(), prefix)
    }

    pub(in crate::datapath) fn links(&self) -> PathBuf {
        self.abi().join("links")
    }

    /// Creates the directories, accessible to root only.
    pub(in crate::datapath) fn create(&self) -> Result<(), OpenError> {
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

    /// Checks that the directory, or its nearest existing ancestor, is on a bpffs.
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

const fn prefix(hook: Hook) -> &'static str {
    match hook {
        Hook::Nic => "nic-",
        Hook::PodReader => "reader-",
        Hook::NicPeer => "peer-",
        Hook::PodIn => "pod-in-",
        Hook::PodOut => "pod-out-",
        Hook::NicOut => "nic-out-",
    }
}

fn filter_prefix(hook: Hook) -> String {
    if hook == Hook::PodReader {
        return "clsact-".to_owned();
    }
    format!("{}clsact-", prefix(hook))
}

/// Lists the numbers that follow `prefix` in the names of a directory, in order. An absent directory has
/// none.
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
