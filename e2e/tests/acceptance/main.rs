//! The acceptance on this machine's kernel, with a veth pair as the NIC and its wire.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod machines;

use xdp_e2e::acceptance::{AcceptanceOptions, Outcome, run};

#[test]
fn a_veth_pair_is_accepted() {
    let report = run(&AcceptanceOptions::default(), None).unwrap();
    println!("{report}");
    assert_eq!(report.failed(), Vec::<&_>::new());
    assert_eq!(report.subject["driver"], "veth");
    let passed = report
        .checks
        .iter()
        .filter(|check| check.outcome == Outcome::Passed);
    assert!(passed.count() > 10);
}

#[test]
fn a_check_that_fails_is_reported_and_the_others_run() {
    let options = AcceptanceOptions {
        agent: Some("/bin/false".into()),
        only: vec!["datagrams are dropped".to_owned(), "uninstall".to_owned()],
        ..AcceptanceOptions::default()
    };
    let report = run(&options, None).unwrap();
    assert_eq!(report.checks.len(), 2);
    assert_eq!(report.failed().len(), 2, "{report}");
}
