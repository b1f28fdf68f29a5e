//! A plain reading of the API's text: one packet, one pod, one source, from the objects alone.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use serde_json::Value;

use super::fixture::Cluster;

/// A packet to a pod.
pub(crate) struct Packet<'a> {
    pub(crate) target: &'a Value,
    pub(crate) source: IpAddr,
    pub(crate) protocol: &'a str,
    pub(crate) port: u16,
}

impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.target["metadata"]["name"];
        write!(f, "{} to {target} {} {}", self.source, self.protocol, self.port)
    }
}

/// What a tier with priorities decides.
enum Tier {
    Accept,
    Deny,
    Next,
}

impl Cluster {
    /// Returns whether a packet is allowed, by an engine that implements the administrator's tiers, whatever
    /// it makes of equal priorities, and by one that does not.
    pub(crate) fn allows(&self, packet: &Packet<'_>) -> bool {
        self.allows_with_tiers(packet) && self.allows_without_tiers(packet) != Some(false)
    }

    fn allows_with_tiers(&self, packet: &Packet<'_>) -> bool {
        self.tier("Admin", packet).iter().all(|admin| match admin {
            Tier::Accept => true,
            Tier::Deny => false,
            Tier::Next => self.allows_without_tiers(packet).unwrap_or_else(|| {
                let baseline = self.tier("Baseline", packet);
                baseline.iter().all(|outcome| !matches!(outcome, Tier::Deny))
            }),
        })
    }

    /// Returns whether the policies of `networking.k8s.io/v1` allow a packet. `None`: they do not isolate its
    /// target.
    fn allows_without_tiers(&self, packet: &Packet<'_>) -> Option<bool> {
        let policies = self.of_kind("NetworkPolicy");
        let policies: Vec<&Value> = policies.filter(|one| isolates(one, packet)).collect();
        let allowing = policies.iter().any(|policy| {
            let rules = list(&policy["spec"]["ingress"]);
            rules.iter().any(|rule| self.allowed_by(policy, rule, packet))
        });
        (!policies.is_empty()).then_some(allowing)
    }

    fn allowed_by(&self, policy: &Value, rule: &Value, packet: &Packet<'_>) -> bool {
        let (from, ports) = (list(&rule["from"]), list(&rule["ports"]));
        let is_from = from.is_empty() || from.iter().any(|peer| self.is_peer(policy, peer, packet));
        is_from && (ports.is_empty() || ports.iter().any(|port| is_port(port, packet)))
    }

    fn is_peer(&self, policy: &Value, peer: &Value, packet: &Packet<'_>) -> bool {
        if let Some(block) = peer.get("ipBlock") {
            let has = |net: &Value| {
                net.as_str()
                    .expect("valid")
                    .parse::<IpNet>()
                    .expect("valid")
                    .contains(&packet.source)
            };
            return has(&block["cidr"]) && !list(&block["except"]).iter().any(has);
        }
        let Some(pod) = self.source_pod(packet) else {
            return false;
        };
        let in_namespace = match peer.get("namespaceSelector") {
            Some(selector) => selects(selector, self.namespace_labels(pod)),
            None => pod["metadata"]["namespace"] == policy["metadata"]["namespace"],
        };
        in_namespace
            && peer
                .get("podSelector")
                .is_none_or(|selector| selects(selector, &pod["metadata"]["labels"]))
    }

    /// Returns the possible outcomes of a tier with priorities: with equal priorities, any policy may be the
    /// first.
    fn tier(&self, tier: &str, packet: &Packet<'_>) -> Vec<Tier> {
        let is_of_tier = |one: &&Value| match one["kind"].as_str().expect("valid") {
            "ClusterNetworkPolicy" => one["spec"]["tier"] == tier,
            "AdminNetworkPolicy" => tier == "Admin",
            "BaselineAdminNetworkPolicy" => tier == "Baseline",
            _ => false,
        };
        let priority = |one: &Value| one["spec"]["priority"].as_u64().unwrap_or(0);
        let mut priorities: Vec<u64> = self.policies.iter().map(priority).collect();
        priorities.sort_unstable();
        for first in priorities {
            let equal = self
                .policies
                .iter()
                .filter(is_of_tier)
                .filter(|one| priority(one) == first);
            let outcomes = equal.filter_map(|policy| self.first_match(policy, packet));
            let outcomes: Vec<Tier> = outcomes
                .map(|action| match action {
                    "Accept" | "Allow" => Tier::Accept,
                    "Deny" => Tier::Deny,
                    "Pass" => Tier::Next,
                    other => panic!("{other}"),
                })
                .collect();
            if !outcomes.is_empty() {
                return outcomes;
            }
        }
        vec![Tier::Next]
    }

