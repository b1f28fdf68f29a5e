mod facts;
mod oracle;

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{core::DynamicObject, runtime::watcher::Event};
use serde_json::{Value, json};
use xdp_client::object::Versioned;
use xdp_crds::{XdpPeerSetSpec, network_policy::NETWORK_POLICY};

use super::*;
use crate::{
    peers::Step,
    store::{self, NETWORK_POLICY_KINDS, PolicyObject, StoredSlice},
};

/// An API server that stores what is written, and the reconciler that writes it.
pub(super) struct Server {
    pub(super) reconciler: Reconciler,
    pub(super) sets: BTreeMap<ObjectName, (String, XdpPeerSetSpec)>,
    pub(super) policies: BTreeMap<ObjectName, Value>,
    pub(super) events: usize,
    /// Writes so far.
    pub(super) writes: Vec<String>,
    pub(super) now: Instant,
    version: u64,
}

pub(super) const NAMESPACE: &str = "xdp-system";
pub(super) const LIMITS: PeerLimits = PeerLimits {
    sets: 4,
    addresses: 1000,
};

fn time() -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_second(1_000_000).unwrap())
}

impl Server {
    /// Starts a leader with complete, empty lists, and the report of one node.
    pub(super) fn new() -> Self {
        let mut server = Self::with(BTreeMap::new());
        server.complete();
        server
    }

    /// Starts a leader that has not listed anything yet.
    pub(super) fn with(sets: BTreeMap<ObjectName, (String, XdpPeerSetSpec)>) -> Self {
        let cluster = ClusterState {
            namespace: NAMESPACE.to_owned(),
            ..ClusterState::default()
        };
        let mut reconciler = Reconciler::new(cluster, LIMITS, Vec::new());
        let now = Instant::now();
        reconciler.set_leading(true, now);
        Self {
            reconciler,
            sets,
            policies: BTreeMap::new(),
            events: 0,
            writes: Vec::new(),
            now,
            version: 0,
        }
    }

    /// Completes all lists: what was applied before is in them.
    pub(super) fn complete(&mut self) {
        let stored: Vec<ObjectName> = self.sets.keys().cloned().collect();
        for name in &stored {
            self.echo(name);
        }
        self.node("node-1");
        self.report("node-1", &json!({}));
        for event in [
            StoreEvent::Policy(Event::InitDone),
            StoreEvent::Pod(Event::InitDone),
            StoreEvent::Namespace(Event::InitDone),
            StoreEvent::Node(Event::InitDone),
            StoreEvent::NodeState(Event::InitDone),
            StoreEvent::PeerSet(Event::InitDone),
            StoreEvent::NetworkPolicy(NETWORK_POLICY, Event::InitDone),
        ] {
            self.apply(event);
        }
        for kind in NETWORK_POLICY_KINDS
            .into_iter()
            .filter(|kind| *kind != NETWORK_POLICY)
        {
            self.apply(StoreEvent::NoNetworkPolicies(kind));
        }
    }

    pub(super) fn apply(&mut self, event: StoreEvent) {
        // A list replaces what is there: before it is complete, objects are part of it.
        let event = if self.reconciler.follows {
            event
        } else {
            listed(event)
        };
        self.reconciler.apply(event, self.now);
    }

    pub(super) fn node(&mut self, name: &str) {
        let object = serde_json::from_value(json!({"metadata": {"name": name, "uid": name}})).unwrap();
        self.apply(StoreEvent::Node(Event::Apply(store::node(&object))));
    }

    pub(super) fn report(&mut self, node: &str, more: &Value) {
        let mut status = json!({"agentVersion": "1", "kernelVersion": "6"});
        for (key, value) in more.as_object().unwrap() {
            status[key] = value.clone();
        }
        let object = object(json!({"metadata": {"name": node}, "status": status}));
        self.apply(StoreEvent::NodeState(Event::Apply(store::node_state(&object))));
    }

    pub(super) fn namespace(&mut self, name: &str, labels: &Value) {
        let object = serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap();
        self.apply(StoreEvent::Namespace(Event::Apply(store::namespace(&object))));
    }

    pub(super) fn pod(&mut self, name: &ObjectName, labels: &Value, ips: &[String], node: &str) {
        let ips: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        let object = serde_json::from_value(json!({
            "metadata": {"namespace": name.namespace, "name": name.name, "labels": labels},
            "spec": {"nodeName": node}, "status": {"podIPs": ips},
        }));
        self.apply(StoreEvent::Pod(Event::Apply(store::pod(object.unwrap()))));
    }

    pub(super) fn delete_pod(&mut self, name: &ObjectName) {
        let object = Versioned {
            name: name.clone(),
            version: 1,
            value: None,
        };
        self.apply(StoreEvent::Pod(Event::Delete(object)));
    }

    /// Creates or changes a policy with these sources.
    pub(super) fn policy(&mut self, name: &ObjectName, generation: i64, from: &[Value]) {
        self.policy_that("Pass", name, generation, from);
    }

    /// Creates or changes a policy with this action.
    pub(super) fn policy_that(&mut self, action: &str, name: &ObjectName, generation: i64, from: &[Value]) {
        let rule = json!({"name": "r", "action": action, "from": from});
        let spec = json!({"podSelector": {"matchLabels": {"app": "a"}}, "ingress": [rule]});
        self.policy_with(name, generation, &spec);
    }

