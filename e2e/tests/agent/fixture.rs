//! The smallest lab for a test: one client on one NIC, pods, and a folder of manifests.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::{Ipv4Net, Ipv6Net};
use xdp_core::tables::ABI_VERSION;
use xdp_e2e::{Agent, FIELDS, ManifestFolder, Status, make_pins_older};
use xdp_lab::{
    Datagrams, Lab, LabPod, LabPodSpec, Namespace, Nic, NicSpec, Style, UdpReceiver, UdpSender, wait_until,
};

/// The limit for anything that succeeds.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Fixture {
    pub(crate) nic: Nic,
    pub(crate) client: Namespace,
    pub(crate) manifests: ManifestFolder,
    pub(crate) lab: Lab,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let lab = Lab::new().unwrap();
        let client = lab.namespace("client").unwrap();
        let nic = lab.nic(NicSpec::new("nic0", &client)).unwrap();
        let manifests = ManifestFolder::new(&lab).unwrap();
        Self {
            nic,
            client,
            manifests,
            lab,
        }
    }

    /// Creates a pod with label `app: APP` and both addresses, which end in `number`.
    pub(crate) fn pod(&self, name: &str, app: &str, style: Style, number: u8) -> LabPod {
        let pod = self.lab.pod(&spec(name, style, number)).unwrap();
        self.manifests.write_pod(name, app, &pod).unwrap();
        pod
    }

    /// Creates a pod with named ports: `[{name: http, containerPort: 80}]`.
    pub(crate) fn pod_with_ports(&self, name: &str, app: &str, number: u8, ports: &str) -> LabPod {
        let pod = self.lab.pod(&spec(name, Style::Ptp, number)).unwrap();
        self.set_ports(name, app, &pod, ports);
        pod
    }

    /// Rewrites the pod's object with other named ports.
    pub(crate) fn set_ports(&self, name: &str, app: &str, pod: &LabPod, ports: &str) {
        let spec = format!("{{containers: [{{name: server, ports: {ports}}}]}}");
        self.manifests.write_pod_with(name, app, pod, &spec).unwrap();
    }

    /// Writes a policy for the pods with label `app: game`. Each rule is one line of YAML.
    pub(crate) fn policy(&self, name: &str, rules: &[&str]) {
        self.policy_with(name, "podSelector: {matchLabels: {app: game}}", rules);
    }

    /// Writes a policy with other fields of the spec, each on a line of its own.
    pub(crate) fn policy_with(&self, name: &str, spec: &str, rules: &[&str]) {
        let file = format!("policy-{name}.yaml");
        self.manifests.write(&file, &policy(name, spec, rules)).unwrap();
    }

    /// Starts an agent, and waits until the NIC is attached and all these pods are ready.
    pub(crate) fn start(&self, pods: &[&str]) -> Agent<'_> {
        let mut agent = Agent::new(&self.lab, &self.manifests);
        agent.start().unwrap();
        agent.wait_for("the NIC is attached and the pods are programmed", |status| {
            status.nic_mode("nic0") == Some("Native") && pods.iter().all(|pod| status.ready(pod))
        });
        agent
    }

    /// Starts an agent, and waits until the NIC is attached and the rules of these pods are programmed. The
    /// pods need not be ready for redirects.
    pub(crate) fn enforce(&self, pods: &[&str]) -> Agent<'_> {
        let mut agent = Agent::new(&self.lab, &self.manifests);
        agent.start().unwrap();
        agent.wait_for("the NIC is attached and the pods are programmed", |status| {
            status.nic_mode("nic0") == Some("Native") && pods.iter().all(|pod| status.programmed(pod))
        });
        agent
    }

    /// The directory of the pins of the agent's table layout.
    pub(crate) fn pins(&self) -> PathBuf {
        self.lab.pin_dir().join(format!("abi-{ABI_VERSION}"))
    }

    /// Renames the pins to those of the previous layout, whose directory and flow tables have other names.
    /// Returns the directory.
    pub(crate) fn make_pins_older(&self) -> PathBuf {
        make_pins_older(&self.lab.pin_dir()).unwrap()
    }

    /// Sends datagrams to the pod, waits until all have arrived, and returns them.
    #[track_caller]
    pub(crate) fn deliver(&self, pod: &LabPod, to: SocketAddr, packets: u64) -> Datagrams {
        let inbox = UdpReceiver::bind(&pod.ns, to).unwrap();
        self.deliver_to(&inbox, to, packets)
    }

    /// Sends datagrams to a receiver that has received nothing so far, and waits until all have arrived.
    #[track_caller]
    pub(crate) fn deliver_to(&self, inbox: &UdpReceiver, to: SocketAddr, packets: u64) -> Datagrams {
        let mut sender = UdpSender::new(&self.client, to).unwrap();
        all_arrive(&mut sender, inbox, packets, IN_FLIGHT);
        inbox.received()
    }
}

