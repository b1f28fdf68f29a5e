//! Helpers that the tests use.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::ensure;
use serde_json::{Value, json};
use xdp_e2e::simulated::{API, ApiRequest, CrowdSize, OperatorProcess, SimulatedCluster, operator_binary};
use xdp_kubernetes::PATIENCE;

/// Waits until no other test of this program runs.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An API server with the operator, for tests of few objects. It ends with the process.
pub(crate) fn shared() -> &'static SimulatedCluster {
    static SHARED: OnceLock<(SimulatedCluster, OperatorProcess)> = OnceLock::new();
    let start = || {
        let binary = operator_binary().unwrap();
        let simulated = SimulatedCluster::start(&binary).unwrap();
        // The operator writes sets when there are agents.
        let one = CrowdSize {
            nodes: 1,
            policies: 0,
        };
        simulated.populate(one).unwrap();
        let operator = OperatorProcess::start(&simulated, &binary, &[]).unwrap();
        (simulated, operator)
    };
    &SHARED.get_or_init(start).0
}

/// Waits until `attempt` succeeds.
#[track_caller]
pub(crate) fn until<T>(
    simulated: &SimulatedCluster,
    what: &str,
    attempt: impl FnMut() -> anyhow::Result<T>,
) -> T {
    simulated.cluster().wait_for(what, PATIENCE, attempt).unwrap()
}

/// Creates a policy whose rule `r0`, `r1`, … has the sources of the same number.
pub(crate) fn policy(simulated: &SimulatedCluster, namespace: &str, name: &str, sources: &[Vec<Value>]) {
    let object = policy_object(name, sources);
    let path = format!("{API}/namespaces/{namespace}/xdppolicies");
    simulated.send(&ApiRequest::create(path, &object)).unwrap();
}

pub(crate) fn policy_object(name: &str, sources: &[Vec<Value>]) -> Value {
    let rules: Vec<Value> = sources
        .iter()
        .enumerate()
        .map(|(number, from)| json!({"name": format!("r{number}"), "from": from, "action": "Drop"}))
        .collect();
    json!({
        "apiVersion": "xdp-operator.io/v1alpha1",
        "kind": "XdpPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": {"app": "game"}}, "ingress": rules},
    })
}

/// Creates a running pod, or one with another address.
pub(crate) fn pod(simulated: &SimulatedCluster, namespace: &str, name: &str, labels: &Value, address: &str) {
    let object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "nodeName": "n0",
            "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "none"}],
        },
    });
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    simulated.send(&ApiRequest::create(path, &object)).unwrap();
    move_pod(simulated, namespace, name, address);
}

/// Gives a pod an address, as the kubelet does.
pub(crate) fn move_pod(simulated: &SimulatedCluster, namespace: &str, name: &str, address: &str) {
    let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}});
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/status");
    simulated.send(&ApiRequest::patch(path, &status)).unwrap();
}

pub(crate) fn delete_policy(simulated: &SimulatedCluster, namespace: &str, name: &str) {
    let path = format!("{API}/namespaces/{namespace}/xdppolicies/{name}");
    simulated.send(&ApiRequest::delete(path)).unwrap();
}

/// Returns the objects of the set with this selection.
pub(crate) fn slices(simulated: &SimulatedCluster, selection: &str) -> anyhow::Result<Vec<Value>> {
    let mut sets = simulated.peer_sets()?;
    sets.retain(|set| set["spec"]["selection"] == selection);
    Ok(sets)
}

/// Waits until the set of a selection has exactly these addresses, and returns its only slice.
#[track_caller]
pub(crate) fn until_set(simulated: &SimulatedCluster, selection: &str, addresses: &[&str]) -> Value {
    until(simulated, &format!("{selection}: {addresses:?}"), || {
        let mut found = slices(simulated, selection)?;
        ensure!(found.len() == 1, "{found:#?}");
        let slice = found.remove(0);
        ensure!(slice["spec"]["addresses"] == json!(addresses), "{slice:#}");
        Ok(slice)
    })
}
