//! `xdp-agent flows`: lists the flow tables, read from the kernel. Needs no running agent.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, Ipv6Addr},
    path::Path,
};

use serde::Serialize;
use xdp_core::tables::Address;
use xdp_plan::installed::PodLabel;

use crate::{
    datapath::{FlowEntry, FlowTable, OpenError, Pinned},
    report::explain::IpProtocol,
};

/// Selects the flows to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowFilter {
    /// Only flows of this pod: its name, with or without its namespace.
    pub pod: Option<String>,
    /// Only flows with this remote address.
    pub remote: Option<IpAddr>,
}

/// The output of `xdp-agent flows`, and its JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowList {
    /// Sorted by table, pod and remote.
    pub flows: Vec<ListedFlow>,
    /// Number of flows of each table that the filter left out.
    pub left_out: BTreeMap<&'static str, u64>,
}

/// A flow, in the direction towards the pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedFlow {
    /// `established`, `unreplied` (the pod has not replied yet), or `stack` (the stack handles the flow).
    pub table: &'static str,
    /// `namespace/name` of the pod; empty if no target pod has the address.
    pub pod: String,
    /// The pod's address.
    pub address: IpAddr,
    /// Name or number of the protocol.
    pub protocol: String,
    /// The pod's port; absent for ICMP echo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The remote address.
    pub remote: IpAddr,
    /// The remote port, or the identifier of echo requests.
    pub remote_port: u16,
}

/// Reads the flows of a pin directory.
pub fn collect(pin_dir: &Path, filter: &FlowFilter) -> Result<FlowList, OpenError> {
    let pinned = Pinned::open(pin_dir)?;
    let pods = Pods::new(pinned.pod_labels()?.into_values());
    let mut shown = FlowList::default();
    for table in FlowTable::ALL {
        for batch in pinned.flows(table)? {
            shown.add(table, &batch?, (&pods, filter));
        }
    }
    shown.flows.sort();
    Ok(shown)
}

/// Pod names by address.
struct Pods(BTreeMap<IpAddr, String>);

impl Pods {
    fn new(labels: impl Iterator<Item = PodLabel>) -> Self {
        let named = labels.flat_map(|label| {
            let name = format!("{}/{}", label.identity.namespace, label.identity.pod);
            let addresses = label.addresses.into_iter();
            addresses.map(move |address| (address, name.clone()))
        });
        Self(named.collect())
    }
}

impl FlowList {
    fn add(&mut self, table: FlowTable, entries: &[FlowEntry], (pods, filter): (&Pods, &FlowFilter)) {
        for entry in entries {
            let flow = flow(table, entry, pods);
            if filter.fits(&flow) {
                self.flows.push(flow);
            } else {
                *self.left_out.entry(table.name()).or_default() += 1;
            }
        }
    }

    /// Renders one line per flow, and the totals.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for flow in &self.flows {
            *counts.entry(flow.table).or_default() += 1;
            writeln!(text, "{}", flow.line()).expect("writing to a string does not fail");
        }
        let count = |table: FlowTable| {
            let (shown, left_out) = (counts.get(table.name()), self.left_out.get(table.name()));
            let (shown, left_out) = (shown.unwrap_or(&0), left_out.unwrap_or(&0));
            format!("{} {shown} of {}", table.name(), shown + left_out)
        };
        text + &FlowTable::ALL.map(count).join(", ")
    }
}

impl FlowFilter {
    fn fits(&self, flow: &ListedFlow) -> bool {
        let is_of = |name: &String| {
            let matches = |(_, pod): (&str, &str)| pod == name;
            flow.pod == *name || flow.pod.split_once('/').is_some_and(matches)
        };
        self.pod.as_ref().is_none_or(is_of)
            && self
                .remote
                .is_none_or(|remote| remote.to_canonical() == flow.remote)
    }
}

impl ListedFlow {
    fn line(&self) -> String {
        let Self {
            table,
            pod,
            protocol,
            remote,
            remote_port,
            ..
        } = self;
        let remote = endpoint(*remote, Some(*remote_port));
        let local = endpoint(self.address, self.port);
        let pod = if pod.is_empty() { "-" } else { pod };
        format!("{table:<11}  {protocol:<6}  {remote:<28}  {local:<28}  {pod}")
    }
}

/// Formats an endpoint: `10.0.0.1:80`, `[2001:db8::1]:80`.
fn endpoint(address: IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (_, None) => address.to_string(),
        (IpAddr::V4(address), Some(port)) => format!("{address}:{port}"),
        (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
    }
}

