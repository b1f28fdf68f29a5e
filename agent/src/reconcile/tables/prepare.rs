//! What is there before tables lead to it: the programs beside ours, and pods' interfaces.

use std::collections::BTreeMap;

use xdp_plan::{drain::Draining, facts::Deliveries, report::Problem, targets::Targets};

use crate::{
    datapath::Datapath,
    reconcile::{
        flows::carry,
        interfaces::Interfaces,
        nics::{
            NicNeeds, ReplyPath, {self},
        },
        pods::{
            Obstacles, {self},
        },
        tables::Tools,
    },
};

/// Programs beside ours.
#[derive(Clone, Copy)]
pub(super) struct Needs {
    pub(super) peer: bool,
    pub(super) reply_path: bool,
}

impl Needs {
    pub(super) fn of(Targets { targets, .. }: &Targets, draining: &[Draining]) -> Self {
        let peer = targets.iter().any(|target| target.wants_peer);
        let redirects = targets.iter().any(|target| target.wants_redirect);
        Self {
            peer,
            reply_path: redirects || peer || !draining.is_empty(),
        }
    }

    /// What could not be changed (`failed`) may still refer to the programs for it.
    pub(super) const fn of_nics(self, failed: bool, refused: bool) -> NicNeeds {
        NicNeeds {
            peer: self.peer || failed,
            reply_path: match refused {
                _ if !self.reply_path && !failed => ReplyPath::NotNeeded,
                false => ReplyPath::Needed,
                true => ReplyPath::Refused,
            },
        }
    }
}

/// What has to be there before rules may lead to it.
pub(super) struct Prepared {
    pub(super) deliveries: BTreeMap<u32, Deliveries>,
    pub(super) failures: Vec<Problem>,
    /// Some NIC refuses the program of the reply path.
    pub(super) refused: bool,
}

pub(super) fn prepare(
    tools: &mut Tools<'_>,
    needs: Needs,
    (targets, draining): (&Targets, &[Draining]),
) -> Prepared {
    let (datapath, interfaces) = (&mut *tools.datapath, &mut *tools.interfaces);
    let peers = peers_of(datapath, needs.peer, interfaces);
    let ways = ways_of(datapath, needs.reply_path, (interfaces, tools.ways));
    let carried = carry(datapath);
    let going_on = draining.iter().map(|draining| &draining.target);
    let obstacles = Obstacles {
        peers: &peers,
        ways: &ways,
    };
    let deliveries = pods::prepare(
        (datapath, tools.namespaces),
        targets.targets.iter().chain(going_on),
        obstacles,
        &mut interfaces.ready,
    );
    Prepared {
        deliveries,
        failures: peers.into_iter().chain(carried).collect(),
        refused: !ways.is_empty(),
    }
}

/// What keeps delivery `Peer` from NICs that carry our program.
fn peers_of(datapath: &mut Datapath, needed: bool, interfaces: &Interfaces) -> Vec<Problem> {
    let have = interfaces.nics.is_some_and(|nics| nics.peer);
    if !needed || have {
        return Vec::new();
    }
    nics::attach_peers(datapath)
}

/// What keeps replies from their way on NICs that carry our program, or are about to.
fn ways_of(
    datapath: &mut Datapath,
    needed: bool,
    (interfaces, refused): (&Interfaces, &[Problem]),
) -> Vec<Problem> {
    let have = interfaces.nics.map(|nics| nics.reply_path);
    if !needed || have == Some(ReplyPath::Needed) {
        return Vec::new();
    }
    let mut problems = nics::attach_ways(datapath);
    problems.extend(refused.iter().cloned());
    problems
}
