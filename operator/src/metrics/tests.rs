use super::*;

fn text(metrics: &Metrics) -> String {
    let mut text = String::new();
    metrics.encode(Format::Classic, &mut text).unwrap();
    text
}

#[test]
fn every_series_is_described_under_its_own_name() {
    let metrics = Metrics::default();
    metrics.reconciled("peers", Duration::from_millis(3), false);
    let text = text(&metrics);
    for expected in [
        "# HELP xdp_operator_reconciles_total Writes to the API server, by controller and result.",
        "# TYPE xdp_operator_reconciles_total counter",
        "xdp_operator_reconciles_total{controller=\"peers\",result=\"error\"} 1",
        "xdp_operator_reconciles_total{controller=\"status\",result=\"success\"} 0",
        "# TYPE xdp_operator_reconcile_duration_seconds histogram",
        "xdp_operator_reconcile_duration_seconds_count{controller=\"peers\"} 1",
        "xdp_operator_policies{accepted=\"true\",programmed=\"false\"} 0",
        "xdp_operator_status_writes_total{result=\"error\"} 0",
        "xdp_operator_peer_addresses 0",
        concat!(
            "xdp_operator_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        ),
    ] {
        assert!(
            text.lines().any(|line| line == expected),
            "{expected}\n---\n{text}"
        );
    }
    assert!(!text.contains("EOF"), "{text}");
}

#[test]
fn without_leadership_there_are_no_counts_of_objects() {
    let metrics = Metrics::default();
    let snapshot = Snapshot {
        policies: [((true, true), 3)].into(),
        peer_sets: 2,
        peer_addresses: 7,
    };
    metrics.set_leader(true);
    metrics.set_snapshot(&snapshot);
    let shown = text(&metrics);
    assert!(shown.contains("xdp_operator_leader 1\n") && shown.contains("xdp_operator_peer_addresses 7\n"));
    assert!(
        shown.contains("xdp_operator_policies{accepted=\"true\",programmed=\"true\"} 3\n"),
        "{shown}"
    );
    assert!(shown.contains("xdp_operator_peer_sets 2\n"));
    metrics.set_leader(false);
    let shown = text(&metrics);
    assert!(shown.contains("xdp_operator_leader 0\n") && shown.contains("xdp_operator_peer_addresses 0\n"));
    assert!(
        shown.contains("xdp_operator_policies{accepted=\"true\",programmed=\"true\"} 0\n"),
        "{shown}"
    );
}
