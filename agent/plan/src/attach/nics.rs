//! Programs of NICs.

use std::collections::{BTreeMap, BTreeSet};

use super::{HookRefusal, Situation, ways_out::is_way_out};
use crate::{
    change::XdpAttach,
    desired::DesiredProgram,
    hook::{AttachPoint, Hook, Interface},
    installed::{HookState, Program},
    nics::{
        AttachRefusal, NicFacts, XdpMode, attach_problem, generic_mode, no_reply_path, not_native,
        peer_refused, preflight, reason, select,
    },
    report::Problem,
};

/// `ENODEV`: the interface is gone.
const ENODEV: i32 = 19;

/// The NICs that have or get the program, and what is in the way of others.
pub(super) struct Nics<'a> {
    situation: &'a Situation<'a>,
    pub(super) hooks: BTreeMap<AttachPoint, DesiredProgram>,
    pub(super) selected: Option<BTreeSet<String>>,
    pub(super) failures: Vec<Problem>,
    pub(super) notes: Vec<Problem>,
}

impl<'a> Nics<'a> {
    pub(super) fn new(situation: &'a Situation<'a>) -> Self {
        let mut nics = Self {
            situation,
            hooks: BTreeMap::new(),
            selected: None,
            failures: Vec::new(),
            notes: Vec::new(),
        };
        let Some(facts) = situation.nics else {
            let installed = situation.installed.hooks.keys();
            let of_nics = installed.filter(|point| point.hook.is_of_nic());
            nics.hooks = of_nics.map(|point| (*point, DesiredProgram::Unchanged)).collect();
            return nics;
        };
        let selection = select(facts, situation.selector);
        nics.failures.extend(selection.problems);
        nics.selected = Some(selection.nics.iter().map(|nic| nic.link.name.clone()).collect());
        for nic in &selection.nics {
            nics.decide(nic);
        }
        nics.keep_others(facts);
        nics.judge(facts);
        nics
    }

    /// A selected NIC.
    fn decide(&mut self, nic: &NicFacts) {
        let Situation {
            selector,
            installed,
            refused,
            page_size,
            ..
        } = *self.situation;
        let point = AttachPoint::new(Hook::Nic, nic.link.ifindex);
        let state = installed.hooks.get(&point);
        let attached = state.is_some_and(|state| state.program.is_attached());
        let problems = if refused.hooks.contains_key(&point) {
            let refusal = refused.attach(Hook::Nic, nic.link.ifindex).into_iter();
            let problem = |refusal: &HookRefusal| {
                let (errno, text) = (refusal.errno, refusal.kernel_text.as_str());
                attach_problem(nic, AttachRefusal { errno, text }, page_size)
            };
            refusal.map(problem).collect()
        } else {
            let own = state.and_then(|state| state.program_id);
            let problems = preflight(nic, own.as_slice(), page_size);
            let no_native = |problem: &Problem| problem.reason == reason::NO_NATIVE_XDP;
            let only_generic = !problems.is_empty() && problems.iter().all(no_native);
            if problems.is_empty() || only_generic && selector.allow_generic {
                if !self.is_released(nic, attached) {
                    self.hooks.insert(point, self.program(nic, only_generic));
                }
                return;
            }
            problems
        };
        self.failures.extend(problems);
        if attached {
            self.hooks.insert(point, DesiredProgram::Unchanged);
        }
    }

    fn is_released(&self, nic: &NicFacts, attached: bool) -> bool {
        let Situation {
            selector, release, ..
        } = *self.situation;
        release && attached && nic.link.xdp.mode == XdpMode::Generic && !selector.allow_generic
    }

    fn program(&self, nic: &NicFacts, only_generic: bool) -> DesiredProgram {
        DesiredProgram::Attached {
            interface: interface(nic.link.ifindex, &nic.link.name),
            mode: match (only_generic, self.situation.selector.allow_generic) {
                (true, _) => XdpAttach::Generic,
                (false, true) => XdpAttach::NativeOrGeneric,
                (false, false) => XdpAttach::Native,
            },
        }
    }

    /// NICs that have the program without being selected keep it until the agent starts again. A NIC that was
    /// moved into another network namespace loses it: there it would decide unseen.
    fn keep_others(&mut self, facts: &[NicFacts]) {
        let Situation {
            installed,
            refused,
            release,
            ..
        } = *self.situation;
        let is_here = |nic: u32| facts.iter().any(|facts| facts.link.ifindex == nic);
        for nic in installed.with(Hook::Nic) {
            let point = AttachPoint::new(Hook::Nic, nic);
            if is_here(nic) && !release || refused.hooks.contains_key(&point) {
                self.hooks.entry(point).or_insert(DesiredProgram::Unchanged);
            }
        }
    }

