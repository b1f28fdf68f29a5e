//! Fills the rivals' maps with the rules of a workload.
#![expect(unsafe_code, reason = "a promise to aya about the layout of a type")]

use anyhow::{Context as _, Result};
use aya::maps::{
    Array, HashMap,
    lpm_trie::{Key, LpmTrie},
};

use super::Instruments;
use crate::{
    shared::{LINEAR, LinearRule, LinearRules, PortKey, RivalPod, SourceKey, verdict},
    workload::{Classes, TCP, UDP, Workload, WorkloadPod, WorkloadRule, port_prefixes},
};

/// Device of a pod, for the rivals.
#[derive(Clone, Copy, Debug)]
pub struct PodDevice {
    /// Its key in the devmap.
    pub slot: u32,
    /// MAC address of its interface.
    pub mac: [u8; 6],
}

// SAFETY: an array of integers without padding; see the single rule.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Rules(LinearRules);
// SAFETY: as above.
unsafe impl aya::Pod for Rules {}

impl Instruments {
    /// Fills the linear and the two-LPM rival; returns the entries of its two tries.
    pub fn fill(&mut self, workload: &Workload, devices: &[PodDevice]) -> Result<usize> {
        let mut entries = 0;
        for (policy, (target, device)) in workload.targets.iter().zip(devices).enumerate() {
            let std::net::IpAddr::V4(address) = target.address else {
                continue;
            };
            let pod = RivalPod {
                policy: policy as u32,
                slot: device.slot,
                rules: target.rules.len() as u32,
                mac: device.mac,
                reserved: [0; 2],
            };
            self.map::<HashMap<_, u32, RivalPod>>("PODS")?
                .insert(u32::from(address), pod, 0)?;
            let rules = Rules(linear(workload, target));
            self.map::<Array<_, Rules>>("LINEAR")?
                .set(policy as u32, rules, 0)?;
            entries += self.fill_tries(workload, policy as u32, target)?;
        }
        Ok(entries)
    }

    fn fill_tries(&mut self, workload: &Workload, policy: u32, target: &WorkloadPod) -> Result<usize> {
        let mut entries = 0;
        for (class, network) in (1_u32..).zip(Classes::of(&target.rules).0) {
            let mut key: SourceKey = [0; 8];
            key[..4].copy_from_slice(&policy.to_be_bytes());
            key[4..].copy_from_slice(&(network.first as u32).to_be_bytes());
            let bits = 32 + u32::from(network.length) - 96;
            self.map::<LpmTrie<_, SourceKey, u32>>("SOURCES")?
                .insert(&Key::new(bits, key), class, 0)?;
            let mut verdicts = self.map::<LpmTrie<_, PortKey, u32>>("VERDICTS")?;
            for protocol in [TCP, UDP] {
                for (port, length, rule) in port_prefixes(&target.rules, &network, protocol) {
                    let mut key: PortKey = [0; 12];
                    key[..4].copy_from_slice(&policy.to_be_bytes());
                    key[4..8].copy_from_slice(&class.to_be_bytes());
                    key[8] = protocol;
                    key[10..].copy_from_slice(&port.to_be_bytes());
                    verdicts.insert(&Key::new(80 + u32::from(length), key), packed(workload, rule), 0)?;
                    entries += 1;
                }
            }
            entries += 1;
        }
        Ok(entries)
    }

    pub(super) fn map<'a, T>(&'a mut self, name: &str) -> Result<T>
    where
        T: TryFrom<&'a mut aya::maps::Map, Error = aya::maps::MapError>,
    {
        let map = self
            .ebpf
            .map_mut(name)
            .with_context(|| format!("no map `{name}`"))?;
        Ok(T::try_from(map)?)
    }
}

fn packed(workload: &Workload, rule: &WorkloadRule) -> u32 {
    verdict(rule.redirect, workload.mark(rule.number))
}

fn linear(workload: &Workload, target: &WorkloadPod) -> LinearRules {
    let mut rules = [LinearRule::default(); LINEAR];
    for (to, rule) in rules.iter_mut().zip(&target.rules) {
        let length = u32::from(rule.source.length) - 96;
        *to = LinearRule {
            network: rule.source.first as u32,
            mask: u32::MAX.checked_shl(32 - length).unwrap_or(0),
            low: rule.low,
            high: rule.high,
            verdict: packed(workload, rule),
            protocol: u32::from(rule.protocol),
        };
    }
    rules
}
