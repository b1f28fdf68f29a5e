use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use xdp_client::metrics::{
    Format, {self},
};
use xdp_crds::NicMode;
use xdp_plan::{
    facts::{NotReady, Readiness},
    installed::RuleLabel,
    report::Problem,
};

use crate::report::{
    metrics::{
        AgentMetrics, KernelMetrics, RuleLimits, registry,
        rules::{RuleSeries, tests::Rules},
    },
    status::{
        AgentStatus, FlowUsage, NicStatus, NodeStatus, PacketCount, RedirectFailure, RuleStatus, TableUsage,
        TargetPodStatus, XdpException,
    },
};

fn counted(packets: u64) -> PacketCount {
    PacketCount {
        packets,
        bytes: 100 * packets,
    }
}

fn rule(name: &str, dropped: u64) -> RuleStatus {
    RuleStatus {
        id: 7,
        namespace: "games".to_owned(),
        policy: "players".to_owned(),
        rule: name.to_owned(),
        redirected: counted(0),
        passed: counted(0),
        dropped: counted(dropped),
        rejected: counted(0),
        limited: counted(6),
        audited: counted(0),
        fell_back: counted(0),
        delivered: counted(0),
    }
}

fn pod(name: &str, readiness: Readiness, failures: Vec<RedirectFailure>) -> TargetPodStatus {
    TargetPodStatus {
        namespace: "games".to_owned(),
        pod: name.to_owned(),
        uid: String::new(),
        slot: 1,
        ifindex: 12,
        interface: "veth0".to_owned(),
        mac: String::new(),
        addresses: Vec::new(),
        readiness,
        peer: None,
        reply_path: Readiness::Ready,
        draining: false,
        programmed: true,
        generation: 1,
        failures,
    }
}

fn failure(errno: &str, packets: u64) -> RedirectFailure {
    RedirectFailure {
        stage: "flush",
        errno: errno.to_owned(),
        packets,
    }
}

fn nic() -> NicStatus {
    let problem = Problem::of_nic("eth1", "Busy", "", "");
    NicStatus {
        name: "eth1".to_owned(),
        ifindex: 3,
        driver: "mlx5_core".to_owned(),
        bus: "0000:3b:00.0".to_owned(),
        mtu: 1500,
        mode: NicMode::Foreign,
        program_id: 9,
        program_tag: String::new(),
        peer: false,
        reply_path: false,
        problems: vec![problem.clone(), problem],
    }
}

fn not_ready() -> Readiness {
    Readiness::NotReady {
        reason: NotReady::LinkDown,
        message: String::new(),
    }
}

fn flows(table: &'static str, evicted: u64) -> FlowUsage {
    FlowUsage {
        table,
        used: 5,
        capacity: 1024,
        evicted,
    }
}

fn status() -> NodeStatus {
    let exception = XdpException {
        nic: "eth1".to_owned(),
        action: "Aborted".to_owned(),
        packets: 5,
    };
    NodeStatus {
        pin_dir: String::new(),
        agent: AgentStatus { running: true },
        nics: vec![nic()],
        pods: vec![
            pod("a", Readiness::Ready, vec![failure("ENXIO", 2), failure("", 3)]),
            pod("b", not_ready(), Vec::new()),
        ],
        rules: vec![rule("scanners", 41)],
        unparsed: BTreeMap::from([("NotIp", 3)]),
        foreign: BTreeMap::from([("OtherVlan", 6)]),
        unparsed_drops: BTreeMap::from([("Jumbogram", 6)]),
        fallbacks: BTreeMap::from([("TooLong", 4)]),
        events: BTreeMap::from([("RejectLimited", 8)]),
        flows: vec![flows("established", 9), flows("unreplied", 0), flows("stack", 2)],
        flow_events: BTreeMap::from([("Hit", 7)]),
        tables: vec![TableUsage {
            table: "classes",
            used: 12,
            capacity: 100,
        }],
        exceptions: vec![exception],
        problems: vec![Problem::new("NIC eth9", "NotFound", "", "")],
    }
}

impl From<NodeStatus> for KernelMetrics {
    fn from(mut status: NodeStatus) -> Self {
        let rule = |rule: RuleStatus| {
            let counts = [
                rule.redirected,
                rule.passed,
                rule.dropped,
                rule.rejected,
                rule.limited,
                rule.audited,
                rule.fell_back,
                rule.delivered,
            ];
            let (namespace, policy, rule) = (rule.namespace, rule.policy, rule.rule);
            let label = RuleLabel {
                namespace,
                policy,
                rule,
            };
            (label, counts)
        };
        let rules = std::mem::take(&mut status.rules).into_iter().map(rule).collect();
        let limits = RuleLimits {
            total: 100,
            per_namespace: 100,
            rule_label: true,
        };
        let rules = RuleSeries::read(Box::new(Rules(rules)), limits).unwrap();
        Self { status, rules }
    }
}

