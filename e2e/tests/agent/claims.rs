//! Other pods that carry a pod's address: nothing is taken away from it.

use xdp_e2e::{Agent, Status};
use xdp_lab::{LabPod, Style, UdpSender};

use crate::{
    fixture::{Fixture, PLAYERS, at, only_mark, policy},
    moving::ip,
};

const DROP: &str = "{name: rest, action: Drop}";

/// A victim whose rules redirect and drop, and another tenant's pod with rules of its own.
fn tenants(style: Style) -> (Fixture, LabPod, LabPod) {
    let fixture = Fixture::new();
    let victim = fixture.pod("server", "game", style, 5);
    let other = fixture.pod("other", "other", style, 6);
    fixture.policy("players", &[PLAYERS, DROP]);
    let all = "{name: all, action: Redirect}";
    let own = policy("own", "podSelector: {matchLabels: {app: other}}", &[all]);
    fixture.manifests.write("policy-own.yaml", &own).unwrap();
    (fixture, victim, other)
}

/// Gives a pod's interface both addresses of the victim.
fn claim(other: &LabPod, victim: &LabPod) {
    ip(&other.ns, &format!("addr add {}/32 dev eth0", victim.v4()));
    ip(&other.ns, &format!("addr add {}/128 dev eth0 nodad", victim.v6()));
}

#[track_caller]
fn noticed(agent: &Agent<'_>) -> Status {
    agent.wait_for("the addresses on the other interface are noticed", |status| {
        status.problem("Pod games/server", "AmbiguousAddress").is_some()
    })
}

/// Redirect and Drop work for both families.
#[track_caller]
fn keeps_its_rules(fixture: &Fixture, agent: &Agent<'_>, victim: &LabPod) {
    assert!(agent.look().ready("server"));
    for address in [victim.v4(), victim.v6()] {
        only_mark(&fixture.deliver(victim, at(address, 7777), 100), 42, 100);
    }
    drops(fixture, agent, victim);
}

#[track_caller]
fn drops(fixture: &Fixture, agent: &Agent<'_>, victim: &LabPod) {
    let before = agent.look().packets("rest", "dropped");
    for address in [victim.v4(), victim.v6()] {
        let mut sender = UdpSender::new(&fixture.client, at(address, 9999)).unwrap();
        sender.send(50).unwrap();
    }
    agent.wait_for("packets for the other port are dropped", |status| {
        status.packets("rest", "dropped") == before + 100
    });
}

fn nothing_is_taken_away(style: Style) {
    let (fixture, victim, other) = tenants(style);
    let mut agent = fixture.start(&["server", "other"]);
    keeps_its_rules(&fixture, &agent, &victim);
    claim(&other, &victim);
    noticed(&agent);
    keeps_its_rules(&fixture, &agent, &victim);
    agent.kill().unwrap();
    agent.start().unwrap();
    agent.wait_for("an agent runs again", |status| {
        status.running() && status.ready("server")
    });
    noticed(&agent);
    keeps_its_rules(&fixture, &agent, &victim);
}

#[test]
fn another_pods_claim_takes_nothing_away_where_a_route_leads_to_each_pod() {
    nothing_is_taken_away(Style::Ptp);
}

#[test]
fn another_pods_claim_takes_nothing_away_behind_a_bridge() {
    nothing_is_taken_away(Style::Bridge);
}

/// The leaked sandbox of an earlier pod: its interface is down.
#[test]
fn an_interface_that_is_down_takes_nothing_away() {
    for style in [Style::Ptp, Style::Bridge] {
        let (fixture, victim, leaked) = tenants(style);
        leaked.set_up(false).unwrap();
        ip(&leaked.ns, &format!("addr add {}/32 dev eth0", victim.v4()));
        let agent = fixture.start(&["server"]);
        noticed(&agent);
        keeps_its_rules(&fixture, &agent, &victim);
    }
}

#[test]
fn an_address_in_doubt_keeps_drop_and_loses_redirect_until_the_doubt_ends() {
    let (fixture, victim, other) = tenants(Style::Bridge);
    claim(&other, &victim);
    let agent = fixture.enforce(&["server"]);
    let status = agent.wait_for("the addresses are in doubt", |status| {
        status.problem("Pod games/server", "AddressInDoubt").is_some()
    });
    let readiness = &status.pod("server").unwrap()["readiness"];
    assert_eq!(readiness["reason"], "AddressInDoubt");
    drops(&fixture, &agent, &victim);
    let mut sender = UdpSender::new(&fixture.client, at(victim.v4(), 7777)).unwrap();
    sender.send(20).unwrap();
    agent.wait_for("packets of the Redirect rule pass", |status| {
        status.happened("fallbacks", "AddressInDoubt") == 20
    });
    ip(&other.ns, &format!("addr del {}/32 dev eth0", victim.v4()));
    ip(&other.ns, &format!("addr del {}/128 dev eth0", victim.v6()));
    agent.wait_for("the doubt ends", |status| status.ready("server"));
    keeps_its_rules(&fixture, &agent, &victim);
}
