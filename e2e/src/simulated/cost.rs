//! What the API server counts.

use std::collections::BTreeMap;

use crate::installed::Scrape;

/// Kinds that agents and operator read and write.
pub const KINDS: [&str; 6] = [
    "networkpolicies",
    "nodes",
    "pods",
    "xdpnodestates",
    "xdppeersets",
    "xdppolicies",
];

/// Counts of the API server since its start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiCost {
    /// Objects sent to watchers, by kind.
    events: BTreeMap<&'static str, f64>,
    /// Write requests, by kind.
    writes: BTreeMap<&'static str, f64>,
    /// Requests, except watches.
    pub requests: f64,
    /// Bytes sent to watchers.
    pub bytes: f64,
}

impl ApiCost {
    /// Reads the counts from a scrape of the API server.
    pub fn read(metrics: &Scrape) -> Self {
        let mut cost = Self::default();
        for kind in KINDS {
            let labels = [("resource", kind)];
            cost.events
                .insert(kind, metrics.sum("apiserver_watch_events_total", &labels));
            cost.bytes += metrics.sum("apiserver_watch_events_sizes_sum", &labels);
            let (mut requests, mut writes) = (0.0, 0.0);
            for sample in metrics.find("apiserver_request_total", &labels) {
                match sample.labels.get("verb").map(String::as_str) {
                    Some("WATCH") => {}
                    Some("GET" | "LIST") => requests += sample.value,
                    _ => {
                        requests += sample.value;
                        writes += sample.value;
                    }
                }
            }
            cost.requests += requests;
            cost.writes.insert(kind, writes);
        }
        cost
    }

    /// Returns the difference to earlier counts.
    #[must_use]
    pub fn since(&self, then: &Self) -> Self {
        let less = |now: &BTreeMap<&'static str, f64>, then: &BTreeMap<&'static str, f64>| {
            let before = |kind| then.get(kind).copied().unwrap_or(0.0);
            now.iter()
                .map(|(kind, value)| (*kind, value - before(*kind)))
                .collect()
        };
        Self {
            events: less(&self.events, &then.events),
            writes: less(&self.writes, &then.writes),
            requests: self.requests - then.requests,
            bytes: self.bytes - then.bytes,
        }
    }

    /// Returns the counts of one of `turns` equal changes.
    #[must_use]
    pub fn divided(&self, turns: f64) -> Self {
        let part = |counts: &BTreeMap<&'static str, f64>| {
            counts
                .iter()
                .map(|(kind, value)| (*kind, value / turns))
                .collect()
        };
        Self {
            events: part(&self.events),
            writes: part(&self.writes),
            requests: self.requests / turns,
            bytes: self.bytes / turns,
        }
    }

    /// Objects sent to watchers.
    pub fn sent(&self) -> f64 {
        self.events.values().sum()
    }

    /// Write requests for a kind, of [`KINDS`].
    pub fn writes(&self, kind: &str) -> f64 {
        self.writes.get(kind).copied().unwrap_or(0.0)
    }

    /// Returns the objects that each unaffected node reads. The operator and the affected node read each
    /// written object; all other reads are of unaffected nodes. The API server also counts bookmarks, a few
    /// for hundreds of watches, so the number of each kind is rounded to whole objects.
    #[expect(clippy::cast_precision_loss, reason = "a number of nodes is small")]
    pub fn reads_of_others(&self, nodes: usize) -> f64 {
        let others = self.events.iter().map(|(kind, sent)| {
            let written = self.writes(kind);
            ((sent - 2.0 * written) / (nodes - 1) as f64).max(0.0).round()
        });
        others.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_of_all_nodes_are_distinguished_from_reads_of_one() {
        let text = "apiserver_watch_events_total{resource=\"pods\"} 2\n\
                    apiserver_watch_events_total{resource=\"xdppolicies\"} 22\n\
                    apiserver_request_total{resource=\"pods\",verb=\"PATCH\"} 1\n\
                    apiserver_request_total{resource=\"xdppolicies\",verb=\"APPLY\"} 2\n\
                    apiserver_request_total{resource=\"pods\",verb=\"WATCH\"} 9\n";
        let cost = ApiCost::read(&Scrape::parse(text.to_owned()).unwrap());
        assert!((cost.requests - 3.0).abs() < 1e-9);
        assert!((cost.writes("xdppolicies") - 2.0).abs() < 1e-9);
        // Ten agents and the operator read both writes of the policy, the operator and one agent the pod.
        assert!((cost.reads_of_others(10) - 2.0).abs() < 1e-9, "{cost:?}");
    }
}