fn encode(metrics: &AgentMetrics, status: Option<NodeStatus>, format: Format) -> String {
    let mut text = String::new();
    metrics::encode(
        &registry(metrics, status.map(KernelMetrics::from)),
        format,
        &mut text,
    )
    .unwrap();
    text
}

fn text(status: NodeStatus) -> String {
    encode(&AgentMetrics::default(), Some(status), Format::Classic)
}

#[track_caller]
fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
}

#[test]
fn every_series_carries_the_documented_name_and_labels() {
    let text = text(status());
    for line in [
        r#"xdp_agent_rule_packets_total{namespace="games",policy="players",rule="scanners",action="dropped"} 41"#,
        r#"xdp_agent_rule_bytes_total{namespace="games",policy="players",rule="scanners",action="dropped"} 4100"#,
        r#"xdp_agent_rule_packets_total{namespace="games",policy="players",rule="scanners",action="fell_back"} 0"#,
        r#"xdp_agent_rule_packets_total{namespace="games",policy="players",rule="scanners",action="rejected"} 0"#,
        r#"xdp_agent_rule_packets_total{namespace="games",policy="players",rule="scanners",action="limited"} 6"#,
        r#"xdp_agent_events_total{reason="RejectLimited"} 8"#,
        r#"xdp_agent_events_total{reason="SourceLimitTableFull"} 0"#,
        r#"xdp_agent_table_used{table="classes"} 12"#,
        r#"xdp_agent_table_capacity{table="classes"} 100"#,
        r#"xdp_agent_fallback_packets_total{reason="TooLong"} 4"#,
        r#"xdp_agent_unparsed_packets_total{reason="NotIp"} 3"#,
        r#"xdp_agent_foreign_packets_total{reason="OtherVlan"} 6"#,
        r#"xdp_agent_foreign_packets_total{reason="OtherStation"} 0"#,
        r#"xdp_agent_unparsed_dropped_packets_total{reason="Jumbogram"} 6"#,
        r#"xdp_agent_unparsed_dropped_packets_total{reason="Short"} 0"#,
        r#"xdp_agent_redirect_failures_total{namespace="games",pod="a",stage="flush",errno="ENXIO"} 2"#,
        r#"xdp_agent_redirect_failures_total{namespace="games",pod="a",stage="flush",errno="none"} 3"#,
        r#"xdp_agent_nic_info{nic="eth1",driver="mlx5_core",bus="0000:3b:00.0",mode="foreign"} 1"#,
        r#"xdp_agent_nic_problem{nic="eth1",reason="Busy"} 1"#,
        r#"xdp_agent_nic_problem{nic="eth9",reason="NotFound"} 1"#,
        r#"xdp_agent_exceptions_total{nic="eth1",action="aborted"} 5"#,
        r#"xdp_agent_pods{state="ready"} 1"#,
        r#"xdp_agent_pods{state="not_ready"} 1"#,
        r#"xdp_agent_pods{state="draining"} 0"#,
        r#"xdp_agent_flows{table="unreplied"} 5"#,
        r#"xdp_agent_flow_capacity{table="stack"} 1024"#,
        r#"xdp_agent_flow_evictions_total{table="established"} 9"#,
        r#"xdp_agent_flow_events_total{event="Hit"} 7"#,
        r#"xdp_agent_flow_events_total{event="ReplyMiss"} 0"#,
    ] {
        has(&text, line);
    }
}

#[test]
fn the_loops_metrics_are_shown_without_a_status() {
    let metrics = AgentMetrics::default();
    metrics.reconciled(true, Duration::from_millis(3));
    metrics.enforced(Duration::from_secs(40));
    metrics.status_written(false);
    metrics.problems(2);
    assert!(metrics.restricted_pods(3) && !metrics.restricted_pods(3));
    metrics.scrape_failed();
    let text = encode(&metrics, None, Format::Classic);
    for line in [
        r#"xdp_agent_reconciles_total{result="success"} 1"#,
        r#"xdp_agent_reconciles_total{result="error"} 0"#,
        r#"xdp_agent_reconcile_duration_seconds_bucket{le="0.0025"} 0"#,
        r#"xdp_agent_reconcile_duration_seconds_bucket{le="0.005"} 1"#,
        "xdp_agent_reconcile_duration_seconds_count 1",
        "xdp_agent_enforcement_delay_seconds_sum 40.0",
        r#"xdp_agent_enforcement_delay_seconds_bucket{le="30.0"} 0"#,
        r#"xdp_agent_enforcement_delay_seconds_bucket{le="+Inf"} 1"#,
        r#"xdp_agent_status_writes_total{result="error"} 1"#,
        r#"xdp_agent_status_writes_total{result="success"} 0"#,
        "xdp_agent_problems 2",
        "xdp_agent_restricted_pods 3",
        "xdp_agent_scrape_errors_total 1",
        concat!(
            r#"xdp_agent_build_info{version=""#,
            env!("CARGO_PKG_VERSION"),
            r#""} 1"#
        ),
    ] {
        has(&text, line);
    }
    assert!(!text.contains("rule_packets"), "{text}");
}

