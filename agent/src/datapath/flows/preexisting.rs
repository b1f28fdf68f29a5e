//! Notes the connections that pods have opened before the programs saw their packets.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use aya::maps::{Array, MapData, MapError};
use xdp_core::{
    flows::{EPOCH_SHIFT, OpenedStore, is_noted, may_be_opened_by_pod, note_heard, note_preexisting},
    tables::{OPENED_WAYS, OpenedSet, maps},
};
use xdp_plan::{
    change::Change,
    connections::{ConntrackEntry, PodConnections, PodSocket, connections, flow_key},
    hook::Interface,
};

use crate::{
    datapath::{
        Datapath, Pinned,
        error::{ApplyError, OpenError},
        kernel::plain::Plain,
        tables,
    },
    node::{
        clock::jiffies,
        netlink::{NetlinkError, conntrack, sockets::sockets},
    },
};

/// The node's connection tracking, listed once for all pods of a list of changes.
pub(in crate::datapath) struct ConntrackList<'a> {
    changes: &'a [Change],
    listed: Option<Result<Vec<ConntrackEntry>, Arc<NetlinkError>>>,
}

impl<'a> ConntrackList<'a> {
    pub(in crate::datapath) const fn new(changes: &'a [Change]) -> Self {
        Self {
            changes,
            listed: None,
        }
    }

    fn get(&mut self) -> Result<&[ConntrackEntry], ApplyError> {
        let changes = self.changes;
        let listed = self.listed.get_or_insert_with(|| {
            let pods = changes.iter().filter_map(|change| match change {
                Change::NoteConnections { addresses, .. } => Some(addresses),
                _ => None,
            });
            conntrack::entries(&pods.flatten().copied().collect()).map_err(Arc::new)
        });
        match listed {
            Ok(entries) => Ok(entries),
            Err(error) => Err(ApplyError::Connections(Arc::clone(error))),
        }
    }
}

impl Datapath {
    /// Notes the connections that a pod has opened. What cannot be listed takes nothing away from the rest.
    pub(in crate::datapath) fn note_connections(
        &mut self,
        interface: &Interface,
        addresses: &BTreeSet<IpAddr>,
        conntrack: &mut ConntrackList<'_>,
    ) -> Result<(), ApplyError> {
        let sockets = self.sockets(interface);
        let entries = conntrack.get();
        let PodConnections { opened, accepted } = connections(
            addresses,
            entries.as_deref().unwrap_or_default(),
            sockets.as_deref().unwrap_or_default(),
        );
        let store = OpenedTables::open(&self.pinned)?;
        for key in &accepted {
            note_heard(key, &store);
        }
        for key in &opened {
            note_preexisting(key, &store);
        }
        store.done()?;
        tracing::debug!(
            interface = interface.name,
            connections = opened.len(),
            "noted the connections that a pod had opened"
        );
        entries?;
        sockets.map(drop)
    }

    fn sockets(&mut self, interface: &Interface) -> Result<Vec<PodSocket>, ApplyError> {
        let netns = self.netns(interface)?;
        let listed = netns.run(sockets).map_err(ApplyError::Namespace)?;
        listed.map_err(|error| ApplyError::Connections(Arc::new(error)))
    }
}

impl Pinned {
    /// Whether a pod has opened a connection of this protocol between these addresses and ports.
    pub fn has_opened(&self, protocol: u8, remote: SocketAddr, pod: SocketAddr) -> Result<bool, OpenError> {
        let Some(key) = flow_key(protocol, remote, pod) else {
            return Ok(false);
        };
        let store = OpenedTables::open(self)?;
        Ok(may_be_opened_by_pod(&key, &store) && is_noted(&key, &store))
    }
}

/// The tables of connections that pods opened. The programs write to them at the same time: a word that one
/// of them writes between a reading and a writing of its element is lost.
struct OpenedTables {
    opened: RefCell<Array<MapData, Plain<OpenedSet>>>,
    tags: RefCell<Array<MapData, u64>>,
    heard: RefCell<Array<MapData, u64>>,
    seed: u64,
    epoch: u64,
    failed: Cell<Option<ApplyError>>,
}

impl OpenedTables {
    fn open(pinned: &Pinned) -> Result<Self, OpenError> {
        Ok(Self {
            opened: RefCell::new(tables::open(&pinned.pins, maps::OPENED)?),
            tags: RefCell::new(tables::open(&pinned.pins, maps::OPENED_TAGS)?),
            heard: RefCell::new(tables::open(&pinned.pins, maps::HEARD)?),
            seed: pinned.config()?.seed,
            epoch: jiffies() >> EPOCH_SHIFT,
            failed: Cell::new(None),
        })
    }

    fn done(self) -> Result<(), ApplyError> {
        self.failed.into_inner().map_or(Ok(()), Err)
    }

    fn note(&self, map: &'static str, result: Result<(), MapError>) {
        if let Err(error) = result {
            self.failed.set(Some(ApplyError::table(map)(error)));
        }
    }
}

impl OpenedStore for OpenedTables {
    fn seed(&self) -> u64 {
        self.seed
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn opened(&self, set: u32) -> Option<[u64; OPENED_WAYS]> {
        let Plain(OpenedSet { words }) = self.opened.borrow().get(&set, 0).ok()?;
        Some(words)
    }

    fn set_opened(&self, set: u32, way: u32, word: u64) {
        let mut words = self.opened(set).unwrap_or_default();
        if let Some(place) = words.get_mut(way as usize) {
            *place = word;
        }
        let written = self.opened.borrow_mut().set(set, Plain(OpenedSet { words }), 0);
        self.note(maps::OPENED, written);
    }

    fn opened_tags(&self, index: u32) -> u64 {
        self.tags.borrow().get(&index, 0).unwrap_or(0)
    }

    fn set_opened_tag(&self, index: u32, byte: u32, tag: u8) {
        let mut tags = self.opened_tags(index).to_ne_bytes();
        if let Some(place) = tags.get_mut(byte as usize) {
            *place = tag;
        }
        let word = u64::from_ne_bytes(tags);
        let written = self.tags.borrow_mut().set(index, word, 0);
        self.note(maps::OPENED_TAGS, written);
    }

    fn heard(&self, index: u32) -> u64 {
        self.heard.borrow().get(&index, 0).unwrap_or(0)
    }

    fn set_heard(&self, index: u32, word: u64) {
        let written = self.heard.borrow_mut().set(index, word, 0);
        self.note(maps::HEARD, written);
    }
}
