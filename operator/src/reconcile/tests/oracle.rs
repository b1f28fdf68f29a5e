//! Whatever happens in whatever order, what is stored in the end is what a plain reading of all objects says.

use std::{collections::BTreeSet, net::IpAddr};

use proptest::prelude::*;
use xdp_crds::{
    XdpPolicy,
    network_policy::ClusterSet,
    policy::{PodSelection, Policy, Rule, SelectedNamespaces},
};

use super::*;

#[derive(Clone, Debug)]
enum Happening {
    Pod(usize, usize, usize, Vec<u8>),
    DeletePod(usize),
    Namespace(usize, bool),
    Policy(usize, bool, Vec<usize>),
    NetworkPolicy(usize, Vec<usize>),
    DeleteNetworkPolicy(usize),
    DeletePolicy(usize),
    Write(usize),
    Fail(usize),
    Tamper(usize),
    Restart,
}

const NAMESPACES: [&str; 3] = ["red", "green", "blue"];

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::{
        DeleteNetworkPolicy, DeletePod, DeletePolicy, Fail, Namespace, NetworkPolicy, Pod, Policy, Restart,
        Tamper, Write,
    };
    prop_oneof![
        6 => (0..12_usize, 0..3_usize, 0..2_usize, prop::collection::vec(0..20_u8, 0..3))
            .prop_map(|(pod, app, node, ips)| Pod(pod, app, node, ips)),
        2 => (0..12_usize).prop_map(DeletePod),
        1 => (0..3_usize, any::<bool>()).prop_map(|(namespace, team)| Namespace(namespace, team)),
        3 => (0..6_usize, any::<bool>(), prop::collection::vec(0..8_usize, 0..7))
            .prop_map(|(policy, redirects, from)| Policy(policy, redirects, from)),
        2 => (0..6_usize, prop::collection::vec(0..8_usize, 1..7))
            .prop_map(|(policy, from)| NetworkPolicy(policy, from)),
        1 => (0..6_usize).prop_map(DeleteNetworkPolicy),
        1 => (0..6_usize).prop_map(DeletePolicy),
        4 => (1..8_usize).prop_map(Write),
        1 => (1..4_usize).prop_map(Fail),
        1 => (0..8_usize).prop_map(Tamper),
        1 => Just(Restart),
    ]
}

fn source(number: usize) -> Value {
    let expression = |key: &str, operator: &str, values: &[&str]| {
        json!({"matchExpressions": [
        {"key": key, "operator": operator, "values": values}]})
    };
    match number {
        0 => json!({"podSelector": {}}),
        1 => json!({"namespaceSelector": {}}),
        2 => json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "a"}}}),
        3 => json!({"namespaceSelector": {"matchLabels": {"team": "x"}}}),
        4 => json!({"podSelector": expression("app", "NotIn", &["a", "b"])}),
        5 => json!({"namespaceSelector": expression("team", "DoesNotExist", &[])}),
        6 => json!({"podSelector": expression("app", "Exists", &[])}),
        _ => json!({"ipBlock": {"cidr": "192.0.2.0/24"}}),
    }
}

fn pod_name(number: usize) -> ObjectName {
    ObjectName::new(NAMESPACES[number % 3], format!("pod-{number}"))
}

fn policy_name(number: usize) -> ObjectName {
    ObjectName::new(NAMESPACES[number % 3], format!("policy-{number}"))
}

/// All objects, as a user sees them.
#[derive(Default)]
struct Plain {
    pods: BTreeMap<ObjectName, (BTreeMap<String, String>, Vec<IpAddr>)>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    network_policies: BTreeMap<ObjectName, Vec<Value>>,
    generation: i64,
}

