//! Finds network namespaces by the id that they have in this one, and runs code inside them on separate
//! threads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
    thread,
};

use netlink_packet_core::Parseable;
use netlink_packet_route::{
    RouteNetlinkMessage,
    nsid::{NsidAttribute, NsidMessage},
};
use nix::sched::{CloneFlags, setns};

use crate::node::netlink::{NetlinkError, client::Client};

mod sandbox;
mod scan;

pub(crate) use sandbox::sandboxes;

/// A namespace was not found, or could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// No process and no mount leads to the namespace.
    #[error(
        "no process and no mount leads to the network namespace with id {id}; run the agent in the host's pid \
         namespace, with CAP_SYS_PTRACE and the host's /run mounted"
    )]
    NotFound {
        /// The id.
        id: i32,
    },
    /// The kernel did not report the namespace of the id.
    #[error("cannot look up the network namespace with id {id}")]
    Lookup {
        /// The id.
        id: i32,
        /// Cause.
        #[source]
        source: NetlinkError,
    },
    /// `setns` failed.
    #[error("cannot enter the network namespace; CAP_SYS_ADMIN is needed")]
    Enter {
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// An open network namespace. It keeps the namespace alive with all its interfaces: drop it soon.
#[derive(Debug)]
pub struct Netns {
    file: File,
}

impl Netns {
    /// Opens the namespace that has this id in the calling thread's namespace.
    pub fn find(id: i32) -> Result<Self, NetnsError> {
        Namespaces::default().find(id)
    }

    /// Opens a path such as `/proc/PID/ns/net`. Whether it is a network namespace is checked on first use.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Paths come from other mount namespaces and can lead to any file: opening must not block.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)?;
        Ok(Self { file })
    }

    /// Runs `work` inside the namespace, on a thread that ends afterwards. The namespace of the caller does
    /// not change.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET)
                    .map(|()| work())
                    .map_err(|errno| NetnsError::Enter { source: errno.into() })
            });
            inside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Returns the id that this namespace has in the namespace of `client`, if any.
    fn id(&self, client: &mut Client) -> Result<Option<i32>, NetlinkError> {
        let request = "RTM_GETNSID";
        let mut message = NsidMessage::default();
        message
            .attributes
            .push(NsidAttribute::Fd(self.file.as_raw_fd() as u32));
        let reply = client.get(request, RouteNetlinkMessage::GetNsId(message))?;
        let reply =
            NsidMessage::parse(&reply[..]).map_err(|source| NetlinkError::Malformed { request, source })?;
        Ok(reply.attributes.iter().find_map(|attribute| {
            let NsidAttribute::Id(id) = attribute else {
                return None;
            };
            Some(*id).filter(|id| *id >= 0)
        }))
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Caches paths of namespaces, so that not every look-up reads all of `/proc`. Keeps no namespace open.
#[derive(Debug, Default)]
pub struct Namespaces {
    seen: BTreeMap<i32, PathBuf>,
}

impl Namespaces {
    /// Opens the namespace that has this id in the calling thread's namespace.
    pub fn find(&mut self, id: i32) -> Result<Netns, NetnsError> {
        let failed = |source| NetnsError::Lookup { id, source };
        let mut client = Client::route().map_err(failed)?;
        if let Some(netns) = self.seen.get(&id).and_then(|path| Netns::open(path).ok())
            && matches!(netns.id(&mut client), Ok(Some(found)) if found == id)
        {
            return Ok(netns);
        }
        self.scan(&mut client, id).ok_or(NetnsError::NotFound { id })
    }

    /// Looks at every namespace once. One that cannot be opened or identified is skipped.
    fn scan(&mut self, client: &mut Client, wanted: i32) -> Option<Netns> {
        self.seen.clear();
        let mut known = BTreeSet::new();
        let mut found = None;
        for (inode, path) in scan::candidates() {
            if known.contains(&inode) {
                continue;
            }
            let Ok(netns) = Netns::open(&path) else { continue };
            let Ok(id) = netns.id(client) else { continue };
            known.insert(inode);
            if let Some(id) = id {
                self.seen.insert(id, path);
                if id == wanted {
                    found = Some(netns);
                }
            }
        }
        found
    }
}
