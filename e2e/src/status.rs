//! `xdp-agent status -o json`, read as any other program would.

use serde_json::Value;

/// What a rule counts.
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

/// One status.
#[derive(Clone, Debug)]
pub struct Status(Value);

impl Status {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    /// All of it.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// Whether an agent runs.
    pub fn running(&self) -> bool {
        self.0["agent"]["running"] == true
    }

    /// Mode of a NIC: `Native`, `Generic`, `None`, `Foreign`.
    pub fn nic_mode(&self, nic: &str) -> Option<&str> {
        self.find("nics", "name", nic)?["mode"].as_str()
    }

    /// Kernel id of the program on a NIC.
    pub fn program_id(&self, nic: &str) -> Option<u64> {
        self.find("nics", "name", nic)?["programId"].as_u64()
    }

    /// A pod.
    pub fn pod(&self, name: &str) -> Option<&Value> {
        self.find("pods", "pod", name)
    }

    /// Whether a pod's rules are in force.
    pub fn programmed(&self, pod: &str) -> bool {
        self.pod(pod).is_some_and(|pod| pod["programmed"] == true)
    }

    /// Whether a pod takes redirects, and its replies go the same way.
    pub fn ready(&self, pod: &str) -> bool {
        let ready = |pod: &Value| {
            ["readiness", "replyPath"]
                .iter()
                .all(|part| pod[part]["state"] == "Ready")
        };
        self.programmed(pod) && self.pod(pod).is_some_and(ready) && !self.draining(pod)
    }

    /// Whether a pod has no rules any more, and flows that were taken go on.
    pub fn draining(&self, pod: &str) -> bool {
        self.pod(pod).is_some_and(|pod| pod["draining"] == true)
    }

    /// How many flows are in a table: `flows`, `unreplied`, `stack`.
    pub fn flows(&self, table: &str) -> u64 {
        let table = self.find("flows", "table", table);
        table.and_then(|table| table["used"].as_u64()).unwrap_or(0)
    }

    /// Packets that a rule counted in one of [`FIELDS`].
    pub fn packets(&self, rule: &str, field: &str) -> u64 {
        self.find("rules", "rule", rule)
            .and_then(|rule| rule[field]["packets"].as_u64())
            .unwrap_or(0)
    }

    /// What a rule has counted, in the order of [`FIELDS`].
    pub fn counts(&self, rule: &str) -> [u64; FIELDS.len()] {
        FIELDS.map(|field| self.packets(rule, field))
    }

    /// How often something happened that is counted apart from rules; the list is `unparsed`, `fallbacks`,
    /// `events` or `flowEvents`.
    pub fn happened(&self, list: &str, reason: &str) -> u64 {
        self.0[list][reason].as_u64().unwrap_or(0)
    }

    /// Packets of a rule that failed for any pod, by stage and errno name.
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

    /// The problem with this reason, of an object whose name contains `object`.
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

    fn find(&self, list: &str, key: &str, name: &str) -> Option<&Value> {
        self.0[list].as_array()?.iter().find(|item| item[key] == name)
    }
}