impl Plain {
    fn happen(&mut self, what: &Happening, server: &mut Server) {
        match what {
            Happening::Pod(pod, app, node, ips) => {
                let labels = BTreeMap::from([("app".to_owned(), ["a", "b", "c"][*app].to_owned())]);
                let ips: Vec<String> = ips.iter().map(|ip| format!("10.0.0.{ip}")).collect();
                let addresses = ips.iter().map(|ip| ip.parse().unwrap()).collect();
                server.pod(&pod_name(*pod), &json!(labels), &ips, &format!("node-{node}"));
                self.pods.insert(pod_name(*pod), (labels, addresses));
            }
            Happening::DeletePod(pod) => {
                self.pods.remove(&pod_name(*pod));
                server.delete_pod(&pod_name(*pod));
            }
            Happening::Namespace(namespace, team) => {
                let labels: BTreeMap<String, String> = team
                    .then(|| ("team".to_owned(), "x".to_owned()))
                    .into_iter()
                    .collect();
                server.namespace(NAMESPACES[*namespace], &json!(labels));
                self.namespaces.insert(NAMESPACES[*namespace].to_owned(), labels);
            }
            Happening::Policy(policy, redirects, from) => {
                self.generation += 1;
                let from: Vec<Value> = from.iter().map(|number| source(*number)).collect();
                let action = if *redirects { "Redirect" } else { "Drop" };
                server.policy_that(action, &policy_name(*policy), self.generation, &from);
            }
            Happening::NetworkPolicy(policy, from) => {
                let from: Vec<Value> = from.iter().map(|number| source(*number)).collect();
                server.network_policy(&policy_name(*policy), &from);
                self.network_policies.insert(policy_name(*policy), from);
            }
            Happening::DeleteNetworkPolicy(policy) => {
                if self.network_policies.remove(&policy_name(*policy)).is_some() {
                    server.delete_network_policy(&policy_name(*policy));
                }
            }
            Happening::DeletePolicy(policy) => {
                if server.policies.contains_key(&policy_name(*policy)) {
                    server.delete_policy(&policy_name(*policy));
                }
            }
            Happening::Write(number) => {
                for _ in 0..*number {
                    if let Some(command) = server.reconciler.start(server.now, &time()) {
                        server.execute(command);
                    }
                }
            }
            Happening::Fail(number) => fail(server, *number),
            Happening::Tamper(number) => {
                if let Some(name) = server.sets.keys().nth(*number).cloned() {
                    server.sets.remove(&name);
                    server.echo(&name);
                }
            }
            Happening::Restart => self.restart(server),
        }
    }

    /// Another process begins with what is stored.
    fn restart(&self, server: &mut Server) {
        let mut next = Server::with(std::mem::take(&mut server.sets));
        for (name, labels) in &self.namespaces {
            next.namespace(name, &json!(labels));
        }
        for (name, (labels, addresses)) in &self.pods {
            let ips: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            next.pod(name, &json!(labels), &ips, "node-1");
        }
        for (name, from) in &self.network_policies {
            next.network_policy(name, from);
        }
        next.policies = std::mem::take(&mut server.policies);
        let names: Vec<ObjectName> = next.policies.keys().cloned().collect();
        for name in &names {
            next.echo_policy(name);
        }
        next.complete();
        *server = next;
    }

    fn addresses_of(&self, selection: &PodSelection) -> BTreeSet<IpAddr> {
        let pods = self.pods.iter().filter(|(name, (labels, _))| {
            let in_namespace = match &selection.namespaces {
                SelectedNamespaces::Named(named) => *named == name.namespace,
                SelectedNamespaces::Labelled(selector) => {
                    let labels = self.namespaces.get(&name.namespace);
                    labels.is_some_and(|labels| selector.matches(labels))
                }
            };
            in_namespace && selection.pods.matches(labels)
        });
        pods.flat_map(|(_, (_, addresses))| addresses.iter().copied())
            .collect()
    }

    /// Returns the sets that the NetworkPolicies of a namespace with redirects need: of the first policies,
    /// as many as a namespace may have.
    fn of_network_policies(&self, namespace: &str) -> BTreeMap<String, BTreeSet<IpAddr>> {
        let policies = self
            .network_policies
            .iter()
            .filter(|(name, _)| name.namespace == namespace);
        let sources = policies.flat_map(|(_, from)| from);
        let mut found = BTreeMap::new();
        for source in sources.filter(|source| source.get("ipBlock").is_none()) {
            let policy = json!({
                "apiVersion": "xdp-operator.io/v1alpha1", "kind": "XdpPolicy",
                "metadata": {"namespace": namespace, "name": "p"},
                "spec": {"podSelector": {}, "ingress": [{"name": "r", "action": "Pass", "from": [source]}]},
            });
            let policy: XdpPolicy = serde_json::from_value(policy).unwrap();
            let policy = Policy::try_from(&policy).unwrap();
            let selection = policy.rules[0].pod_sources().next().unwrap().selection(namespace);
            if found.len() < LIMITS.sets {
                found.insert(selection.id().to_string(), self.addresses_of(&selection));
            }
        }
        found
    }

