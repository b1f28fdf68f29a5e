//! Other network namespaces: found by the id under which the kernel knows them here, entered on a thread of its own.

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

mod scan;

/// A namespace that was not found or not entered.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// Neither a process nor a mount leads to it.
    #[error(
        "no process and no mount leads to the network namespace with id {id}; run the agent in the host's pid \
         namespace, with CAP_SYS_PTRACE and the host's /run mounted"
    )]
    NotFound {
        /// The id.
        id: i32,
    },
    /// The kernel did not say which namespace it is.
    #[error("the network namespace with id {id} cannot be looked up")]
    Lookup {
        /// The id.
        id: i32,
        /// Cause.
        #[source]
        source: NetlinkError,
    },
    /// `setns` failed.
    #[error("the network namespace cannot be entered; it takes CAP_SYS_ADMIN")]
    Enter {
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// A network namespace. Holding one keeps the namespace alive with all its interfaces: drop it soon.
#[derive(Debug)]
pub struct Netns {
    file: File,
}

impl Netns {
    /// Open the namespace that has this id in the calling thread's namespace.
    pub fn find(id: i32) -> Result<Self, NetnsError> {
        Namespaces::default().find(id)
    }

    /// Open a path such as `/proc/PID/ns/net`. That it is a network namespace shows when it is used.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Paths come from other mount namespaces: whatever is there, opening it must not block.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)?;
        Ok(Self { file })
    }

    /// Do `work` inside, on a thread that is gone afterwards. The caller's own namespace stays what it is.
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

    /// The id under which the namespace of `client` knows this one, if any.
    fn id(&self, client: &mut Client) -> Result<Option<i32>, NetlinkError> {
        let request = "RTM_GETNSID";
        let mut message = NsidMessage::default();
        message
            .attributes
            .push(NsidAttribute::Fd(self.file.as_raw_fd() as u32));
        let reply = client.get(request, RouteNetlinkMessage::GetNsId(message))?;
        let reply =
            NsidMessage::parse(&reply[..]).map_err(|source| NetlinkError::Malformed { request, source })?;
        Ok(reply.attributes.iter().find_map(|attribute| match attribute {
            NsidAttribute::Id(id) => Some(*id).filter(|id| *id >= 0),
            _ => None,
        }))
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Where namespaces were seen last, so that not every look-up walks through all processes. Holds none of them.
#[derive(Debug, Default)]
pub struct Namespaces {
    seen: BTreeMap<i32, PathBuf>,
}

impl Namespaces {
    /// Open the namespace that has this id in the calling thread's namespace.
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

    /// Look at every namespace once. One that cannot be opened or asked about is not ours to find.
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
