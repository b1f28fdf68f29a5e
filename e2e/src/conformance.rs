//! Kubernetes' own end-to-end tests about NetworkPolicies, with an engine that enforces them: first the
//! engine alone, then with the chart installed and a policy in each namespace that redirects everything. Both
//! runs must have the same results, and in the second one packets must be redirected.

mod redirects;
mod report;

use std::{env, fs::File, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};

use self::{
    redirects::everywhere,
    report::{Comparison, Results},
};
use crate::installed::{Engine, Installation};

/// Longest duration of one run: the tests of one kind wait most of the time.
const LONGEST: Duration = Duration::from_hours(3);

/// Runs the tests whose names have `FOCUS` (`Netpol` by default) twice, and prints the comparison.
pub fn netpol() -> anyhow::Result<()> {
    let focus = env::var("FOCUS").ok().filter(|focus| !focus.is_empty());
    let focus = focus.unwrap_or_else(|| "Netpol".to_owned());
    let installed = Installation::bare()?;
    let folder = installed.bin().join("conformance");
    ensure!(
        folder.join("complete").exists(),
        "the tests of Kubernetes are not built; run as root: make conformance-netpol"
    );
    installed.load_image(&folder.join("agnhost.tar"))?;
    let _engine = Engine::start(&installed)?;
    println!("the engine alone");
    let alone = run(&installed, &focus, "alone")?;
    println!("with redirects in all namespaces");
    installed.install(&[])?;
    let (with_redirects, redirected) = everywhere(&installed, || run(&installed, &focus, "redirects"));
    let comparison = Comparison {
        alone,
        with_redirects: with_redirects?,
        redirected,
    };
    println!("{comparison}");
    comparison.check()
}

/// Runs the tests, and returns their results.
fn run(installed: &Installation, focus: &str, name: &str) -> anyhow::Result<Results> {
    let logs = PathBuf::from("target/conformance");
    std::fs::create_dir_all(&logs)?;
    let logs = logs.canonicalize()?;
    let (report, log) = (
        logs.join(format!("{name}.json")),
        logs.join(format!("{name}.log")),
    );
    let output = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
    let mut command = installed.admin("conformance/e2e.test");
    command
        .args([
            "--provider=skeleton",
            "--ginkgo.no-color",
            "--disable-log-dump",
            "--ginkgo.timeout=3h",
        ])
        .arg(format!("--kubeconfig={}", installed.kubeconfig().display()))
        .arg(format!("--ginkgo.focus={focus}"))
        // Their servers need a kernel with SCTP.
        .arg("--ginkgo.skip=Feature:SCTPConnectivity")
        .arg(format!("--ginkgo.json-report={}", report.display()))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    // Its status says whether all tests passed; the report says which.
    installed.control().spawn(command)?.finish(LONGEST)?;
    Results::read(&report).with_context(|| format!("the tests left no report; see {}", log.display()))
}
