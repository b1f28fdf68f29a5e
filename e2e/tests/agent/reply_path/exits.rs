//! Interfaces by which packets leave: of the node, and of the pod.

use xdp_e2e::Agent;
use xdp_lab::{NicSpec, Style, UdpClient};

use super::{
    place::{Place, SOON},
    rules::run,
};

const SOME: usize = 50_000;
const REQUESTS: usize = 5;

/// The pod asks the ClusterIP. Returns how many requests of each family are answered.
fn answers(place: &Place) -> [usize; 2] {
    place.sides.map(|side| {
        let ask = |_: &usize| {
            let mut client = UdpClient::bind(&place.pod.ns, side.any(0), SOON).unwrap();
            let reply = client.request(side.cluster_ip(), 60, 300);
            reply.is_ok_and(|reply| reply.from == side.cluster_ip())
        };
        (0..REQUESTS).filter(ask).count()
    })
}

#[test]
fn requests_that_leave_by_a_nic_that_is_not_selected_are_answered() {
    for (style, masquerade) in [(Style::Ptp, false), (Style::Bridge, false), (Style::Ptp, true)] {
        let place = Place::new(style, masquerade);
        let fixture = &place.fixture;
        let second = fixture.lab.nic(NicSpec::new("nic1", &fixture.client)).unwrap();
        for (side, via) in place.sides.iter().zip([second.client_v4, second.client_v6]) {
            let (to, via) = (side.client.to_string(), via.to_string());
            run(
                place.node(),
                &["ip", "route", "add", &to, "via", &via, "dev", "nic1"],
                "",
            );
        }
        let sent = || place.node().counters("nic1").unwrap().tx_packets;
        let before = sent();
        assert_eq!(answers(&place), [REQUESTS; 2], "the stack alone");
        assert!(
            sent() >= before + 2 * REQUESTS as u64,
            "requests leave by the other NIC"
        );

        place.take_all();
        let mut agent = Agent::new(&fixture.lab, &fixture.manifests).nics(&["nic0"]);
        agent.start().unwrap();
        let ready =
            |status: &xdp_e2e::Status| status.nic_mode("nic0") == Some("Native") && status.ready("server");
        agent.wait_for("only the first NIC has the program", ready);
        assert_eq!(answers(&place), [REQUESTS; 2], "with the program");
        agent.kill().unwrap();
        assert_eq!(answers(&place), [REQUESTS; 2], "without an agent");
        agent.start().unwrap();
        agent.wait_for("an agent runs again", |status| status.running() && ready(status));
        assert_eq!(answers(&place), [REQUESTS; 2], "after a restart");
    }
}

/// Gives the pod a second interface with the default route, whose other end is on the node.
fn second_interface(place: &Place) {
    let pod = &place.pod.ns;
    place.node().wire("other0", pod, "net1").unwrap();
    for (addresses, length) in [(["10.5.0.1", "10.5.0.2"], 24), (["fd05::1", "fd05::2"], 64)] {
        let [node, own] = addresses.map(|address| address.parse().unwrap());
        place.node().add_address("other0", node, length).unwrap();
        pod.add_address("net1", own, length).unwrap();
        let family = if length == 24 { "-4" } else { "-6" };
        run(pod, &["ip", family, "route", "del", "default"], "");
        run(
            pod,
            &[
                "ip",
                family,
                "route",
                "add",
                "default",
                "via",
                addresses[0],
                "dev",
                "net1",
            ],
            "",
        );
    }
}

#[test]
fn a_pod_that_answers_by_another_interface_keeps_its_connections() {
    let place = Place::new(Style::Ptp, false);
    second_interface(&place);
    let works = |what: &str| {
        for side in &place.sides {
            let mut connection = place.connect(side.any(0), side.web());
            assert!(connection.echo(SOME).is_ok(), "{what}");
            place.request(side.any(0), side.web());
        }
    };
    works("the stack alone");
    place.take_all();
    let agent = place.fixture.enforce(&["server"]);
    let status = agent.wait_for("the other interface is noticed", |status| {
        status.problem("Pod games/server", "SeveralInterfaces").is_some()
    });
    let pod = status.pod("server").unwrap();
    assert_eq!(pod["readiness"]["reason"], "SeveralInterfaces", "{pod}");
    assert!(
        pod["readiness"]["message"].as_str().unwrap().contains("`net1`"),
        "{pod}"
    );
    works("with the program");

    place.pod.ns.delete_interface("net1").unwrap();
    for side in &place.sides {
        let (family, via) = if side.is_v4() {
            ("-4", "169.254.1.1")
        } else {
            ("-6", "fe80::1")
        };
        run(
            &place.pod.ns,
            &[
                "ip", family, "route", "replace", "default", "via", via, "dev", "eth0",
            ],
            "",
        );
    }
    agent.wait_for("the pod has one interface", |status| status.ready("server"));
}
