//! Interfaces that refuse a program of the reply path: no packet is redirected, and all flows work.

use xdp_e2e::{Agent, Status};
use xdp_lab::{Style, TcxCrowd, TcxDirection};

use super::place::Place;
use crate::fixture::counts;

const SOME: usize = 50_000;

fn reason(status: &Status) -> Option<&str> {
    status.pod("server")?["replyPath"]["reason"].as_str()
}

/// Checks that connections and datagrams go through the stack, and are counted as fallbacks.
fn passes(place: &Place, agent: &Agent<'_>) {
    let before = counts(&agent.look(), "any");
    let did = place.stack_did(|| {
        for side in &place.sides {
            place.connect(side.any(0), side.web()).echo(SOME).unwrap();
            place.request(side.any(0), side.web());
        }
    });
    assert!(did.forwarded > 8 && did.invalid == 0, "{did:?}");
    let status = agent.wait_for("what passes is counted", |status| {
        counts(status, "any")[5] >= before[5] + 8
    });
    let after = counts(&status, "any");
    assert_eq!(after[0], before[0], "none is redirected");
    assert!(status.json()["fallbacks"]["NoReplyPath"].as_u64() >= Some(8));
}

/// `object` is the object of the problem.
fn nothing_breaks(place: &Place, crowd: TcxCrowd, object: &str, interface: &str) {
    place.take_all();
    let agent = place.fixture.enforce(&["server"]);
    passes_until_the_crowd_goes(place, &agent, crowd, object, interface);
}

fn passes_until_the_crowd_goes(
    place: &Place,
    agent: &Agent<'_>,
    crowd: TcxCrowd,
    object: &str,
    interface: &str,
) {
    let status = agent.wait_for("the reply path is refused", |status| {
        reason(status) == Some("NoReplyPath") && status.problem(object, "NoReplyPath").is_some()
    });
    let problem = status.problem(object, "NoReplyPath").unwrap();
    assert!(
        problem["message"].as_str().unwrap().contains(interface),
        "{problem}"
    );
    assert!(!problem["remedy"].as_str().unwrap().is_empty(), "{problem}");
    passes(place, agent);

    let mut held = place.sides.map(|side| place.connect(side.any(0), side.web()));
    drop(crowd);
    agent.wait_for("the reply path is ready", |status| {
        status.ready("server") && status.problem(object, "NoReplyPath").is_none()
    });
    for connection in &mut held {
        connection.echo(SOME).unwrap();
    }
    for side in &place.sides {
        place.is_fast_except_late_packets("opened since", || {
            place.connect(side.any(0), side.web()).echo(SOME).unwrap();
        });
    }
}

#[test]
fn packets_pass_with_a_problem_while_a_pods_interface_refuses_the_reply_path() {
    for direction in [TcxDirection::Ingress, TcxDirection::Egress] {
        let place = Place::new(Style::Ptp, true);
        let interface = &place.pod.host_interface;
        let crowd = place.node().crowd(interface, direction).unwrap();
        nothing_breaks(&place, crowd, "Pod games/server", interface);
    }
}

#[test]
fn packets_of_all_pods_pass_with_a_problem_while_the_nic_refuses_the_reply_path() {
    let place = Place::new(Style::Bridge, false);
    let crowd = place.node().crowd("nic0", TcxDirection::Egress).unwrap();
    nothing_breaks(&place, crowd, "NIC nic0", "nic0");
}

/// The hook has no place for the program to be moved to.
#[test]
fn packets_pass_with_a_problem_while_a_program_cannot_be_moved_in_front_of_others() {
    let place = Place::new(Style::Ptp, true);
    let agent = place.start();
    let interface = &place.pod.host_interface;
    let crowd = place.node().crowd(interface, TcxDirection::Ingress).unwrap();
    let status = agent.wait_for("the other programs are reported", |status| {
        status
            .problem("Pod games/server", "ForeignProgramFirst")
            .is_some()
    });
    let problem = status.problem("Pod games/server", "NoReplyPath").unwrap();
    let message = problem["message"].as_str().unwrap();
    assert!(
        message.contains("another program runs before `pod_out`"),
        "{message}"
    );
    passes_until_the_crowd_goes(&place, &agent, crowd, "Pod games/server", interface);
}