    /// Returns the addresses that several pods have.
    fn disputed(&self) -> BTreeSet<IpAddr> {
        let (mut once, mut often) = (BTreeSet::new(), BTreeSet::new());
        for (_, addresses) in self.pods.values() {
            let distinct: BTreeSet<IpAddr> = addresses.iter().copied().collect();
            for address in distinct {
                if !once.insert(address) {
                    often.insert(address);
                }
            }
        }
        often
    }

    /// Returns the addresses of each set that must exist.
    fn wanted(&self, server: &Server) -> BTreeMap<String, BTreeSet<IpAddr>> {
        let mut wanted = BTreeMap::new();
        let mut has_network_policies = false;
        for policy in server
            .policies
            .values()
            .filter(|policy| policy["spec"]["ingress"][0]["action"] == "Redirect")
        {
            let namespace = policy["metadata"]["namespace"].as_str().unwrap();
            wanted.extend(self.of_network_policies(namespace));
            has_network_policies |= self
                .network_policies
                .keys()
                .any(|name| name.namespace == namespace);
        }
        if has_network_policies {
            wanted.insert(ClusterSet::Disputed.id().to_string(), self.disputed());
            for set in [ClusterSet::Ranges, ClusterSet::Nodes] {
                wanted.insert(set.id().to_string(), BTreeSet::new());
            }
        }
        for policy in server.policies.values() {
            let accepted = policy["status"]["conditions"][0]["status"] == "True";
            let object: XdpPolicy = serde_json::from_value(json!({
                "apiVersion": "xdp-operator.io/v1alpha1", "kind": "XdpPolicy",
                "metadata": policy["metadata"], "spec": policy["spec"],
            }))
            .unwrap();
            let policy = Policy::try_from(&object).unwrap();
            for source in policy
                .rules
                .iter()
                .flat_map(Rule::pod_sources)
                .filter(|_| accepted)
            {
                let selection = source.selection(&policy.namespace);
                wanted.insert(selection.id().to_string(), self.addresses_of(&selection));
            }
        }
        wanted
    }
}

fn fail(server: &mut Server, number: usize) {
    for _ in 0..number {
        let reconciler = &mut server.reconciler;
        match reconciler.start(server.now, &time()) {
            Some(Request::Slice(command)) => reconciler.finish_slice(&command, Err(0.5), server.now),
            Some(Request::Status(write)) => reconciler.finish_status(&write.name, Err(0.5), server.now),
            Some(Request::Event(_)) => reconciler.finish_event(),
            None => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_stored_sets_are_those_of_the_accepted_policies(
        happenings in prop::collection::vec(happening(), 1..60),
    ) {
        let (mut server, mut plain) = (Server::new(), Plain::default());
        for happening in &happenings {
            plain.happen(happening, &mut server);
        }
        // A refused policy keeps the sets of its last accepted version, which the oracle does not know.
        let names: Vec<ObjectName> = server.policies.keys().cloned().collect();
        for name in names {
            server.pass(Duration::from_secs(30));
            if server.condition(&name, "Accepted").0 != "True" {
                plain.generation += 1;
                server.policy(&name, plain.generation, &[]);
            }
        }
        server.pass(Duration::from_mins(1));
        let mut stored = BTreeMap::<String, BTreeSet<IpAddr>>::new();
        for (id, spec) in server.sets.values() {
            stored.entry(id.clone()).or_default().extend(&spec.addresses);
            let has_pods = plain.pods.values().any(|(_, addresses)| !addresses.is_empty());
            let is_ranges = *id == ClusterSet::Ranges.id().to_string();
            let networks: Vec<String> = spec.networks.iter().map(ToString::to_string).collect();
            // All pods are strays, and neighbours.
            prop_assert_eq!(networks, if has_pods && is_ranges { vec!["10.0.0.0/24"] } else { vec![] });
        }
        prop_assert_eq!(&stored, &plain.wanted(&server));

        // Another process finds nothing to write.
        plain.restart(&mut server);
        server.pass(Duration::from_mins(1));
        server.writes.retain(|name| !name.starts_with("status"));
        prop_assert_eq!(&server.writes, &Vec::<String>::new());
    }
}