fn flow(table: FlowTable, FlowEntry { key, .. }: &FlowEntry, pods: &Pods) -> ListedFlow {
    let address = ip(key.pod);
    let protocol = u8::try_from(key.protocol).map(IpProtocol).ok();
    let has_ports = protocol.is_none_or(IpProtocol::has_ports);
    ListedFlow {
        table: table.name(),
        pod: pods.0.get(&address).cloned().unwrap_or_default(),
        address,
        protocol: protocol.map_or_else(|| key.protocol.to_string(), |protocol| protocol.to_string()),
        port: has_ports.then_some(key.pod_port),
        remote: ip(key.remote),
        remote_port: key.remote_port,
    }
}

fn ip(address: Address) -> IpAddr {
    Ipv6Addr::from(address.octets()).to_canonical()
}

#[cfg(test)]
mod tests {
    use xdp_core::tables::FlowKey;
    use xdp_plan::{facts::Readiness, installed::SlotIdentity};

    use super::*;
    use crate::report::output;

    fn entry(remote: Address, protocol: u32, pod_port: u16) -> FlowEntry {
        FlowEntry {
            key: FlowKey {
                remote,
                pod: Address::v4([10, 0, 0, 5]),
                remote_port: 40000,
                pod_port,
                protocol,
            },
            slot: Some(3),
        }
    }

    fn pods() -> Pods {
        let label = PodLabel {
            identity: SlotIdentity {
                namespace: "games".into(),
                pod: "server-0".into(),
                uid: String::new(),
                ifindex: 3,
                mac: [2; 6],
            },
            interface: "veth3".into(),
            addresses: vec![IpAddr::from([10, 0, 0, 5])],
            readiness: Readiness::Ready,
            peer: None,
            reply_path: Readiness::Ready,
            draining: false,
        };
        Pods::new([label].into_iter())
    }

    fn shown(filter: &FlowFilter) -> FlowList {
        let entries = [
            entry(Address::v4([192, 0, 2, 1]), 6, 80),
            entry(Address::v6([0x20; 16]), 58, 0),
        ];
        let mut flows = FlowList::default();
        flows.add(FlowTable::Established, &entries, (&pods(), filter));
        flows.flows.sort();
        flows
    }

    #[test]
    fn flows_are_listed_with_pod_and_ports_and_echo_has_none() {
        let flows = shown(&FlowFilter::default()).flows;
        assert_eq!(
            (flows[0].pod.as_str(), flows[0].protocol.as_str(), flows[0].port),
            ("games/server-0", "ICMPv6", None)
        );
        assert_eq!(
            (flows[1].protocol.as_str(), flows[1].port, flows[1].remote_port),
            ("TCP", Some(80), 40000)
        );
    }

    #[test]
    fn a_filter_selects_by_pod_and_remote_and_counts_what_it_leaves_out() {
        let by = |pod: Option<&str>, remote: Option<&str>| {
            let flows = shown(&FlowFilter {
                pod: pod.map(str::to_owned),
                remote: remote.map(|remote| remote.parse().unwrap()),
            });
            (flows.flows.len(), flows.left_out.get("established").copied())
        };
        assert_eq!(by(Some("games/server-0"), None), (2, None));
        assert_eq!(by(Some("server-0"), None), (2, None));
        assert_eq!(by(Some("other/server-0"), None), (0, Some(2)));
        assert_eq!(by(None, Some("192.0.2.1")), (1, Some(1)));
        assert_eq!(by(None, Some("::ffff:192.0.2.1")), (1, Some(1)));
    }

    #[test]
    fn the_totals_include_flows_that_are_not_shown() {
        let filter = FlowFilter {
            remote: Some(IpAddr::from([192, 0, 2, 1])),
            ..FlowFilter::default()
        };
        let table = shown(&filter).table();
        assert!(
            table.ends_with("established 1 of 2, unreplied 0 of 0, stack 0 of 0"),
            "{table}"
        );
        assert!(
            table.contains("192.0.2.1:40000") && table.contains("games/server-0"),
            "{table}"
        );
    }

    #[test]
    fn the_json_has_the_documented_names() {
        let json: serde_json::Value =
            serde_json::from_str(&output::json(&shown(&FlowFilter::default()))).unwrap();
        assert_eq!(json["flows"][1]["remotePort"], 40000);
        assert_eq!(json["flows"][1]["pod"], "games/server-0");
        assert!(json["flows"][0].get("port").is_none() && json["leftOut"].is_object());
    }
}
