//! Flows that their pods have answered: packets that are fed have no pod that does.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, Map, MapData};
use xdp_core::tables::{ABI_VERSION, Address, FlowKey, maps};

use super::{Testbed, app};
use crate::{
    shared::FrameBytes,
    workload::{TestFlow, Workload, address},
};

/// Twice the largest set of flows: the kernel evicts from such a table before it is quite full.
pub const FLOWS: &str = "131072";

/// As the kernel keeps it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct FlowMapKey(FlowKey);
#[expect(unsafe_code, reason = "a promise to aya about plain bytes")]
// SAFETY: every field is a number or two, and there is no padding.
unsafe impl aya::Pod for FlowMapKey {}

impl FlowMapKey {
    /// From an address and port to a pod's.
    pub fn new((remote, remote_port): (IpAddr, u16), (pod, pod_port): (IpAddr, u16), protocol: u8) -> Self {
        Self(FlowKey {
            remote: mapped(remote),
            pod: mapped(pod),
            remote_port,
            pod_port,
            protocol: protocol.into(),
        })
    }

    fn of(workload: &Workload, flow: &TestFlow) -> Self {
        let pod = workload.targets[flow.target].address;
        let remote = (address(flow.source), flow.from_port);
        Self::new(remote, (pod, flow.port), flow.protocol)
    }
}

impl Testbed<'_> {
    /// The flows' frames, as [`frame`](Self::frame) makes them. From now on the product takes the flows for known ones.
    pub fn frames(&self, workload: &Workload, flows: &[TestFlow]) -> Result<Vec<FrameBytes>> {
        let status = self.agent.status().context("the agent has no status")?;
        let slots: Vec<Option<u64>> = (0..workload.targets.len())
            .map(|target| status.pod(&app(workload, target))?["slot"].as_u64())
            .collect();
        let mut known = self.known()?;
        for flow in flows {
            // A pod without rules has no slot.
            if let Some(slot) = slots[flow.target] {
                known.insert(FlowMapKey::of(workload, flow), slot, 0)?;
            }
        }
        Ok(flows.iter().map(|flow| self.frame(workload, flow)).collect())
    }

    /// How many of them the product has forgotten.
    pub fn forgotten(&self, workload: &Workload, flows: &[TestFlow]) -> Result<usize> {
        let known = self.known()?;
        let is_gone = |flow: &&TestFlow| known.get(&FlowMapKey::of(workload, flow), 0).is_err();
        Ok(flows.iter().filter(is_gone).count())
    }

    /// The product's table of them.
    pub fn known(&self) -> Result<HashMap<MapData, FlowMapKey, u64>> {
        let folder = self.pins.join(format!("abi-{ABI_VERSION}/maps"));
        let table = MapData::from_pin(folder.join(maps::ESTABLISHED))?;
        Ok(HashMap::try_from(Map::LruHashMap(table))?)
    }
}

fn mapped(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(v4) => Address::v4(v4.octets()),
        IpAddr::V6(v6) => Address::v6(v6.octets()),
    }
}
