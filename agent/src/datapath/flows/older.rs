//! Notes the connections that pods have opened before the programs saw their packets.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    net::IpAddr,
};

use aya::maps::MapError;
use xdp_core::{
    flows::{EPOCH_SHIFT, OpenedStore, note_opened},
    tables::{Config, OPENED_WAYS, OpenedSet, maps},
};
use xdp_plan::{
    change::Change,
    connections::{TrackedConnection, opened},
    hook::Interface,
};

use crate::{
    datapath::{Datapath, error::ApplyError, kernel::plain::Plain, tables::PinnedTables},
    node::{
        clock::jiffies,
        netlink::{conntrack, sockets::sockets},
    },
};

/// The node's connection tracking, listed once for all pods of a list of changes.
pub(in crate::datapath) struct Tracked<'a> {
    changes: &'a [Change],
    connections: Option<Vec<TrackedConnection>>,
}

impl<'a> Tracked<'a> {
    pub(in crate::datapath) const fn new(changes: &'a [Change]) -> Self {
        Self {
            changes,
            connections: None,
        }
    }

    fn list(&mut self) -> Result<&[TrackedConnection], ApplyError> {
        if self.connections.is_none() {
            let pods = self.changes.iter().filter_map(|change| match change {
                Change::NoteConnections { addresses, .. } => Some(addresses),
                _ => None,
            });
            let listed = conntrack::connections(&pods.flatten().copied().collect());
            self.connections = Some(listed.map_err(ApplyError::Connections)?);
        }
        Ok(self.connections.as_deref().unwrap_or_default())
    }
}

impl Datapath {
    /// Notes the connections that a pod has opened. Its programs see what it opens from now on.
    pub(in crate::datapath) fn note_connections(
        &mut self,
        (host, interface): (u32, &Interface),
        addresses: &BTreeSet<IpAddr>,
        tracked: &mut Tracked<'_>,
    ) -> Result<(), ApplyError> {
        let netns = self.netns(interface)?;
        let listed = netns.run(sockets).map_err(ApplyError::Namespace)?;
        let connections = opened(
            addresses,
            tracked.list()?,
            &listed.map_err(ApplyError::Connections)?,
        );
        let config = self.pinned.config()?;
        let store = Opened::new(&mut self.pinned.tables, config);
        for key in &connections {
            note_opened(key, &store);
        }
        store.done()?;
        self.noted.insert(host);
        tracing::debug!(
            host_ifindex = host,
            connections = connections.len(),
            "noted the connections that the pod had opened"
        );
        Ok(())
    }
}

/// The tables of connections that pods opened. The programs write to them at the same time: a word that one
/// of them writes between a reading and a writing of its element is lost.
struct Opened<'a> {
    tables: RefCell<&'a mut PinnedTables>,
    seed: u64,
    epoch: u64,
    failed: Cell<Option<ApplyError>>,
}

impl<'a> Opened<'a> {
    fn new(tables: &'a mut PinnedTables, config: Config) -> Self {
        Self {
            tables: RefCell::new(tables),
            seed: config.seed,
            epoch: jiffies() >> EPOCH_SHIFT,
            failed: Cell::new(None),
        }
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

impl OpenedStore for Opened<'_> {
    fn seed(&self) -> u64 {
        self.seed
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn opened(&self, set: u32) -> Option<[u64; OPENED_WAYS]> {
        let Plain(OpenedSet { words }) = self.tables.borrow().opened.get(&set, 0).ok()?;
        Some(words)
    }

    fn set_opened(&self, set: u32, way: u32, word: u64) {
        let mut words = self.opened(set).unwrap_or_default();
        if let Some(place) = words.get_mut(way as usize) {
            *place = word;
        }
        let written = self
            .tables
            .borrow_mut()
            .opened
            .set(set, Plain(OpenedSet { words }), 0);
        self.note(maps::OPENED, written);
    }

    fn heard(&self, index: u32) -> u64 {
        self.tables.borrow().heard.get(&index, 0).unwrap_or(0)
    }

    fn set_heard(&self, index: u32, word: u64) {
        let written = self.tables.borrow_mut().heard.set(index, word, 0);
        self.note(maps::HEARD, written);
    }
}
