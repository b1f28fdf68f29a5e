//! Programs of other owners in the hooks of the reply path. As Cilium's do, they end the chain: what is
//! behind them sees nothing.

use xdp_e2e::Agent;
use xdp_lab::{Style, TcxDirection, TcxProgram, TcxVerdict, UdpClient, wait_until};

use super::place::{Place, SOON};
use crate::fixture::PATIENCE;

const SOME: usize = 50_000;

/// Attaches a program of another owner in front, in each hook of the reply path.
fn others(place: &Place) -> Vec<TcxProgram> {
    let host = place.pod.host_interface.as_str();
    let hooks = [
        (host, TcxDirection::Ingress),
        (host, TcxDirection::Egress),
        ("nic0", TcxDirection::Egress),
    ];
    let attach = |(interface, direction)| {
        let attached = place.node().tcx_first(interface, direction, TcxVerdict::Pass);
        attached.unwrap()
    };
    hooks.map(attach).into()
}

fn works(place: &Place, what: &str) {
    for side in &place.sides {
        place.is_fast_except_late_packets(what, || {
            place.connect(side.any(0), side.web()).echo(SOME).unwrap();
            place.request(side.any(0), side.web());
        });
    }
}

/// Whether a reply bypasses the stack.
fn is_fast(place: &Place) -> bool {
    let side = &place.sides[0];
    let mut answered = false;
    let did = place.stack_did(|| {
        let mut client = UdpClient::bind(&place.fixture.client, side.any(0), SOON).unwrap();
        let reply = client.request(side.web(), 100, 100);
        answered = reply.is_ok_and(|reply| reply.from == side.web());
    });
    answered && did.forwarded == 0
}

#[test]
fn a_program_that_was_there_before_hides_no_packets() {
    for (style, masquerade) in [(Style::Ptp, false), (Style::Bridge, true)] {
        let place = Place::new(style, masquerade);
        let _others = others(&place);
        let _agent = place.start();
        works(&place, "behind programs that were there before");
    }
}

#[test]
fn a_program_that_comes_later_is_overtaken() {
    let place = Place::new(Style::Ptp, true);
    let _agent: Agent<'_> = place.start();
    let mut held = place.sides.map(|side| place.connect(side.any(0), side.web()));
    let _others = others(&place);
    wait_until("the programs are first again", PATIENCE, || is_fast(&place)).unwrap();
    works(&place, "after programs that came later");
    for connection in &mut held {
        connection.echo(SOME).unwrap();
    }
}
