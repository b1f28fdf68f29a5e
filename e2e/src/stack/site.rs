//! A node with two NICs and four pods, and sockets that send and observe frames at all places.

mod build;

use std::{collections::BTreeSet, net::UdpSocket};

use anyhow::Context as _;
use xdp_lab::{Lab, LabPod, Namespace, Nic, RawSocket};

use super::{
    host::Place,
    seen::Observations,
    sentinel,
    setting::{self, StackSetting, StackedOn},
};
use crate::{Agent, ManifestFolder, Status};

/// The pods' port with a socket.
const PORT: u16 = 7000;

/// One of the two nodes.
pub(super) struct Site {
    ends: Vec<End>,
    manifests: ManifestFolder,
    setting: StackSetting,
    pods: Vec<(Place, LabPod)>,
    // Last: the sockets above keep its namespaces alive.
    lab: Lab,
}

/// A place's sockets.
struct End {
    place: Place,
    sender: RawSocket,
    tap: RawSocket,
    socket: Option<UdpSocket>,
}

impl Site {
    /// Creates a node. Returns `None` if the kernel has no interfaces of the type that the setting needs.
    pub(super) fn new(setting: StackSetting) -> anyhow::Result<Option<Self>> {
        let lab = Lab::new()?;
        setting::set(lab.node(), &setting::sysctls())?;
        let nics = build::nics(&lab)?;
        if let Err(error) = build::ip(&lab, lab.node(), &setting.top()) {
            if setting.top != StackedOn::Nothing && setting::is_unknown_type(&error.to_string()) {
                return Ok(None);
            }
            return Err(error);
        }
        let pods = build::pods(&lab)?;
        build::quiet(&lab, setting, &nics, &pods)?;
        let ends = ends(&nics, &pods)?;
        let manifests = ManifestFolder::new(&lab)?;
        Ok(Some(Self {
            ends,
            manifests,
            setting,
            pods,
            lab,
        }))
    }

    /// Starts an agent, and waits until it redirects.
    pub(super) fn start(&self) -> anyhow::Result<Agent<'_>> {
        for (place, pod) in &self.pods {
            let name = format!("{place:?}").to_lowercase();
            self.manifests.write_pod(&name, &name, pod)?;
            if *place != Place::Other {
                self.manifests
                    .write(&format!("policy-{name}.yaml"), &self.policy(&name))?;
            }
        }
        let mut agent = Agent::new(&self.lab, &self.manifests).nics(&[self.setting.nics]);
        agent.start()?;
        let is_peer = self.setting.delivery == "Peer";
        agent.wait_for("the NIC is attached and the pods are ready", |status| {
            let ready = |pod: &&str| {
                status.ready(pod) || is_peer && status.programmed(pod) && has_reply_path(status, pod)
            };
            status.nic_mode("nic0") == Some("Native")
                && (!is_peer || status.json()["nics"][0]["peer"] == true)
                && ["server", "neighbour", "bridged"].iter().all(ready)
        });
        Ok(agent)
    }

    fn policy(&self, app: &str) -> String {
        format!(
            "apiVersion: xdp-operator.io/v1alpha1
kind: XdpPolicy
metadata: {{namespace: games, name: {app}}}
spec:
  podSelector: {{matchLabels: {{app: {app}}}}}
  delivery: {}
  ingress:
  - {{name: all, action: Redirect, mark: 42}}
",
            self.setting.delivery
        )
    }

    pub(super) fn forwards(&self) -> bool {
        self.setting.forwarding
    }

    /// Sends a frame.
    pub(super) fn send(&self, place: Place, frame: &[u8]) -> anyhow::Result<()> {
        let end = self.ends.iter().find(|end| end.place == place);
        end.context("every place has an end")?.sender.send(frame)?;
        Ok(())
    }

    /// Notes the frames that have arrived. Returns the sentinels.
    pub(super) fn observe(&self, observations: &mut Observations) -> BTreeSet<(Place, u32)> {
        let mut sentinels = BTreeSet::new();
        let mut buffer = [0; 2048];
        for end in &self.ends {
            for frame in end.tap.arrived() {
                match sentinel::number(&frame) {
                    Some(number) => drop(sentinels.insert((end.place, number))),
                    None => observations.note(end.place, &frame),
                }
            }
            let Some(socket) = &end.socket else {
                continue;
            };
            while let Ok(length) = socket.recv(&mut buffer) {
                let payload = &buffer[..length];
                if sentinel::number(payload).is_none() {
                    observations.note_datagram(end.place, payload);
                }
            }
        }
        sentinels
    }
}

fn has_reply_path(status: &Status, pod: &str) -> bool {
    status
        .pod(pod)
        .is_some_and(|pod| pod["replyPath"]["state"] == "Ready")
}

fn ends(nics: &[Nic; 2], pods: &[(Place, LabPod)]) -> anyhow::Result<Vec<End>> {
    let mut ends = Vec::new();
    let mut add = |place, namespace: &Namespace, interface: &str| -> anyhow::Result<()> {
        let bind = || -> std::io::Result<UdpSocket> {
            let socket = UdpSocket::bind((std::net::Ipv6Addr::UNSPECIFIED, PORT))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        ends.push(End {
            place,
            sender: RawSocket::sender(namespace, interface)?,
            tap: RawSocket::receiver(namespace, interface)?,
            socket: if place.is_pod() {
                Some(namespace.run(bind)??)
            } else {
                None
            },
        });
        Ok(())
    };
    add(Place::Wire0, &nics[0].client, &nics[0].wire)?;
    add(Place::Wire1, &nics[1].client, &nics[1].wire)?;
    for (place, pod) in pods {
        add(*place, &pod.ns, "eth0")?;
    }
    Ok(ends)
}
