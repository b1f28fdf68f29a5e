//! Reads back what is attached.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::Arc,
};

use xdp_plan::{
    facts::Pair,
    hook::{AttachPoint, Hook},
    installed::{Attachments, HookState, Means, OtherProgram, PodInterface, Program},
    nics::{XdpMode, XdpState},
};

use crate::{
    datapath::{
        Datapath,
        error::OpenError,
        hooks::{
            classifier::{
                clsact, direction, {self},
            },
            link,
        },
        kernel::sys::{
            LinkKind, {self},
        },
    },
    node::{
        netlink::{
            NetlinkError, {self},
        },
        netns::Netns,
        readiness,
    },
};

/// A pod's interface, and what the hook of the reader holds.
#[derive(Clone, Debug)]
pub struct PodReading {
    /// The interface.
    pub interface: PodInterface,
    /// The hook of the reader.
    pub reader: HookState,
}

impl Datapath {
    /// Reads all hooks with a pin of this directory. The readers' interfaces are read by
    /// [`Datapath::read_pod`].
    pub fn attachments(&self) -> Result<Attachments, OpenError> {
        let pins = &self.pinned.pins;
        let list = |error| OpenError::pin("list", &pins.abi(), error);
        let xdp = xdp_states().unwrap_or_default();
        let mut hooks = BTreeMap::new();
        for hook in Hook::ALL {
            let mut pinned = classifier::pinned(pins, hook).map_err(list)?;
            if hook == Hook::Nic {
                pinned.extend(pins.probes().map_err(list)?);
            }
            for ifindex in pinned {
                let point = AttachPoint::new(hook, ifindex);
                let state = self.state(point, &xdp).unwrap_or_else(|_| stale());
                hooks.insert(point, Arc::new(state));
            }
        }
        Ok(Attachments {
            hooks,
            pods: BTreeMap::new(),
            gro_notes: pins.gros().map_err(list)?.into_iter().collect::<BTreeSet<u32>>(),
            noted: self.noted.clone(),
            migrating: self.migrating(),
        })
    }

    /// Reads one hook of an interface of the calling thread's namespace.
    pub fn read_hook(&self, point: AttachPoint) -> HookState {
        let xdp = match point.hook {
            Hook::Nic => xdp_states().unwrap_or_default(),
            _ => BTreeMap::new(),
        };
        self.state(point, &xdp).unwrap_or_else(|_| stale())
    }

    /// Lists the ids of the programs at a tcx hook of an interface of the calling thread's namespace, in
    /// their order. Empty without tcx.
    pub fn tcx_programs(&self, point: AttachPoint) -> Vec<u32> {
        sys::tcx_programs(point.ifindex, direction(point.hook)).unwrap_or_default()
    }

    /// Reads a pod's interface, and the hook of its reader.
    pub fn read_pod(&mut self, pair: &Pair) -> PodReading {
        let point = AttachPoint::new(Hook::PodReader, pair.host.ifindex);
        let (interface, netns) = readiness::read(pair, &mut self.namespaces);
        let mut reader = self.state(point, &BTreeMap::new()).unwrap_or_else(|_| stale());
        if let Some(netns) = &netns {
            self.read_reader(netns, pair, &mut reader);
        }
        PodReading { interface, reader }
    }

    /// What only the pod's namespace shows of the hook of its reader.
    fn read_reader(&self, netns: &Netns, pair: &Pair, state: &mut HookState) {
        let point = AttachPoint::new(Hook::PodReader, pair.host.ifindex);
        let link = link::open(&self.pinned.pins.link(point.hook, point.ifindex));
        let filter = state.means == Some(Means::Clsact);
        let read = || -> io::Result<(bool, Others)> {
            if filter {
                let others = filters(pair.pod.ifindex, point.hook)?;
                return Ok((clsact::is_attached(pair.pod.ifindex, point.hook)?, others));
            }
            let here = LinkKind::Tcx {
                ifindex: pair.pod.ifindex,
                attach_type: direction(point.hook).tcx(),
            };
            let info = link?.map(sys::link_info).transpose()?;
            let others = tcx(pair.pod.ifindex, point.hook, state.program_id)?;
            Ok((info.is_some_and(|info| info.kind == here), others))
        };
        let Ok(Ok((is_attached, (before, after)))) = netns.run(read) else {
            return;
        };
        if !is_attached && state.program.is_attached() {
            *state = stale();
        }
        (state.before, state.after) = (before, after);
    }

    fn state(&self, point: AttachPoint, xdp: &BTreeMap<u32, XdpState>) -> io::Result<HookState> {
        let pins = &self.pinned.pins;
        let AttachPoint { hook, ifindex } = point;
        if let Some(link) = link::open(&pins.link(hook, ifindex))? {
            let info = sys::link_info(link)?;
            return self.linked(point, info, xdp);
        }
        if hook == Hook::Nic
            && let Some(probe) = link::open(&pins.probe(ifindex))?
        {
            let mut state = self.linked(point, sys::link_info(probe)?, xdp)?;
            if state.program.is_attached() {
                // Even after it was replaced: its pin has to be renamed.
                state.program = Program::Outdated;
            }
            return Ok(state);
        }
        let pin = pins.filter(hook, ifindex);
        if hook != Hook::Nic && pin.exists() {
            return self.filtered(point, &pin);
        }
        let (before, after) = match hook {
            Hook::Nic => others_of_xdp(xdp.get(&ifindex), None),
            Hook::PodReader => (Vec::new(), Vec::new()),
            _ => tcx(ifindex, hook, None)?,
        };
        Ok(HookState {
            before,
            after,
            ..HookState::default()
        })
    }

