use super::{super::Check, *};

fn report(driver: &str, kernel: &str, outcome: Outcome) -> AcceptanceReport {
    let subject = [("driver", driver), ("kernel", kernel), ("date", "2026-11-30")];
    AcceptanceReport {
        subject: subject.map(|(key, value)| (key.into(), value.into())).into(),
        checks: vec![Check {
            name: "datagrams are redirected".into(),
            outcome,
            seconds: 1.0,
        }],
        facts: [("largest MTU".to_owned(), 3498.into())].into(),
    }
}

#[test]
fn a_column_stands_for_a_driver_and_a_kernel_in_the_order_of_versions() {
    let why = || Outcome::NotApplicable("no such driver".into());
    let reports = [
        report("mlx5_core", "6.12.1", Outcome::Passed),
        report("mlx5_core", "6.1.9", Outcome::Failed("why".into())),
        report("igb", "7.3", why()),
        report("igb", "6.1", why()),
    ];
    let page = page(&reports);
    assert!(
        page.contains("| check | igb 6.1 | igb 7.3 | mlx5_core 6.1.9 | mlx5_core 6.12.1 |"),
        "{page}"
    );
    assert!(
        page.contains("| datagrams are redirected | – (1) | – (1) | ✗ | ✓ |"),
        "{page}"
    );
    assert!(page.contains("\n1. no such driver\n"), "{page}");
    assert!(page.contains("\nMeasured on 2026-11-30. "), "{page}");
    assert!(
        page.contains("| largest MTU | 3498 | 3498 | 3498 | 3498 |"),
        "{page}"
    );
}

#[test]
fn reports_of_several_days_are_said_to_be_so() {
    let first = report("igb", "6.1", Outcome::Passed);
    let mut last = first.clone();
    last.subject.insert("date".into(), "2026-12-01".into());
    let page = page(&[last, first]);
    assert!(
        page.contains("\nMeasured from 2026-11-30 to 2026-12-01. "),
        "{page}"
    );
}

#[test]
fn a_check_that_one_report_does_not_have_leaves_its_cell_empty() {
    let mut other = report("igb", "6.1", Outcome::Passed);
    other.checks[0].name = "a|b".into();
    let page = page(&[report("a", "6.1-arm64-16k", Outcome::Passed), other]);
    assert!(page.contains("| check | a 6.1 arm64-16k | igb 6.1 |"), "{page}");
    assert!(page.contains("| datagrams are redirected | ✓ |  |"), "{page}");
    assert!(page.contains("| a\\|b |  | ✓ |"), "{page}");
}

#[test]
fn a_refusal_shows_the_words_of_agent_and_driver_and_the_remedy_of_this_problem() {
    let mut report = report("mlx5_core", "6.12.1+deb13-amd64", Outcome::Passed);
    let words = serde_json::json!({
        "agent": "too large",
        "driver": "MTU(9000) > 3498",
        "predicted": [
            { "message": "LRO is on", "remedy": "ethtool -K" },
            { "message": "too large", "remedy": "ip link set" },
        ],
    });
    report.facts.insert("refused, MTU".into(), words);
    let page = page(&[report]);
    let row = "| MTU | mlx5_core 6.12.1 | too large | ip link set | MTU(9000) > 3498 |";
    assert!(page.contains(row), "{page}");
    assert!(!page.contains("refused, MTU"), "{page}");
}
