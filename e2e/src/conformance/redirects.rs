//! A policy in each namespace that redirects everything, as namespaces come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::installed::{Installation, policy};

const RULE: &str = "{name: everything, ports: [{protocol: UDP}, {protocol: TCP}], action: Redirect}";
const NAME: &str = "everything";
/// Time between two looks at the namespaces. A namespace exists for minutes.
const LOOK: Duration = Duration::from_millis(300);

/// Runs `during` while each namespace of a test has the policy. Returns its result, and how many packets were
/// redirected.
pub(super) fn everywhere<T>(installed: &Installation, during: impl FnOnce() -> T) -> (T, u64) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut redirects = Redirects::default();
            while !over.load(Ordering::Relaxed) {
                if let Err(error) = redirects.look(installed) {
                    println!("namespaces are looked at again: {error:#}");
                }
                thread::sleep(LOOK);
            }
            redirects.counted.values().sum()
        });
        let result = during();
        over.store(true, Ordering::Relaxed);
        (result, watcher.join().unwrap_or_default())
    })
}

#[derive(Default)]
struct Redirects {
    known: BTreeSet<String>,
    /// The packets that were redirected in each namespace: its counters go with its policy.
    counted: BTreeMap<String, u64>,
}

impl Redirects {
    fn look(&mut self, installed: &Installation) -> anyhow::Result<()> {
        for namespace in installed.list("/api/v1/namespaces")? {
            let name = namespace["metadata"]["name"].as_str().unwrap_or_default();
            let is_of_test = namespace["metadata"]["labels"]["e2e-framework"].is_string();
            let is_going = namespace["metadata"]["deletionTimestamp"].is_string();
            if is_of_test && !is_going && !self.known.contains(name) {
                installed.try_apply_in(name, &policy(NAME, "podSelector: {}", &[RULE]))?;
                self.known.insert(name.to_owned());
            }
        }
        for node in installed.nodes() {
            let metrics = installed.agent_metrics(node)?;
            for name in &self.known {
                let now = metrics
                    .rule_packets(name, (NAME, NAME), "redirected")
                    .unwrap_or(0);
                let most = self.counted.entry(format!("{name} {}", node.name)).or_default();
                *most = now.max(*most);
            }
        }
        Ok(())
    }
}
