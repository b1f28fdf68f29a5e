//! One frame, judged by the core on the host and by the loaded program: they must not differ in a byte.

use std::collections::BTreeMap;

use xdp_agent::datapath::{Datapath, Outcome, Ran};
use xdp_core::parse::{ETHERNET, TAG};
use xdp_core::tables::{Address, Block, SlotWord};
use xdp_core::verdict::{Redirect, Tables, Verdict, decide};
use xdp_plan::change::Change;
use xdp_plan::compile::Desired;
use xdp_plan::diff::diff;
use xdp_plan::installed::{Installed, RuleLabel};

use crate::bpffs::Bpffs;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

/// The kernel's shortest test packet: an Ethernet header.
pub(crate) const SHORTEST: usize = ETHERNET;

/// Tables in the kernel and the same on the host.
pub(crate) struct Judge {
    datapath: Datapath,
    host: Host,
    /// Packets by rule and by event that the kernel must have counted.
    rules: BTreeMap<u32, [u64; 5]>,
    events: BTreeMap<u32, u64>,
    pub(crate) verdicts: usize,
    _bpffs: Bpffs,
}

struct Host(Installed);

impl Tables for Host {
    fn slot(&self, destination: &Address) -> Option<u32> {
        self.0.addresses.get(destination).copied()
    }

    fn word(&self, slot: u32) -> Option<SlotWord> {
        self.0.words.get(&slot).copied()
    }

    fn alive(&self, slot: u32) -> bool {
        self.0.devices.contains_key(&slot)
    }

    fn block(&self, index: u32) -> Option<&Block> {
        self.0.blocks.get(&index)
    }
}

impl Judge {
    pub(crate) fn new(changes: &[Change]) -> Self {
        let bpffs = Bpffs::new();
        let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
        for outcome in datapath.apply(changes) {
            assert!(matches!(outcome, Outcome::Applied), "{outcome:?}");
        }
        let host = Host(datapath.installed().unwrap());
        Self {
            datapath,
            host,
            rules: BTreeMap::new(),
            events: BTreeMap::new(),
            verdicts: 0,
            _bpffs: bpffs,
        }
    }

    /// Other tables, as the agent would install them. All counters begin anew.
    pub(crate) fn install(&mut self, desired: &Desired) {
        for step in [&Desired::default(), desired] {
            let changes = diff(step, &self.host.0);
            for outcome in self.datapath.apply(&changes) {
                assert!(matches!(outcome, Outcome::Applied), "{outcome:?}");
            }
            self.host = Host(self.datapath.installed().unwrap());
            assert_eq!(diff(step, &self.host.0), Vec::new());
        }
        self.rules.clear();
    }

    /// The labels of the rules.
    pub(crate) fn rule_labels(&self) -> &BTreeMap<u32, RuleLabel> {
        &self.host.0.rules
    }

    /// The verdict that host and kernel agree on.
    pub(crate) fn verdict(&mut self, frame: &[u8]) -> Verdict {
        let verdict = decide(frame, &self.host);
        let ran = self.datapath.test_run(frame).unwrap();
        assert_eq!(ran, expected(&verdict, frame), "{verdict:?} for {frame:02x?}");
        if let Some((rule, field)) = verdict.counted() {
            self.rules.entry(rule).or_default()[field as usize] += 1;
        }
        if let Some(event) = verdict.event() {
            *self.events.entry(event).or_default() += 1;
        }
        self.verdicts += 1;
        verdict
    }

    /// Every packet is in exactly one field of its rule, and in its event.
    pub(crate) fn check_counters(&self) {
        let pinned = self.datapath.pinned();
        for (rule, expected) in &self.rules {
            let counters = pinned.rule_counters(*rule).unwrap();
            let fields = [
                counters.redirected,
                counters.passed,
                counters.dropped,
                counters.audited,
                counters.fell_back,
            ];
            assert_eq!(fields.map(|count| count.packets), *expected, "rule {rule}");
        }
        let events = pinned.events().unwrap();
        let events: BTreeMap<u32, u64> = events
            .into_iter()
            .map(|(code, count)| (code, count.packets))
            .collect();
        assert_eq!(events, self.events);
    }
}

fn expected(verdict: &Verdict, frame: &[u8]) -> Ran {
    match verdict {
        Verdict::Redirect(redirect) => Ran {
            action: XDP_REDIRECT,
            metadata: redirect.metadata.to_bytes().to_vec(),
            packet: redirected(redirect, frame),
        },
        verdict => Ran {
            action: if matches!(verdict, Verdict::Drop { .. }) {
                XDP_DROP
            } else {
                XDP_PASS
            },
            metadata: Vec::new(),
            packet: frame.to_vec(),
        },
    }
}

/// For the pod's MAC, without tags.
fn redirected(redirect: &Redirect, frame: &[u8]) -> Vec<u8> {
    let mut packet = redirect.mac.to_vec();
    packet.extend(&frame[6..12]);
    packet.extend(&frame[12 + TAG * redirect.tags as usize..]);
    packet
}
