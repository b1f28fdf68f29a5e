//! Runs each frame through the core on the host and through the loaded program: the results must be equal to
//! the byte.

use std::collections::{BTreeMap, BTreeSet};

use xdp_agent::datapath::{Datapath, Settings, TestRunResult};
use xdp_core::{
    events::{Fallback, FlowEvent},
    flows::{Direction, DrainScope, FlowPacket, drains, track_inbound},
    key::Scratch,
    metadata::Metadata,
    parse::{ETHERNET, TAG},
    reject::{Offender, turn},
    sources::{
        Routes, {self},
    },
    tables::{DEFAULT_FLOWS, RuleCounters},
    testing::{FrameBuffer, NIC},
    verdict::{Decision, Field, Redirect, Verdict, examine},
};
use xdp_plan::{
    change::{Change, ChangeResult},
    desired::Desired,
    diff::diff,
    installed::{Installed, RuleLabels},
    owners::Owners,
    policy::MarkMask,
};

use crate::{bpffs::Bpffs, known::Known, node::DEVICE};

pub(crate) const XDP_DROP: u32 = 1;
pub(crate) const XDP_PASS: u32 = 2;
pub(crate) const XDP_TX: u32 = 3;
pub(crate) const XDP_REDIRECT: u32 = 4;

/// The kernel's shortest test packet: an Ethernet header.
pub(crate) const SHORTEST: usize = ETHERNET;
/// No limit of answers.
const UNLIMITED: Settings = Settings {
    rejects_per_second: u32::MAX,
    flows: DEFAULT_FLOWS,
    mark_mask: MarkMask::ANY,
};
/// Fields of [`RuleCounters`].
const FIELDS: usize = 7;

/// Tables in the kernel, and the host that reads them.
pub(crate) struct Judge {
    datapath: Datapath,
    installed: Installed,
    /// Packets by rule and by event that the kernel must have counted.
    rules: BTreeMap<u32, [u64; FIELDS]>,
    events: BTreeMap<u32, u64>,
    known: Known,
    pub(crate) verdicts: usize,
    _bpffs: Bpffs,
}

impl Judge {
    pub(crate) fn new(changes: &[Change]) -> Self {
        let bpffs = Bpffs::new();
        let mut datapath = Datapath::open_with(&bpffs.pin_dir(), UNLIMITED).unwrap();
        datapath.reset_flow_limits(i32::MAX as u32, u32::MAX).unwrap();
        apply(&mut datapath, changes);
        Self {
            installed: datapath.installed().unwrap(),
            datapath,
            rules: BTreeMap::new(),
            events: BTreeMap::new(),
            known: Known::default(),
            verdicts: 0,
            _bpffs: bpffs,
        }
    }

    /// Installs other tables, as the agent does. All counters start at zero.
    pub(crate) fn install(&mut self, desired: &Desired) {
        for step in [&Desired::default(), desired] {
            let changes = diff(step, &self.installed);
            apply(&mut self.datapath, &changes);
            let after = self.datapath.pinned().installed_after(&self.installed, &changes);
            self.installed = self.datapath.installed().unwrap();
            assert_eq!(
                after.unwrap(),
                self.installed,
                "what was not written is as it was"
            );
            assert_eq!(diff(step, &self.installed), Vec::new());
        }
        self.rules.clear();
        // No table gets so full that the kernel evicts.
        let everything = self
            .datapath
            .purge_flows(&Owners::default(), &BTreeSet::new(), false);
        everything.unwrap();
        self.known = Known::default();
    }

    /// The labels of the rules.
    pub(crate) fn rule_labels(&self) -> &RuleLabels {
        &self.installed.rules
    }

    /// Returns the verdict of host and kernel, before rate limits and flows.
    pub(crate) fn verdict(&mut self, frame: &[u8]) -> Verdict {
        let live = self.datapath.pinned().live();
        let mut scratch = Scratch::uninit();
        let decision = examine(frame, live, &mut scratch).predicted(live);
        let (verdict, limited) = (decision.verdict(), decision.limit().is_some());
        let ran = self.datapath.test_run(frame).unwrap();
        let (executed, event) = if limited && ran == plain(XDP_DROP, frame) {
            let rule = verdict.rule().unwrap();
            (Verdict::Limited { rule }, None)
        } else {
            let (executed, event, expected) = executed(frame, &decision, &self.known);
            assert_eq!(ran, expected, "{verdict:?}, {event:?} for {frame:02x?}");
            (executed, event)
        };
        if let Some((rule, field)) = executed.counted() {
            self.rules.entry(rule).or_default()[field as usize] += 1;
        }
        let counted = self
            .known
            .take_counted()
            .into_iter()
            .chain(event)
            .map(FlowEvent::code);
        for code in counted.chain(executed.event()) {
            *self.events.entry(code).or_default() += 1;
        }
        self.verdicts += 1;
        verdict
    }

    /// Every packet is in exactly one field of its rule, and in its event.
    pub(crate) fn check_counters(&self) {
        let pinned = self.datapath.pinned();
        for (rule, expected) in &self.rules {
            let counters = pinned.rule_counters(*rule).unwrap();
            assert_eq!(packets(counters), *expected, "rule {rule}");
        }
        let events = pinned.events().unwrap();
        // The agent counts what it deletes behind the events of tracked flows.
        let of_agent = FlowEvent::Restored.code() + 1..64;
        let events: BTreeMap<u32, u64> = events
            .into_iter()
            .filter(|(code, _)| !of_agent.contains(code))
            .map(|(code, count)| (code, count.packets))
            .collect();
        assert_eq!(events, self.events);
    }
}