#[test]
fn a_pod_without_a_reply_path_is_not_ready_and_a_draining_pod_is_neither() {
    let (mut lost, mut draining) = (
        pod("a", Readiness::Ready, Vec::new()),
        pod("b", Readiness::Ready, Vec::new()),
    );
    lost.reply_path = not_ready();
    draining.draining = true;
    let text = text(NodeStatus {
        pods: vec![lost, draining, pod("c", Readiness::Ready, Vec::new())],
        ..status()
    });
    for state in ["ready", "not_ready", "draining"] {
        has(&text, &format!(r#"xdp_agent_pods{{state="{state}"}} 1"#));
    }
}

#[test]
fn evictions_never_decrease_although_flows_are_added_while_they_are_counted() {
    let metrics = AgentMetrics::default();
    let shown = |evicted| {
        let flows = vec![flows("established", evicted)];
        let status = NodeStatus { flows, ..status() };
        encode(&metrics, Some(status), Format::Classic)
    };
    has(
        &shown(9),
        r#"xdp_agent_flow_evictions_total{table="established"} 9"#,
    );
    has(
        &shown(4),
        r#"xdp_agent_flow_evictions_total{table="established"} 9"#,
    );
    has(
        &shown(12),
        r#"xdp_agent_flow_evictions_total{table="established"} 12"#,
    );
}

#[test]
fn a_deleted_policy_is_not_shown() {
    let metrics = AgentMetrics::default();
    let policy = |name: &str, generation| ("games".to_owned(), name.to_owned(), generation);
    metrics.policies(vec![policy("old", 1), policy("players", 3)]);
    metrics.policies(vec![policy("players", 4)]);
    let text = encode(&metrics, None, Format::Classic);
    has(
        &text,
        r#"xdp_agent_policy_generation{namespace="games",policy="players"} 4"#,
    );
    assert!(!text.contains(r#"policy="old""#), "{text}");
}

#[test]
fn series_are_unique_although_two_slots_and_two_rule_ids_share_a_name() {
    let mut status = status();
    status.rules.push(rule("scanners", 1));
    status.pods.push(pod("a", not_ready(), vec![failure("ENXIO", 5)]));
    status.exceptions.extend(status.exceptions.clone());
    let text = text(status);
    has(
        &text,
        r#"xdp_agent_rule_packets_total{namespace="games",policy="players",rule="scanners",action="dropped"} 42"#,
    );
    has(
        &text,
        r#"xdp_agent_redirect_failures_total{namespace="games",pod="a",stage="flush",errno="ENXIO"} 7"#,
    );
    let series: Vec<&str> = text
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, _)| series)
        .collect();
    let distinct: BTreeSet<&&str> = series.iter().collect();
    assert_eq!(series.len(), distinct.len(), "{text}");
}

#[test]
fn series_of_events_exist_before_the_first_event() {
    let text = text(status());
    for reason in xdp_core::events::Unparsed::ALL {
        let series = format!(
            r#"xdp_agent_unparsed_packets_total{{reason="{}"}} "#,
            reason.name()
        );
        assert!(text.contains(&series), "{series} in {text}");
    }
    has(&text, r#"xdp_agent_fallback_packets_total{reason="NotReady"} 0"#);
}

#[test]
fn names_are_escaped() {
    let mut status = status();
    status.nics[0].driver = "a\"b\\c\nd".to_owned();
    assert!(
        text(status).contains(r#"driver="a\"b\\c\nd""#),
        "quote, backslash, newline"
    );
}

#[test]
fn each_format_describes_counters_in_its_own_way() {
    let metrics = AgentMetrics::default();
    let open = encode(&metrics, Some(status()), Format::OpenMetrics);
    has(&open, "# TYPE xdp_agent_reconciles counter");
    assert!(open.ends_with("# EOF\n"), "{open}");
    let classic = encode(&metrics, Some(status()), Format::Classic);
    has(&classic, "# TYPE xdp_agent_reconciles_total counter");
    has(&classic, "# TYPE xdp_agent_reconcile_duration_seconds histogram");
    assert!(!classic.contains("# EOF"), "{classic}");
    let samples = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(samples(&open), samples(&classic));
}

#[test]
fn every_family_has_help_before_its_type() {
    let text = text(status());
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].starts_with("# TYPE ")) {
        let name = pair[1].split(' ').nth(2).unwrap_or_default();
        assert!(pair[0].starts_with(&format!("# HELP {name} ")), "{pair:?}");
    }
}

#[test]
fn prometheus_gets_openmetrics_and_other_clients_the_classic_format() {
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
    assert_eq!(Format::accepted("*/*"), Format::Classic);
    assert_eq!(Format::accepted(""), Format::Classic);
}