    /// Checks in netlink that the NICs run the program. Netlink is another source than the link that attached
    /// it.
    fn judge(&mut self, facts: &[NicFacts]) {
        for nic in facts {
            let point = AttachPoint::new(Hook::Nic, nic.link.ifindex);
            let Some(state) = self.situation.installed.hooks.get(&point) else {
                continue;
            };
            if !state.program.is_attached() {
                continue;
            }
            if nic.link.xdp.mode == XdpMode::Generic {
                self.notes.push(generic_mode(&nic.link.name));
            }
            let attached = matches!(self.hooks.get(&point), Some(DesiredProgram::Attached { .. }));
            if attached && self.is_other(nic, state) {
                self.failures.push(not_native(nic));
            }
        }
    }

    fn is_other(&self, nic: &NicFacts, state: &HookState) -> bool {
        let right_mode = match nic.link.xdp.mode {
            XdpMode::Native => true,
            XdpMode::Generic => self.situation.selector.allow_generic,
            XdpMode::None | XdpMode::Offload | XdpMode::Multi => false,
        };
        state.program == Program::Current && (!right_mode || nic.link.xdp.program_id != state.program_id)
    }

    /// Decides about the program that notes flows which pods open. Returns why no pod can rely on it, if none
    /// can: a pod relies on that program on every interface by which its packets leave the node.
    pub(super) fn reply_path(&mut self, needed: bool) -> Option<Problem> {
        let facts = self.situation.nics.unwrap_or_default().iter();
        let ways_out = facts.filter(|nic| is_way_out(nic));
        let mut interfaces = self.programmed();
        interfaces.extend(ways_out.map(|nic| nic.link.ifindex));
        self.companion(Hook::NicOut, &interfaces, needed, |name, refusal| {
            let message = refusal.explain(Hook::NicOut.program(), name);
            no_reply_path(name, &message, refusal.remedy(name))
        })
    }

    /// Decides about the program for delivery `Peer`. Returns why no pod can rely on it, if none can.
    pub(super) fn peer(&mut self, needed: bool) -> Option<Problem> {
        let nics = self.programmed();
        self.companion(Hook::NicPeer, &nics, needed, |name, refusal| {
            peer_refused(name, &refusal.explain(Hook::NicPeer.program(), name))
        })
    }

    /// Returns the NICs that have or get the program.
    pub(super) fn programmed(&self) -> BTreeSet<u32> {
        let points = self.hooks.keys().filter(|point| point.hook == Hook::Nic);
        points.map(|point| point.ifindex).collect()
    }

    fn companion(
        &mut self,
        hook: Hook,
        nics: &BTreeSet<u32>,
        needed: bool,
        problem: impl Fn(&str, &HookRefusal) -> Problem,
    ) -> Option<Problem> {
        let refused = &self.situation.refused;
        let refusals = nics.iter().filter_map(|nic| {
            // An interface that is gone sends nothing.
            let refusal = refused.attach(hook, *nic)?;
            let matters = refusal.errno != ENODEV || self.is_nic(*nic);
            Some(problem(self.name(*nic)?, refusal)).filter(|_| matters)
        });
        let refusals: Vec<Problem> = refusals.filter(|_| needed).collect();
        for nic in nics.iter().copied() {
            let point = AttachPoint::new(hook, nic);
            if refused.hooks.contains_key(&point) {
                self.hooks.insert(point, DesiredProgram::Unchanged);
            } else if needed && refusals.is_empty() {
                let program =
                    self.name(nic)
                        .map_or(DesiredProgram::Unchanged, |name| DesiredProgram::Attached {
                            interface: interface(nic, name),
                            mode: XdpAttach::default(),
                        });
                self.hooks.insert(point, program);
            }
        }
        let first = refusals.first().cloned();
        self.failures.extend(refusals);
        first
    }

    fn is_nic(&self, ifindex: u32) -> bool {
        self.hooks.contains_key(&AttachPoint::new(Hook::Nic, ifindex))
    }

    fn name(&self, ifindex: u32) -> Option<&'a str> {
        let mut nics = self.situation.nics?.iter();
        nics.find(|nic| nic.link.ifindex == ifindex)
            .map(|nic| nic.link.name.as_str())
    }
}

fn interface(ifindex: u32, name: &str) -> Interface {
    Interface {
        ifindex,
        name: name.to_owned(),
        netns_id: None,
    }
}