    pub(super) fn policy_with(&mut self, name: &ObjectName, generation: i64, spec: &Value) {
        let status = self.policies.get(name).map(|policy| policy["status"].clone());
        let policy = json!({
            "metadata": {"namespace": name.namespace, "name": name.name, "uid": name.to_string(),
                "generation": generation},
            "spec": spec,
            "status": status.unwrap_or(Value::Null),
        });
        self.policies.insert(name.clone(), policy);
        self.echo_policy(name);
    }

    pub(super) fn delete_policy(&mut self, name: &ObjectName) {
        let policy = self.policies.remove(name).unwrap();
        let deleted = store::policy(&object(policy));
        self.apply(StoreEvent::Policy(Event::Delete(deleted)));
    }

    /// Creates or changes a `NetworkPolicy` with these sources.
    pub(super) fn network_policy(&mut self, name: &ObjectName, from: &[Value]) {
        let object = serde_json::from_value(json!({
            "metadata": {"namespace": name.namespace, "name": name.name},
            "spec": {"podSelector": {}, "ingress": [{"from": from}]},
        }));
        let policy = store::of_namespace(&object.unwrap());
        self.apply(StoreEvent::NetworkPolicy(NETWORK_POLICY, Event::Apply(policy)));
    }

    pub(super) fn delete_network_policy(&mut self, name: &ObjectName) {
        let object = Versioned {
            name: name.clone(),
            version: 1,
            value: None,
        };
        self.apply(StoreEvent::NetworkPolicy(NETWORK_POLICY, Event::Delete(object)));
    }

    fn echo_policy(&mut self, name: &ObjectName) {
        let policy = self.stored_policy(name);
        self.apply(StoreEvent::Policy(Event::Apply(policy)));
    }

    fn stored_policy(&mut self, name: &ObjectName) -> Versioned<PolicyObject> {
        self.version += 1;
        let mut policy = self.policies[name].clone();
        policy["metadata"]["resourceVersion"] = json!(self.version.to_string());
        store::policy(&object(policy))
    }

    fn stored_set(&mut self, name: &ObjectName) -> Versioned<StoredSlice> {
        self.version += 1;
        let mut meta = json!({"namespace": name.namespace, "name": name.name,
            "resourceVersion": self.version.to_string()});
        let spec = self.sets.get(name).map(|(label, spec)| {
            meta["labels"] = json!({xdp_crds::PEER_SET_LABEL: label});
            spec.clone()
        });
        let mut stored = store::peer_set(&object(json!({"metadata": meta, "spec": spec})));
        stored.value = stored.value.filter(|_| spec.is_some());
        stored
    }

    fn echo(&mut self, name: &ObjectName) {
        let stored = self.stored_set(name);
        let event = if stored.value.is_some() {
            Event::Apply(stored)
        } else {
            Event::Delete(stored)
        };
        self.apply(StoreEvent::PeerSet(event));
    }

    /// Makes all requests that are due, and lets the watches report what they change.
    pub(super) fn write_all(&mut self) {
        while let Some(command) = self.reconciler.start(self.now, &time()) {
            self.execute(command);
        }
    }

    /// Lets a time pass, in steps in which everything due is done.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.write_all();
        while let Some(due) = self.reconciler.due().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.write_all();
        }
        self.now = end;
    }

    pub(super) fn execute(&mut self, command: Request) {
        match command {
            Request::Slice(command) => {
                let name = match &command.step {
                    Step::Write(slice) => {
                        let content = (slice.set.to_string(), slice.spec.clone());
                        self.sets.insert(slice.name.clone(), content);
                        slice.name.clone()
                    }
                    Step::Delete(name) => {
                        self.sets.remove(name);
                        name.clone()
                    }
                };
                self.writes.push(name.to_string());
                let stored = self.stored_set(&name);
                self.reconciler.finish_slice(&command, Ok(stored), self.now);
                self.echo(&name);
            }
            Request::Status(write) => {
                self.writes.push(format!("status {}", write.name));
                let policy = self.policies.get_mut(&write.name).unwrap();
                policy["status"] = serde_json::to_value(&write.status).unwrap();
                let stored = self.stored_policy(&write.name);
                self.reconciler.finish_status(&write.name, Ok(stored), self.now);
                self.echo_policy(&write.name);
            }
            Request::Event(_) => {
                self.events += 1;
                self.reconciler.finish_event();
            }
        }
    }

    /// Returns a condition of a policy: its status and reason.
    pub(super) fn condition(&self, name: &ObjectName, kind: &str) -> (String, String) {
        let policy = self.reconciler.cluster.policies.get(name).unwrap();
        let condition = crate::status::find(&policy.status.as_ref().unwrap().conditions, kind).unwrap();
        (condition.status.clone(), condition.reason.clone())
    }
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn listed(event: StoreEvent) -> StoreEvent {
    fn listed<T>(event: Event<T>) -> Event<T> {
        match event {
            Event::Apply(object) => Event::InitApply(object),
            other => other,
        }
    }
    match event {
        StoreEvent::Policy(event) => StoreEvent::Policy(listed(event)),
        StoreEvent::Pod(event) => StoreEvent::Pod(listed(event)),
        StoreEvent::Namespace(event) => StoreEvent::Namespace(listed(event)),
        StoreEvent::Node(event) => StoreEvent::Node(listed(event)),
        StoreEvent::NodeState(event) => StoreEvent::NodeState(listed(event)),
        StoreEvent::PeerSet(event) => StoreEvent::PeerSet(listed(event)),
        StoreEvent::NetworkPolicy(kind, event) => StoreEvent::NetworkPolicy(kind, listed(event)),
        StoreEvent::NoNetworkPolicies(kind) => StoreEvent::NoNetworkPolicies(kind),
    }
}
