//! The card's faults, at the request of the acceptance in the machine.

use std::{collections::BTreeMap, fs::File};

use anyhow::{Context as _, ensure};
use xdp_connectx::{Card, Counters, Finding, Profile, machine::Machine};
use xdp_e2e::acceptance::{CardControl, protocol::CardRequest};

/// The id of the card's slot.
pub(crate) const SLOT: &str = "nic0";

/// A machine and its card.
pub(crate) struct MachineCard {
    pub(crate) machine: Machine,
    card: Option<Card>,
    profile: Profile,
    tap: File,
    findings: Vec<Finding>,
}

impl MachineCard {
    pub(crate) fn new(machine: Machine, card: Card, profile: Profile, tap: File) -> Self {
        let card = Some(card);
        Self {
            machine,
            card,
            profile,
            tap,
            findings: Vec::new(),
        }
    }

    /// Returns what all cards so far have found.
    pub(crate) fn findings(&mut self) -> Vec<Finding> {
        if let Some(card) = &self.card {
            self.findings.extend(card.findings());
        }
        std::mem::take(&mut self.findings)
    }

    fn remove(&mut self) -> anyhow::Result<()> {
        let card = self.card.take().context("there is no card")?;
        self.findings.extend(card.findings());
        self.machine.remove(SLOT)?;
        Ok(())
    }

    fn insert(&mut self) -> anyhow::Result<()> {
        ensure!(self.card.is_none(), "there is a card already");
        let card = Card::insert(&self.machine.card_socket(SLOT), self.profile.clone())?;
        card.connect_tap(self.tap.try_clone()?)?;
        self.machine.insert_card(SLOT)?;
        self.card = Some(card);
        Ok(())
    }
}

impl CardControl for MachineCard {
    fn request(&mut self, request: &CardRequest) -> anyhow::Result<BTreeMap<String, u64>> {
        match request {
            CardRequest::Remove => self.remove()?,
            CardRequest::Insert => self.insert()?,
            other => {
                let card = self.card.as_ref().context("there is no card")?;
                match other {
                    CardRequest::SetLink(up) => card.set_link(*up),
                    CardRequest::Fail {
                        opcode,
                        status,
                        times,
                    } => card.fail(*opcode, *status, *times),
                    CardRequest::ReceiveQueueError => {
                        ensure!(
                            card.receive_queue_error(),
                            "no receive queue has received a frame"
                        );
                    }
                    CardRequest::FatalError => card.fatal_error(),
                    CardRequest::Counters | CardRequest::Remove | CardRequest::Insert => {
                        return Ok(counters(&card.counters()));
                    }
                }
            }
        }
        Ok(BTreeMap::new())
    }
}

fn counters(of: &Counters) -> BTreeMap<String, u64> {
    [
        ("received", of.received),
        ("received unicast", of.unicast()),
        ("sent", of.sent),
        ("sent unicast", of.sent_unicast()),
        ("unmatched", of.unmatched),
        ("out of buffer", of.out_of_buffer),
        ("queue not ready", of.queue_not_ready),
        ("segmented", of.segmented),
        ("multi packet", of.multi_packet),
        ("umr", of.umr),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