    fn linked(
        &self,
        AttachPoint { hook, ifindex }: AttachPoint,
        info: sys::LinkInfo,
        xdp: &BTreeMap<u32, XdpState>,
    ) -> io::Result<HookState> {
        let id = Some(info.program_id);
        let (means, (before, after)) = match info.kind {
            LinkKind::Xdp { ifindex: there } if hook == Hook::Nic && there == ifindex => {
                let state = xdp.get(&ifindex);
                let generic = state.is_some_and(|state| state.mode == XdpMode::Generic);
                let means = if generic { Means::Generic } else { Means::Native };
                (means, others_of_xdp(state, id))
            }
            // The index of a reader's interface is one of another namespace.
            LinkKind::Tcx {
                ifindex: 1..,
                attach_type,
            } if hook == Hook::PodReader && attach_type == direction(hook).tcx() => {
                (Means::Tcx, (Vec::new(), Vec::new()))
            }
            LinkKind::Tcx {
                ifindex: there,
                attach_type,
            } if there == ifindex && attach_type == direction(hook).tcx() => {
                (Means::Tcx, tcx(ifindex, hook, id)?)
            }
            _ => return Ok(stale()),
        };
        Ok(HookState {
            program: self.version(hook, info.program_id)?,
            program_id: id,
            means: Some(means),
            before,
            after,
        })
    }

    /// A filter cannot be pinned: the pinned program names the version, the kernel's list says whether it is
    /// there.
    fn filtered(&self, AttachPoint { hook, ifindex }: AttachPoint, pin: &Path) -> io::Result<HookState> {
        let info = sys::program_info(sys::open_pin(pin)?)?;
        let others = if hook == Hook::PodReader {
            (Vec::new(), Vec::new())
        } else if clsact::is_attached(ifindex, hook)? {
            filters(ifindex, hook)?
        } else {
            return Ok(stale());
        };
        Ok(HookState {
            program: self.version(hook, info.id)?,
            program_id: Some(info.id),
            means: Some(Means::Clsact),
            before: others.0,
            after: others.1,
        })
    }

    fn version(&self, hook: Hook, program_id: u32) -> io::Result<Program> {
        let info = sys::program_info(sys::program_by_id(program_id)?)?;
        let current = self.programs.loaded(hook).is_ok_and(|loaded| loaded.is(&info));
        Ok(if current {
            Program::Current
        } else {
            Program::Outdated
        })
    }
}

/// Other programs before and after the agent's.
type Others = (Vec<OtherProgram>, Vec<OtherProgram>);

fn stale() -> HookState {
    HookState {
        program: Program::Stale,
        ..HookState::default()
    }
}

fn xdp_states() -> Result<BTreeMap<u32, XdpState>, NetlinkError> {
    let links = netlink::host_links()?;
    Ok(links.into_iter().map(|link| (link.ifindex, link.xdp)).collect())
}

fn others_of_xdp(state: Option<&XdpState>, own: Option<u32>) -> Others {
    let id = state
        .and_then(|state| state.program_id)
        .filter(|id| Some(*id) != own);
    (
        id.map(|id| OtherProgram::Program { id }).into_iter().collect(),
        Vec::new(),
    )
}

fn tcx(ifindex: u32, hook: Hook, own: Option<u32>) -> io::Result<Others> {
    let ids = sys::tcx_programs(ifindex, direction(hook))?;
    let position = ids.iter().position(|id| Some(*id) == own);
    let program = |id: &u32| OtherProgram::Program { id: *id };
    let before = ids
        .iter()
        .take(position.unwrap_or(ids.len()))
        .map(program)
        .collect();
    let after = ids
        .iter()
        .skip(position.map_or(ids.len(), |own| own + 1))
        .map(program)
        .collect();
    Ok((before, after))
}

/// The kernel lists filters in the order in which they run: by priority, and the newest of a priority first.
pub(super) fn filters(ifindex: u32, hook: Hook) -> io::Result<Others> {
    let own = clsact::filter(hook);
    let egress = direction(hook) == sys::Direction::Egress;
    let mut filters = netlink::clsact_filters(ifindex, egress).map_err(io::Error::other)?;
    // The kernel lists a classifier's own header, too, without a handle.
    filters.retain(|filter| filter.handle != 0);
    let position = filters.iter().position(|filter| *filter == own);
    let mut before: Vec<_> = filters.drain(..position.unwrap_or(filters.len())).collect();
    let mut after = filters;
    before.retain(|filter| !clsact::is_ours(*filter));
    after.retain(|filter| !clsact::is_ours(*filter));
    let others = |filters: Vec<netlink::TcFilter>| {
        let other = |filter: netlink::TcFilter| OtherProgram::Filter {
            priority: filter.priority,
            handle: filter.handle,
        };
        filters.into_iter().map(other).collect()
    };
    Ok((others(before), others(after)))
}
