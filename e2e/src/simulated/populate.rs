//! Creates the made-up objects, and changes them as kubelets, users and agents do.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use xdp_kubernetes::PATIENCE;

use super::{API, ApiRequest, CrowdPod, CrowdSize, SimulatedCluster, WIDE, node_name, selected_by, states};

/// Uid and generation of each policy, by its number.
type Versions = BTreeMap<usize, (String, i64)>;

impl SimulatedCluster {
    /// Creates all nodes, pods and policies, and the state of each node in which they are programmed.
    ///
    /// Pods, nodes and states are written to etcd: the API server would need two requests for each pod, which
    /// take minutes for tens of thousands. Policies are created by requests, because the API server completes
    /// and numbers them.
    pub fn populate(&self, size: CrowdSize) -> Result<()> {
        for name in &CrowdSize::namespaces() {
            self.namespace(name, &json!({"tenant": name}))?;
        }
        self.send_all(size.policies + 1, |number| {
            let (namespace, policy) = size.policy(number);
            let path = format!("{API}/namespaces/{namespace}/xdppolicies");
            vec![ApiRequest::create(path, &policy)]
        })?;
        self.store(size.nodes, |number| {
            (format!("minions/{}", node_name(number)), states::node(number))
        })?;
        self.store(size.pods(), |number| {
            let pod = size.pod(number);
            let mut object = pod.object();
            object["status"] = CrowdPod::status(pod.address)["status"].take();
            (format!("pods/{}/{}", pod.namespace, pod.name), object)
        })?;
        let states = self.states(size, "0.1.0")?;
        self.store(size.nodes, |number| {
            let name = node_name(number);
            let mut object = json!({"apiVersion": "xdp-operator.io/v1alpha1", "kind": "XdpNodeState",
                "metadata": {"name": name, "generation": 1}, "spec": {}});
            object["status"] = states[number]["status"].clone();
            (format!("xdp-operator.io/xdpnodestates/{name}"), object)
        })?;
        self.cluster
            .wait_for("the API server has the last pod", PATIENCE, || {
                self.get(&size.pod(size.pods() - 1).path())
            })?;
        Ok(())
    }

    /// Writes the state of all nodes, as their agents do: all policies with their latest version are
    /// programmed.
    pub fn report(&self, size: CrowdSize, agent_version: &str) -> Result<()> {
        let states = self.states(size, agent_version)?;
        self.send_all(size.nodes, |number| {
            let path = format!("{API}/xdpnodestates/{}/status", node_name(number));
            vec![ApiRequest::patch(path, &states[number])]
        })
    }

    /// Returns the state of each node in which its policies are programmed.
    fn states(&self, size: CrowdSize, agent_version: &str) -> Result<Vec<Value>> {
        let versions = self.versions(size)?;
        let mut selected: Vec<BTreeMap<usize, usize>> = vec![BTreeMap::new(); size.nodes];
        for pod in (0..size.pods()).map(|number| size.pod(number)) {
            if let Some(policy) = selected_by(size, &pod) {
                *selected[pod.node].entry(policy).or_default() += 1;
            }
        }
        let state = |policies: &BTreeMap<usize, usize>| {
            let policies = policies.iter().filter_map(|(policy, pods)| {
                let (uid, generation) = versions.get(policy)?;
                let (namespace, _) = size.policy(*policy);
                let name = super::policy_name(size, *policy);
                Some((namespace, name, uid.clone(), *generation, *pods))
            });
            states::node_state(agent_version, &policies.collect::<Vec<_>>())
        };
        Ok(selected.iter().map(state).collect())
    }

    /// Changes the port of a policy's rule.
    pub fn change_port(&self, size: CrowdSize, policy: usize, port: u16) -> Result<Value> {
        let (namespace, mut object) = size.policy(policy);
        object["spec"]["ingress"][0]["ports"][0]["port"] = json!(port);
        let name = super::policy_name(size, policy);
        let path = format!("{API}/namespaces/{namespace}/xdppolicies/{name}");
        self.send(&ApiRequest::patch(path, &json!({"spec": object["spec"]})))
    }

    fn versions(&self, size: CrowdSize) -> Result<Versions> {
        let mut versions = Versions::new();
        for policy in self.list(&format!("{API}/xdppolicies"))? {
            let metadata = &policy["metadata"];
            let name = metadata["name"].as_str().unwrap_or_default();
            let number = match name.strip_prefix('x').and_then(|number| number.parse().ok()) {
                Some(number) => number,
                None if name == WIDE => size.policies,
                None => continue,
            };
            let uid = metadata["uid"]
                .as_str()
                .context("a policy without uid")?
                .to_owned();
            versions.insert(number, (uid, metadata["generation"].as_i64().unwrap_or(1)));
        }
        Ok(versions)
    }
}
