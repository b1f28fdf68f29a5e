//! Adds flows to the product's flow table, because no pod replies to fed packets.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use aya::maps::{HashMap, Map, MapData};
use xdp_core::tables::{ABI_VERSION, Address, FlowKey, maps};

use super::{Testbed, app};
use crate::{
    shared::FrameBytes,
    workload::{TestFlow, Workload, address},
};

/// Twice the largest set of flows, because the kernel evicts entries of an LRU map before it is full.
pub const FLOWS: &str = "131072";

/// A key of the flow table.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct FlowMapKey(FlowKey);
#[expect(unsafe_code, reason = "a promise to aya about plain bytes")]
// SAFETY: every field is a number or two, and there is no padding.
unsafe impl aya::Pod for FlowMapKey {}

impl FlowMapKey {
    /// Creates the key of a flow between a remote address and a pod.
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
    /// Returns the flows' frames, as [`frame`](Self::frame) does, and adds the flows to the flow table.
    pub fn frames(&self, workload: &Workload, flows: &[TestFlow]) -> Result<Vec<FrameBytes>> {
        let status = self.agent.status().context("the agent has no status")?;
        let slots: Vec<Option<u64>> = (0..workload.targets.len())
            .map(|target| status.pod(&app(workload, target))?["slot"].as_u64())
            .collect();
        let mut established = self.established_flows()?;
        for flow in flows {
            // A pod without rules has no slot.
            if let Some(slot) = slots[flow.target] {
                established.insert(FlowMapKey::of(workload, flow), slot, 0)?;
            }
        }
        Ok(flows.iter().map(|flow| self.frame(workload, flow)).collect())
    }

    /// Returns how many of the flows are no longer tracked.
    pub fn count_untracked(&self, workload: &Workload, flows: &[TestFlow]) -> Result<usize> {
        let established = self.established_flows()?;
        let is_gone = |flow: &&TestFlow| established.get(&FlowMapKey::of(workload, flow), 0).is_err();
        Ok(flows.iter().filter(is_gone).count())
    }

    /// Opens the product's table of established flows.
    pub fn established_flows(&self) -> Result<HashMap<MapData, FlowMapKey, u64>> {
        let folder = self.pins.join(format!("abi-{ABI_VERSION}/maps"));
        let table = MapData::from_pin(folder.join(maps::ESTABLISHED))?;
        Ok(HashMap::try_from(Map::HashMap(table))?)
    }
}

fn mapped(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(v4) => Address::v4(v4.octets()),
        IpAddr::V6(v6) => Address::v6(v6.octets()),
    }
}