    fn first_match<'p>(&self, policy: &'p Value, packet: &Packet<'_>) -> Option<&'p str> {
        let spec = &policy["spec"];
        if !self.is_selected(&spec["subject"], packet.target) {
            return None;
        }
        let source = self.source_pod(packet)?;
        let matches = |rule: &&Value| {
            let ports = rule.get("protocols").or_else(|| rule.get("ports"));
            list(&rule["from"])
                .iter()
                .any(|peer| self.is_selected(peer, source))
                && ports.is_none_or(|ports| list(ports).iter().any(|port| is_tier_port(port, packet)))
        };
        list(&spec["ingress"]).iter().find(matches)?["action"].as_str()
    }

    /// Returns whether a subject or a peer of a policy with priorities selects a pod.
    fn is_selected(&self, subject: &Value, pod: &Value) -> bool {
        if let Some(namespaces) = subject.get("namespaces") {
            return selects(namespaces, self.namespace_labels(pod));
        }
        selects(&subject["pods"]["namespaceSelector"], self.namespace_labels(pod))
            && selects(&subject["pods"]["podSelector"], &pod["metadata"]["labels"])
    }

    fn of_kind<'c>(&'c self, kind: &'c str) -> impl Iterator<Item = &'c Value> {
        self.policies.iter().filter(move |one| one["kind"] == kind)
    }

    /// Returns the pod that sends a packet. Pods in the host's network do not count.
    fn source_pod(&self, packet: &Packet<'_>) -> Option<&Value> {
        let has = |ip: &Value| ip["ip"].as_str().expect("valid").parse() == Ok(packet.source);
        let mut own = self.pods.iter().filter(|pod| pod["spec"]["hostNetwork"] != true);
        own.find(|pod| list(&pod["status"]["podIPs"]).iter().any(has))
    }

    fn namespace_labels(&self, pod: &Value) -> &Value {
        let name = &pod["metadata"]["namespace"];
        let namespace = self
            .namespaces
            .iter()
            .find(|one| one["metadata"]["name"] == *name);
        &namespace.expect("valid")["metadata"]["labels"]
    }
}

/// Returns whether a policy of `networking.k8s.io/v1` isolates the packet's target for ingress.
fn isolates(policy: &Value, packet: &Packet<'_>) -> bool {
    let (spec, target) = (&policy["spec"], &packet.target["metadata"]);
    let types = spec.get("policyTypes");
    policy["metadata"]["namespace"] == target["namespace"]
        && selects(&spec["podSelector"], &target["labels"])
        && types.is_none_or(|types| list(types).iter().any(|one| one == "Ingress"))
}

fn is_port(port: &Value, packet: &Packet<'_>) -> bool {
    if port["protocol"].as_str().unwrap_or("TCP") != packet.protocol {
        return false;
    }
    let end = port["endPort"].as_u64();
    match &port["port"] {
        Value::Null => true,
        Value::String(name) => has_named(packet, name),
        number => {
            let number = number.as_u64().expect("valid");
            (number..=end.unwrap_or(number)).contains(&packet.port.into())
        }
    }
}

fn is_tier_port(port: &Value, packet: &Packet<'_>) -> bool {
    if let Some(name) = port.get("destinationNamedPort").or_else(|| port.get("namedPort")) {
        return has_named(packet, name.as_str().expect("valid"));
    }
    let is_in = |numbers: &Value| {
        if let Some(number) = numbers.get("number").or_else(|| numbers.get("port")) {
            return number.as_u64() == Some(packet.port.into());
        }
        let range = numbers.get("range").unwrap_or(numbers);
        let bound = |name: &str| range[name].as_u64().expect("a port");
        (bound("start")..=bound("end")).contains(&packet.port.into())
    };
    if let Some(numbers) = port.get("portNumber").or_else(|| port.get("portRange")) {
        return numbers["protocol"].as_str().unwrap_or("TCP") == packet.protocol && is_in(numbers);
    }
    let own = port.get(packet.protocol.to_lowercase());
    own.is_some_and(|own| is_in(&own["destinationPort"]))
}

/// Returns whether the packet's port has this name in its target.
fn has_named(packet: &Packet<'_>, name: &str) -> bool {
    let containers = list(&packet.target["spec"]["containers"]);
    containers
        .iter()
        .flat_map(|container| list(&container["ports"]))
        .any(|port| {
            port["name"] == name
                && port["protocol"].as_str().unwrap_or("TCP") == packet.protocol
                && port["containerPort"].as_u64() == Some(packet.port.into())
        })
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let empty = serde_json::Map::new();
    let mut equal = selector["matchLabels"].as_object().unwrap_or(&empty).iter();
    equal.all(|(key, value)| labels.get(key) == Some(value))
        && list(&selector["matchExpressions"]).iter().all(|expression| {
            let label = labels.get(expression["key"].as_str().expect("valid"));
            let is_listed = || label.is_some_and(|label| list(&expression["values"]).contains(label));
            match expression["operator"].as_str().expect("valid") {
                "In" => is_listed(),
                "NotIn" => !is_listed(),
                "Exists" => label.is_some(),
                "DoesNotExist" => label.is_none(),
                other => panic!("{other}"),
            }
        })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
