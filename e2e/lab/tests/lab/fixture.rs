//! The lab that most tests use.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use xdp_lab::{Lab, LabPod, LabPodSpec, Namespace, Nic, Style, UdpReceiver, UdpSender};

/// Long enough for the machine's one work queue that destroys namespaces.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// Two NICs with a client each, a point-to-point pod and a bridge pod.
pub(crate) struct Fixture {
    pub(crate) nics: Vec<Nic>,
    pub(crate) ptp: LabPod,
    pub(crate) bridge: LabPod,
    pub(crate) lab: Lab,
}

pub(crate) fn fixture() -> Fixture {
    let lab = Lab::new().unwrap();
    let nics = ["0", "1"].map(|number| {
        let client = lab.namespace(&format!("client{number}")).unwrap();
        lab.nic(xdp_lab::NicSpec::new(&format!("nic{number}"), &client))
            .unwrap()
    });
    let ptp = LabPodSpec::new("ptp", Style::Ptp)
        .v4("10.8.0.2/24".parse().unwrap())
        .v6("fd08::2/64".parse().unwrap());
    let bridge = LabPodSpec::new("bridge", Style::Bridge)
        .v4("10.9.0.2/24".parse().unwrap())
        .v6("fd09::2/64".parse().unwrap());
    Fixture {
        nics: nics.into(),
        ptp: lab.pod(&ptp).unwrap(),
        bridge: lab.pod(&bridge).unwrap(),
        lab,
    }
}

/// Returns whether a datagram gets from the client to the address in the pod. The first ones may be lost
/// while an interface comes up, or be refused while the route is missing, so this sends until one arrives.
pub(crate) fn reaches(client: &Namespace, pod: &Namespace, ip: IpAddr) -> bool {
    let receiver = UdpReceiver::bind(pod, SocketAddr::new(ip, 0)).unwrap();
    let Ok(mut sender) = UdpSender::new(client, receiver.address()) else {
        return false;
    };
    let start = Instant::now();
    while start.elapsed() < SOON {
        let _ = sender.send_one();
        if receiver.wait_for(1, Duration::from_millis(50)).is_ok() {
            return true;
        }
    }
    false
}
