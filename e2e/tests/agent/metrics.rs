//! `/metrics`, the probes, and `uninstall --wait`.

use std::fs;

use xdp_e2e::{Agent, installed::Scrape};
use xdp_lab::{Process, Signal, Style, wait_until};

use crate::{
    fixture::{Fixture, PATIENCE, PLAYERS, at, expect_counts},
    nics::xdp,
};

const SENT: u64 = 300;

pub(crate) fn scrape(agent: &Agent<'_>) -> Scrape {
    let reply = agent.get("/metrics").unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    Scrape::parse(reply.body).unwrap()
}

#[test]
fn the_counters_at_metrics_are_what_client_and_pod_counted() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    let scanners = "{name: scanners, ports: [{protocol: UDP, port: 9}], action: Drop}";
    let closed = "{name: closed, ports: [{protocol: UDP, port: 10}], action: Reject}";
    let slow = "{name: slow, ports: [{protocol: UDP, port: 11}], action: Pass, rateLimit: {packetsPerSecond: 1, burst: 5}}";
    fixture.policy("players", &[PLAYERS, scanners, closed, slow]);
    let mut agent = Agent::new(&fixture.lab, &fixture.manifests).listens();
    agent.start().unwrap();
    agent.wait_for("the pod is ready", |status| {
        status.ready("server") && status.nic_mode("nic0") == Some("Native")
    });

    let received = fixture.deliver(&pod, at(pod.v4(), 7777), SENT);
    for port in [9, 10, 11] {
        let mut sender = xdp_lab::UdpSender::new(&fixture.client, at(pod.v4(), port)).unwrap();
        sender.send(SENT / 3).unwrap();
    }
    // Dropped packets reach no receiver, so wait for the counter.
    expect_counts(&agent, "scanners", [0, 0, 0, SENT / 3, 0, 0]);
    let status = agent.wait_for("the limited ones are counted", |status| {
        status.counts("slow").iter().sum::<u64>() == SENT / 3
    });
    let slow = status.packets("slow", "passed");
    assert!((5..SENT / 3).contains(&slow), "{slow}");

    let metrics = scrape(&agent);
    assert_eq!(received.packets, SENT);
    for (rule, action, expected) in [
        ("players", "redirected", SENT),
        ("players", "delivered", SENT),
        ("players", "fell_back", 0),
        ("scanners", "dropped", SENT / 3),
        ("scanners", "passed", 0),
        ("closed", "rejected", SENT / 3),
        ("slow", "passed", slow),
        ("slow", "limited", SENT / 3 - slow),
    ] {
        assert_eq!(
            metrics.rule_packets("games", ("players", rule), action),
            Some(expected),
            "{rule} {action}\n{}",
            metrics.text
        );
    }
    one_nic_and_one_pod_are_programmed(&metrics);
    for probe in ["/healthz", "/readyz"] {
        assert_eq!(agent.get(probe).unwrap().status, 200, "{probe}");
    }
}

/// Checks the gauges, and that no error is counted.
fn one_nic_and_one_pod_are_programmed(metrics: &Scrape) {
    let one = |name: &str, labels: &[(&str, &str)]| {
        assert!(
            (metrics.sum(name, labels) - 1.0).abs() < f64::EPSILON,
            "{name} {labels:?}\n{}",
            metrics.text
        );
    };
    one(
        "xdp_agent_nic_info",
        &[("nic", "nic0"), ("driver", "veth"), ("mode", "native")],
    );
    one("xdp_agent_pods", &[("state", "ready")]);
    let events = "xdp_agent_events_total";
    for reason in [
        "RejectLimited",
        "RejectSilent",
        "RejectFailed",
        "SourceLimitTableFull",
    ] {
        let found: Vec<f64> = metrics
            .find(events, &[("reason", reason)])
            .map(|sample| sample.value)
            .collect();
        assert_eq!(found, [0.0], "{reason}\n{}", metrics.text);
    }
    let usage = |name: &str| -> Vec<f64> { metrics.find(name, &[]).map(|sample| sample.value).collect() };
    let (used, capacity) = (usage("xdp_agent_table_used"), usage("xdp_agent_table_capacity"));
    assert!(used.iter().any(|used| *used > 0.0), "{}", metrics.text);
    assert!(
        used.iter()
            .zip(&capacity)
            .all(|(used, capacity)| used <= capacity),
        "{}",
        metrics.text
    );
    assert_eq!(metrics.find("xdp_agent_nic_problem", &[]).count(), 0);
    assert!(metrics.sum("xdp_agent_reconciles_total", &[("result", "success")]) >= 1.0);
    assert!(metrics.sum("xdp_agent_scrape_errors_total", &[]) < 1.0);
}