/// Small datagrams in flight: a quarter of what the rings hold.
pub(crate) const IN_FLIGHT: u64 = 64;

/// Sends until `packets` were sent, and waits until they have arrived. Never more are in flight than the
/// rings and sockets on the path hold, so a busy machine drops none. The first is sent alone: while the
/// neighbour is resolved, the kernel queues only a few packets.
#[track_caller]
pub(crate) fn all_arrive(sender: &mut UdpSender, inbox: &UdpReceiver, packets: u64, at_once: u64) {
    while sender.sent() < packets {
        let more = if sender.sent() == 0 { 1 } else { at_once };
        sender.send(more.min(packets - sender.sent())).unwrap();
        let arrived = || inbox.stream(sender.stream()).distinct == sender.sent();
        let all = wait_until("all sent datagrams arrive", PATIENCE, arrived);
        all.unwrap_or_else(|error| panic!("{error}: {:?}", inbox.received()));
    }
}

pub(crate) fn spec(name: &str, style: Style, number: u8) -> LabPodSpec {
    let spec = LabPodSpec::new(name, style);
    match style {
        Style::Ptp => spec
            .v4(Ipv4Net::new_assert([10, 2, 0, number].into(), 32))
            .v6(Ipv6Net::new_assert(
                [0xfd02, 0, 0, 0, 0, 0, 0, number.into()].into(),
                128,
            )),
        Style::Bridge => spec
            .v4(Ipv4Net::new_assert([10, 3, 0, number].into(), 24))
            .v6(Ipv6Net::new_assert(
                [0xfd03, 0, 0, 0, 0, 0, 0, number.into()].into(),
                64,
            )),
    }
}

pub(crate) fn policy(name: &str, spec: &str, rules: &[&str]) -> String {
    let spec = spec.replace('\n', "\n  ");
    let rules = rules.join("\n  - ");
    format!(
        "apiVersion: xdp-operator.io/v1alpha1
kind: XdpPolicy
metadata: {{namespace: games, name: {name}}}
spec:
  {spec}
  ingress:
  - {rules}
"
    )
}

/// Redirects UDP to port 7777 with mark 42.
pub(crate) const PLAYERS: &str =
    "{name: players, ports: [{protocol: UDP, port: 7777}], action: Redirect, mark: 42}";

/// A rule's counters, except `rejected` and `limited`.
pub(crate) fn counts(status: &Status, rule: &str) -> [u64; 6] {
    [
        "redirected",
        "delivered",
        "passed",
        "dropped",
        "audited",
        "fellBack",
    ]
    .map(|field| status.packets(rule, field))
}

/// Waits until the rule's counters are these.
#[track_caller]
pub(crate) fn expect_counts(agent: &Agent<'_>, rule: &str, expected: [u64; 6]) -> Status {
    let what = format!(
        "`{rule}` has counted [redirected, delivered, passed, dropped, audited, fellBack] = {expected:?}"
    );
    agent.wait_for(&what, |status| counts(status, rule) == expected)
}

/// Waits until the rule has counted these, by field, and nothing else.
#[track_caller]
pub(crate) fn expect_only(agent: &Agent<'_>, rule: &str, expected: &[(&str, u64)]) -> Status {
    let of = |field: &&str| {
        expected
            .iter()
            .find(|(name, _)| name == field)
            .map_or(0, |(_, packets)| *packets)
    };
    let wanted = FIELDS.map(|field| of(&field));
    let what = format!("`{rule}` has counted {expected:?} and nothing else");
    agent.wait_for(&what, |status| status.counts(rule) == wanted)
}

/// Checks that this many datagrams arrived with this mark, and none with another.
#[track_caller]
pub(crate) fn only_mark(received: &Datagrams, mark: u32, packets: u64) {
    let marks: Vec<(u32, u64)> = received
        .marks
        .iter()
        .map(|(mark, count)| (*mark, *count))
        .collect();
    assert_eq!(marks, [(mark, packets)]);
}

pub(crate) fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}
