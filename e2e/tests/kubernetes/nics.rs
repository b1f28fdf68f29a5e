//! A NIC that refuses the program: reported in every status, not changed, and used as soon as it accepts the
//! program.

use aya::{
    Ebpf, EbpfLoader,
    programs::{Xdp, XdpMode},
};
use serde_json::{Value, json};
use xdp_e2e::installed::{ClusterPodSpec, Installation, Space, condition};
use xdp_kubernetes::Node;
use xdp_lab::Namespace;

use crate::fixture::{PLAYERS, deliver};

/// A second NIC of the second node, which the chart's `eth*` selects as soon as it is plugged in.
struct SecondNic<'a> {
    node: &'a Node,
    wire: Namespace,
}

const SPARE: &str = "spare0";
const NIC: &str = "eth1";

impl<'a> SecondNic<'a> {
    /// Creates the NIC under a name that is not selected yet.
    fn new(installed: &'a Installation, wire: &str) -> Self {
        let node = installed.node(2);
        let wire = installed.lab().namespace(wire).unwrap();
        node.namespace.wire(SPARE, &wire, "eth0").unwrap();
        Self { node, wire }
    }

    fn set_mtu(&self, name: &str, mtu: u32) {
        self.wire.set_mtu("eth0", mtu).unwrap();
        self.node.namespace.set_mtu(name, mtu).unwrap();
    }

    fn plug_in(&self) {
        self.node.namespace.set_up(SPARE, false).unwrap();
        let rename = ["ip", "link", "set", "dev", SPARE, "name", NIC, "up"];
        self.node.exec_ok(&rename).unwrap();
    }

    /// Returns the id of the program on the NIC.
    fn program(&self) -> Option<u64> {
        let shown = self
            .node
            .exec_ok(&["ip", "-json", "-details", "link", "show", "dev", NIC]);
        let shown: Value = serde_json::from_str(&shown.unwrap()).unwrap();
        shown[0]["xdp"]["prog"]["id"].as_u64()
    }
}

/// Removes the NIC, and waits until the node's state does not contain it.
fn unplug(installed: &Installation, second: SecondNic<'_>) {
    drop(second);
    let gone = installed.until_node_state(&format!("{NIC} is gone"), installed.node(2), |state| {
        nic(state).is_none()
    });
    gone.unwrap();
}

impl Drop for SecondNic<'_> {
    fn drop(&mut self) {
        for name in [SPARE, NIC] {
            // It has one of these names, so one deletion fails.
            let _ = self.node.namespace.delete_interface(name);
        }
    }
}

/// Creates a policy and waits until it is programmed on both nodes.
fn policy<'a>(installed: &'a Installation, name: &str) -> Space<'a> {
    let space = installed.space(name).unwrap();
    let pods = [
        ClusterPodSpec::new("ptp", "game", 1),
        ClusterPodSpec::new("bridge", "game", 2),
    ];
    space.pods(&pods).unwrap();
    space.policy("game", "game", &[PLAYERS]).unwrap();
    space.until_programmed("game", 2).unwrap();
    space
}

fn nic(state: &Value) -> Option<&Value> {
    let nics = state["status"]["nics"].as_array()?;
    nics.iter().find(|nic| nic["name"] == NIC)
}

/// Expects the same problem in node state, policy and event, and returns the state of the NIC.
fn refused(installed: &Installation, space: &Space<'_>, reason: &str) -> Value {
    let node = installed.node(2);
    let state = installed
        .until_node_state(&format!("{NIC} has the problem {reason}"), node, |state| {
            nic(state).is_some_and(|nic| nic["problems"][0]["reason"] == reason)
        })
        .unwrap();
    let found = nic(&state).unwrap().clone();
    for part in ["message", "remedy"] {
        assert!(
            !found["problems"][0][part].as_str().unwrap().is_empty(),
            "{found}"
        );
    }
    let policy = space.until_not_programmed("game", "NicProblem").unwrap();
    let message = condition(&policy, "Programmed").unwrap()["message"].clone();
    let message = message.as_str().unwrap();
    for word in ["node2", NIC, reason] {
        assert!(message.contains(word), "{word} is missing: {message}");
    }
    assert!(!message.contains("node1"), "{message}");
    assert_eq!(policy["status"]["nodes"], json!({"selected": 2, "programmed": 1}));
    let event = installed.until_event("default", &node.name, reason).unwrap();
    assert_eq!(event["type"], "Warning");
    assert!(event["note"].as_str().unwrap().contains(NIC), "{event}");
    found
}

/// Waits until the agent's program is attached to the NIC and the policy is programmed again.
fn recovered(installed: &Installation, space: &Space<'_>, nic_of: &SecondNic<'_>) {
    let state = installed
        .until_node_state(&format!("{NIC} is native"), installed.node(2), |state| {
            nic(state).is_some_and(|nic| nic["mode"] == "Native" && nic["problems"] == json!([]))
        })
        .unwrap();
    assert_eq!(nic(&state).unwrap()["programId"].as_u64(), nic_of.program());
    space.until_programmed("game", 2).unwrap();
}

#[test]
fn an_mtu_too_large_is_reported_with_node_and_remedy_until_it_is_lowered() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let space = policy(installed, "nic-mtu");
    let second = SecondNic::new(installed, "wire-mtu");
    second.set_mtu(SPARE, 9000);
    second.plug_in();
    let state = refused(installed, &space, "MtuTooLarge");
    assert_eq!((&state["mode"], &state["mtu"]), (&json!("None"), &json!(9000)));
    assert_eq!(second.program(), None, "never generic");
    let remedy = state["problems"][0]["remedy"].as_str().unwrap();
    assert!(remedy.contains(&format!("ip link set dev {NIC} mtu")), "{remedy}");
    // The other NIC still works.
    let pod = space.wait_pod("bridge").unwrap();
    assert_eq!(deliver(installed, &pod, 20).with_mark("UDP", 42), 20);

    second.set_mtu(NIC, 1500);
    recovered(installed, &space, &second);
    unplug(installed, second);
}

#[test]
fn a_foreign_program_is_reported_and_kept_and_the_agents_is_attached_when_it_is_gone() {
    let installed = Installation::shared();
    let _turn = installed.alone();
    let space = policy(installed, "nic-foreign");
    let second = SecondNic::new(installed, "wire-foreign");
    let (foreign, id) = attach_foreign(&second.node.namespace, SPARE);
    second.plug_in();
    let state = refused(installed, &space, "ForeignProgram");
    assert_eq!(
        (&state["mode"], state["programId"].as_u64()),
        (&json!("Foreign"), Some(id))
    );
    // Neither another reconcile nor another agent changes this.
    installed.replace_agent(installed.node(2)).unwrap();
    refused(installed, &space, "ForeignProgram");
    assert_eq!(second.program(), Some(id));

    drop(foreign);
    recovered(installed, &space, &second);
    unplug(installed, second);
}

/// Attaches a foreign program, and returns its owner and its id. It is detached when the owner is dropped.
fn attach_foreign(namespace: &Namespace, nic: &str) -> (Ebpf, u64) {
    let object = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-e2e-ebpf"));
    let mut ebpf = EbpfLoader::new().load(object).unwrap();
    let program: &mut Xdp = ebpf.program_mut("act").unwrap().try_into().unwrap();
    program.load().unwrap();
    namespace
        .run(|| program.attach(nic, XdpMode::Driver).unwrap())
        .unwrap();
    let id = program.info().unwrap().id().into();
    (ebpf, id)
}
