//! Parses `xdp-agent status -o json`.

use serde_json::Value;

/// A rule's counters, as fields of the status: the decisions, and `delivered`.
pub const FIELDS: [&str; 8] = [
    "redirected",
    "delivered",
    "passed",
    "dropped",
    "rejected",
    "limited",
    "audited",
    "fellBack",
];

/// The output of one call.
#[derive(Clone, Debug)]
pub struct Status(Value);

impl Status {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    /// Returns the whole JSON.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// Returns whether an agent runs.
    pub fn running(&self) -> bool {
        self.0["agent"]["running"] == true
    }

    /// Returns what is attached to a NIC: `Native`, `None`, `Foreign`.
    pub fn nic_mode(&self, nic: &str) -> Option<&str> {
        self.find("nics", "name", nic)?["mode"].as_str()
    }

    /// Returns the kernel id of the program on a NIC.
    pub fn program_id(&self, nic: &str) -> Option<u64> {
        self.find("nics", "name", nic)?["programId"].as_u64()
    }

    /// Returns a pod's entry.
    pub fn pod(&self, name: &str) -> Option<&Value> {
        self.find("pods", "pod", name)
    }

    /// Returns whether a pod's rules are programmed.
    pub fn programmed(&self, pod: &str) -> bool {
        self.pod(pod).is_some_and(|pod| pod["programmed"] == true)
    }

    /// Returns whether a pod receives redirected packets and its replies use the reply path.
    pub fn ready(&self, pod: &str) -> bool {
        let ready = |pod: &Value| {
            ["readiness", "replyPath"]
                .iter()
                .all(|part| pod[part]["state"] == "Ready")
        };
        self.programmed(pod) && self.pod(pod).is_some_and(ready) && !self.draining(pod)
    }

    /// Returns whether a pod has no rules any more, and its tracked flows continue.
    pub fn draining(&self, pod: &str) -> bool {
        self.pod(pod).is_some_and(|pod| pod["draining"] == true)
    }

    /// Returns how many flows are in a table: `established`, `unreplied`, `stack`.
    pub fn flows(&self, table: &str) -> u64 {
        let table = self.find("flows", "table", table);
        table.and_then(|table| table["used"].as_u64()).unwrap_or(0)
    }

    /// Returns the packets that a rule has counted in one of [`FIELDS`].
    pub fn packets(&self, rule: &str, field: &str) -> u64 {
        self.find("rules", "rule", rule)
            .and_then(|rule| rule[field]["packets"].as_u64())
            .unwrap_or(0)
    }

    /// Returns all counters of a rule, in the order of [`FIELDS`].
    pub fn counts(&self, rule: &str) -> [u64; FIELDS.len()] {
        FIELDS.map(|field| self.packets(rule, field))
    }

    /// Returns a counter that does not belong to a rule, by its reason. The list is `unparsed`,
    /// `unparsedDrops`, `foreign`, `fallbacks`, `events` or `flowEvents`.
    pub fn happened(&self, list: &str, reason: &str) -> u64 {
        self.0[list][reason].as_u64().unwrap_or(0)
    }

    /// Returns the packets whose redirect to a pod failed, by stage and errno name.
    pub fn failures(&self, pod: &str) -> Vec<(String, String, u64)> {
        let failures = self.pod(pod).and_then(|pod| pod["failures"].as_array());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let failure = |failure: &Value| {
            (
                text(&failure["stage"]),
                text(&failure["errno"]),
                failure["packets"].as_u64().unwrap_or(0),
            )
        };
        failures.into_iter().flatten().map(failure).collect()
    }

    /// Returns the problem with this reason of an object whose name contains `object`.
    pub fn problem(&self, object: &str, reason: &str) -> Option<&Value> {
        let own = self.0["problems"].as_array().into_iter().flatten();
        let nics = self.0["nics"].as_array().into_iter().flatten();
        let of_nics = nics
            .filter(|nic| nic["name"].as_str().is_some_and(|name| object.contains(name)))
            .filter_map(|nic| nic["problems"].as_array())
            .flatten();
        let is_about = |problem: &&Value| {
            problem["object"]
                .as_str()
                .is_some_and(|name| name.contains(object))
        };
        own.filter(is_about)
            .chain(of_nics)
            .find(|problem| problem["reason"] == reason)
    }

    /// Returns whether something is wrong with an object whose name contains `object`.
    pub fn is_troubled(&self, object: &str) -> bool {
        let problems = self.0["problems"].as_array().into_iter().flatten();
        let mut objects = problems.filter_map(|problem| problem["object"].as_str());
        objects.any(|name| name.contains(object))
    }

    /// Returns whether a rule has counters.
    pub fn has_rule(&self, rule: &str) -> bool {
        self.find("rules", "rule", rule).is_some()
    }

    fn find(&self, list: &str, key: &str, name: &str) -> Option<&Value> {
        self.0[list].as_array()?.iter().find(|item| item[key] == name)
    }
}
