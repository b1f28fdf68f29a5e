//! The packets that a workload reports to have received.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::Value;

/// All packets that have arrived at a pod.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// By protocol, source and mark.
    pub flows: BTreeMap<Flow, Seen>,
    /// Distinct datagrams and duplicates by the sender's stream.
    pub streams: BTreeMap<u32, (u64, u64)>,
    /// Datagrams that the kernel dropped because the socket's buffer was full.
    pub overflowed: u64,
}

/// The key by which packets are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// `UDP`: datagrams; `TCP`: HTTP requests.
    pub protocol: String,
    /// The source address.
    pub source: IpAddr,
    /// Their mark; 0: none.
    pub mark: u32,
}

/// The packets of a flow that arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Datagrams or requests.
    pub count: u64,
    /// Bytes of datagrams.
    pub bytes: u64,
}

impl Counts {
    /// Parses the answer to GET /counts.
    pub(super) fn parse(json: &Value) -> Option<Self> {
        let mut counts = Self {
            overflowed: json["overflowed"].as_u64()?,
            ..Self::default()
        };
        for line in json["flows"].as_array()? {
            let flow = Flow {
                protocol: line["protocol"].as_str()?.to_owned(),
                source: line["source"].as_str()?.parse().ok()?,
                mark: line["mark"].as_u64()? as u32,
            };
            let seen = Seen {
                count: line["count"].as_u64()?,
                bytes: line["bytes"].as_u64()?,
            };
            counts.flows.insert(flow, seen);
        }
        for line in json["streams"].as_array()? {
            let arrived = (line["distinct"].as_u64()?, line["duplicates"].as_u64()?);
            counts.streams.insert(line["stream"].as_u64()? as u32, arrived);
        }
        Some(counts)
    }

    /// Returns how many packets of a protocol arrived with a mark, from any source.
    pub fn with_mark(&self, protocol: &str, mark: u32) -> u64 {
        self.count(|flow| flow.protocol == protocol && flow.mark == mark)
    }

    /// Returns how many packets of a protocol arrived from a source.
    pub fn from(&self, protocol: &str, source: IpAddr) -> u64 {
        self.count(|flow| flow.protocol == protocol && flow.source == source)
    }

    /// Returns the sum over all flows that `of` selects.
    pub fn count(&self, of: impl Fn(&Flow) -> bool) -> u64 {
        let flows = self.flows.iter().filter(|(flow, _)| of(flow));
        flows.map(|(_, seen)| seen.count).sum()
    }

    /// Returns how many distinct datagrams of a sender arrived.
    pub fn of_stream(&self, stream: u32) -> u64 {
        self.streams.get(&stream).map_or(0, |(distinct, _)| *distinct)
    }
}