/// Returns the verdict after the look-up of the flow, the flow's event, and the expected run.
fn executed(
    frame: &[u8],
    decision: &Decision<'_>,
    known: &Known,
) -> (Verdict, Option<FlowEvent>, TestRunResult) {
    let (verdict, slot) = (decision.verdict(), decision.trace.slot);
    let packet = || {
        let view = decision.key().unwrap().view();
        FlowPacket::of(frame, &view, Direction::ToPod)
    };
    // The NIC of the test runs asks no routes.
    let admit = || {
        let source = decision.key().unwrap().source();
        sources::check(source, NIC.receiver, &NoRoutes)
    };
    if let Verdict::Redirect(redirect) | Verdict::Peer(redirect) = verdict {
        let rule = redirect.metadata.rule();
        let fall_back = |reason| (Verdict::FallBack { rule, reason }, None, plain(XDP_PASS, frame));
        if matches!(verdict, Verdict::Peer(_)) && redirect.tags > 1 {
            // The second tag would be lost behind the stack's entry. So it begins no flow.
            return fall_back(Fallback::NoUntag);
        }
        return match track_inbound(&packet(), slot, known, admit) {
            Err(reason) => fall_back(reason),
            Ok(event) => (verdict, Some(event), expected(&verdict, frame)),
        };
    }
    let event = match decision.drain_scope(decision.outcome.kind) {
        DrainScope::Nothing => None,
        scope @ (DrainScope::IcmpErrors | DrainScope::Established) => {
            let drained = drains(&packet(), scope, slot, known);
            drained.filter(|event| *event != FlowEvent::ErrorIn || admit().is_ok())
        }
    };
    let delivered = event.and_then(|event| Some((event, decision.target()?)));
    match delivered {
        Some((event, (mac, tags))) => {
            let packet = for_pod(mac, tags, frame);
            let ran = TestRunResult {
                packet,
                ..plain(XDP_REDIRECT, frame)
            };
            (verdict, Some(event), ran)
        }
        None => (verdict, None, expected(&verdict, frame)),
    }
}

/// Where nothing asks for routes.
struct NoRoutes;

impl Routes for NoRoutes {
    fn forward(&self, _: u32) -> Option<u32> {
        unreachable!()
    }

    fn back(&self, _: u32) -> Option<u32> {
        unreachable!()
    }

    fn leaves(&self, _: u32) -> bool {
        unreachable!()
    }
}

pub(crate) fn apply(datapath: &mut Datapath, changes: &[Change]) {
    for (change, outcome) in changes.iter().zip(datapath.apply(changes)) {
        assert!(
            matches!(outcome, ChangeResult::Applied),
            "{change:?}: {outcome:?}"
        );
    }
}

/// In the order of [`Field`].
fn packets(mut counters: RuleCounters) -> [u64; FIELDS] {
    [
        Field::Redirected,
        Field::Passed,
        Field::Dropped,
        Field::Rejected,
        Field::Limited,
        Field::Audited,
        Field::FellBack,
    ]
    .map(|field| field.of(&mut counters).packets)
}

fn expected(verdict: &Verdict, frame: &[u8]) -> TestRunResult {
    match verdict {
        Verdict::Redirect(redirect) => TestRunResult {
            action: XDP_REDIRECT,
            metadata: redirect.metadata.to_bytes().to_vec(),
            packet: redirected(redirect, frame),
        },
        Verdict::Peer(redirect) => TestRunResult {
            metadata: for_peer(redirect).to_bytes().to_vec(),
            ..plain(XDP_PASS, frame)
        },
        Verdict::Reject { offender, .. } => TestRunResult {
            packet: answer(frame, offender),
            ..plain(XDP_TX, frame)
        },
        Verdict::Drop { .. }
        | Verdict::RejectedSilently { .. }
        | Verdict::Limited { .. }
        | Verdict::UnparsedDrop(_) => plain(XDP_DROP, frame),
        Verdict::Unparsed(_)
        | Verdict::NotConsidered
        | Verdict::Foreign(_)
        | Verdict::NoMatch
        | Verdict::Pass { .. }
        | Verdict::Audit { .. }
        | Verdict::FallBack { .. }
        | Verdict::Drained
        | Verdict::OwnConnection => plain(XDP_PASS, frame),
    }
}

/// Returns the run of a packet that is not changed.
fn plain(action: u32, frame: &[u8]) -> TestRunResult {
    TestRunResult {
        action,
        metadata: Vec::new(),
        packet: frame.to_vec(),
    }
}

fn for_peer(redirect: &Redirect) -> Metadata {
    redirect.metadata.for_peer(DEVICE)
}

/// Returns the frame with the pod's MAC address, without tags.
fn redirected(redirect: &Redirect, frame: &[u8]) -> Vec<u8> {
    for_pod(redirect.mac, redirect.tags, frame)
}

fn for_pod(mac: [u8; 6], tags: u32, frame: &[u8]) -> Vec<u8> {
    let mut packet = mac.to_vec();
    packet.extend(&frame[6..12]);
    packet.extend(&frame[12 + TAG * tags as usize..]);
    packet
}

/// Returns the answer that the core makes on the host.
fn answer(frame: &[u8], offender: &Offender) -> Vec<u8> {
    let mut answer = FrameBuffer::new(frame);
    turn(&mut answer, offender).unwrap();
    answer.bytes
}
