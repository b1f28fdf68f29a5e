//! A device of a machine, its wire, and its faults at the request of the acceptance.

use std::{collections::BTreeMap, process::Command, time::Duration};

use anyhow::{bail, ensure};
use xdp_connectx::{
    Card, CardCounters, Finding, Profile,
    machine::{Machine, MachineBuilder, QemuNic},
};
use xdp_e2e::acceptance::{CardControl, protocol::CardRequest};
use xdp_lab::{Lab, Namespace};

/// The limit for a command.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the acceptance is about.
#[derive(Clone, Debug)]
pub(crate) enum Device {
    /// A ConnectX in software.
    Card(Profile),
    /// A device of QEMU's own.
    Qemu {
        model: &'static str,
        queues: u32,
        properties: Vec<String>,
    },
}

/// A device with its wire.
pub(crate) struct Plugged {
    id: String,
    pub(crate) mac: String,
    pub(crate) wire: Namespace,
    pub(crate) tap: String,
    card: Option<Card>,
}

/// The faults of a device.
pub(crate) struct Faults<'a> {
    pub(crate) device: &'a Plugged,
    pub(crate) machine: &'a mut Machine,
}

impl Device {
    /// Adds the device to a machine. QEMU opens the wires of its own devices in the namespace `here`.
    pub(crate) fn plug(
        &self,
        mut builder: MachineBuilder,
        lab: &Lab,
        here: &Namespace,
        number: u8,
    ) -> (MachineBuilder, Plugged) {
        let (id, tap) = (format!("nic{number}"), format!("tap{number}"));
        let mac = [0x02, 0x15, 0xb3, 0, 0, number + 1];
        let text = mac.map(|byte| format!("{byte:02x}")).join(":");
        let wire = lab.namespace(&format!("wire{number}")).unwrap();
        let card = match self {
            Self::Card(profile) => {
                let card = Card::insert(&builder.card(&id), profile.clone().with_mac(mac)).unwrap();
                card.connect_tap(wire.tap(&tap).unwrap()).unwrap();
                Some(card)
            }
            Self::Qemu {
                model,
                queues,
                properties,
            } => {
                add_tap(here, &tap, *queues > 1);
                builder = builder.nic(QemuNic {
                    id: id.clone(),
                    model: (*model).to_owned(),
                    mac: text.clone(),
                    tap: tap.clone(),
                    queues: *queues,
                    properties: properties.clone(),
                });
                None
            }
        };
        (
            builder,
            Plugged {
                id,
                mac: text,
                wire,
                tap,
                card,
            },
        )
    }
}

impl Plugged {
    /// Moves the wire into a namespace of its own: all peers have the same addresses.
    pub(crate) fn lay_wire(&self, here: &Namespace) {
        if self.card.is_none() {
            here.run(|| self.wire.adopt(&self.tap)).unwrap().unwrap();
        }
    }

    /// Returns what the card has found.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        self.card.as_ref().map_or_else(Vec::new, Card::findings)
    }
}

fn add_tap(namespace: &Namespace, tap: &str, multi_queue: bool) {
    let mut command = Command::new("ip");
    command.args(["tuntap", "add", tap, "mode", "tap"]);
    command.args(multi_queue.then_some("multi_queue"));
    assert!(
        namespace
            .spawn(command)
            .unwrap()
            .wait(PATIENCE)
            .unwrap()
            .success()
    );
}

impl CardControl for Faults<'_> {
    fn request(&mut self, request: &CardRequest) -> anyhow::Result<BTreeMap<String, u64>> {
        let Some(card) = &self.device.card else {
            let CardRequest::SetLink(up) = request else {
                bail!("a device of QEMU's own has no such fault: {request:?}");
            };
            self.machine.set_link(&self.device.id, *up)?;
            return Ok(BTreeMap::new());
        };
        match request {
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
            CardRequest::Counters => return Ok(counters(&card.counters())),
        }
        Ok(BTreeMap::new())
    }
}

fn counters(of: &CardCounters) -> BTreeMap<String, u64> {
    [
        ("received", of.received),
        ("sent", of.sent),
        ("unmatched", of.unmatched),
        ("dropped by rule", of.dropped_by_rule),
        ("too long", of.too_long),
        ("too short", of.too_short),
        ("link down", of.link_down),
        ("out of buffer", of.out_of_buffer),
        ("queue not ready", of.queue_not_ready),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