#[test]
fn an_agent_whose_port_is_in_use_exits_with_a_remedy() {
    let fixture = Fixture::new();
    let mut first = Agent::new(&fixture.lab, &fixture.manifests).listens();
    first.start().unwrap();
    wait_until("the first one listens", PATIENCE, || {
        first.get("/healthz").is_ok()
    })
    .unwrap();
    let mut second = Agent::new(&fixture.lab, &fixture.manifests)
        .listens()
        .pin_dir(&fixture.lab.dir().join("bpf/second"))
        .log_to("second.log");
    second.start().unwrap();
    let (code, log) = second.wait_for_end().unwrap();
    assert_eq!(code, Some(1));
    assert!(
        log.contains("cannot listen on `127.0.0.1:9466`") && log.contains("agent.port"),
        "{log}"
    );
}

fn wait_for_readyz(agent: &Agent<'_>, status: u16, body: &str) {
    let mut last = None;
    let waited = wait_until(&format!("readyz is {status}"), PATIENCE, || {
        last = agent.get("/readyz").ok();
        last.as_ref()
            .is_some_and(|reply| reply.status == status && reply.body.contains(body))
    });
    waited.unwrap_or_else(|error| panic!("{error}: {last:?}\n{}", agent.log()));
}

fn end(process: &Process) {
    process.signal(Signal::SIGTERM).unwrap();
    assert!(process.wait(PATIENCE).unwrap().success());
}

#[test]
fn uninstall_wait_waits_for_the_agent_removes_everything_and_becomes_ready() {
    let fixture = Fixture::new();
    let pod = fixture.pod("server", "game", Style::Ptp, 5);
    fixture.policy("players", &[PLAYERS]);
    let mut agent = fixture.start(&["server"]);
    assert!(pod.gro().unwrap());

    let uninstall = agent.uninstall_and_wait().unwrap();
    wait_for_readyz(&agent, 503, "another agent works in");
    assert_eq!(agent.get("/healthz").unwrap().status, 200);
    assert_eq!(agent.look().nic_mode("nic0"), Some("Native"));

    agent.stop().unwrap();
    wait_for_readyz(&agent, 200, "ok");
    assert!(!fixture.lab.pin_dir().exists());
    assert!(!pod.gro().unwrap());
    assert_eq!(xdp(&fixture, "nic0"), None);
    assert_eq!(fixture.deliver(&pod, at(pod.v4(), 7777), SENT).packets, SENT);
    assert!(
        agent.log().contains("removed: programs of 1 NICs"),
        "{}",
        agent.log()
    );
    end(&uninstall);
}

#[test]
fn uninstall_wait_names_foreign_files_and_becomes_ready_when_they_are_removed() {
    let fixture = Fixture::new();
    let mut agent = fixture.start(&[]);
    agent.stop().unwrap();
    let foreign = fixture.lab.pin_dir().join("foreign");
    fs::create_dir(&foreign).unwrap();

    let uninstall = agent.uninstall_and_wait().unwrap();
    let pin_dir = fixture.lab.pin_dir();
    wait_for_readyz(&agent, 503, &format!("not removed: `{}`", pin_dir.display()));
    fs::remove_dir(&foreign).unwrap();
    wait_for_readyz(&agent, 200, "ok");
    assert!(!pin_dir.exists());
    end(&uninstall);
}

#[test]
fn uninstall_wait_is_ready_if_nothing_is_installed() {
    let fixture = Fixture::new();
    let agent = Agent::new(&fixture.lab, &fixture.manifests);
    let uninstall = agent.uninstall_and_wait().unwrap();
    wait_for_readyz(&agent, 200, "ok");
    end(&uninstall);
}
