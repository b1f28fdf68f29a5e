//! A network policy engine next to the product.

use anyhow::ensure;
use xdp_kubernetes::Node;
use xdp_lab::Process;

use super::Installation;

const PROGRAM: &str = "/run/cluster/bin/kube-router";

/// kube-router's firewall on all nodes, for IPv4: of IPv6, version 2.1.0 let everything pass here. It ends on
/// drop, and takes its rules with it.
pub struct Engine<'a> {
    installed: &'a Installation,
    processes: Vec<Process>,
}

impl<'a> Engine<'a> {
    /// Starts it, and waits until it enforces.
    pub fn start(installed: &'a Installation) -> anyhow::Result<Self> {
        let mut engine = Self {
            installed,
            processes: Vec::new(),
        };
        for node in installed.nodes() {
            let hostname = format!("--hostname-override={}", node.name);
            let command = [
                PROGRAM,
                "--run-firewall=true",
                "--run-router=false",
                "--run-service-proxy=false",
                "--run-loadbalancer=false",
                "--kubeconfig=/run/cluster/state/admin.conf",
                "--service-cluster-ip-range=10.96.0.0/16",
                // Changes are applied when they come; this is the full repetition.
                "--iptables-sync-period=10s",
                "--health-port=0",
                &hostname,
            ];
            engine.processes.push(node.spawn("kube-router", &command)?);
        }
        for node in installed.nodes() {
            installed.until(format!("the engine enforces on {}", node.name), || {
                ensure!(is_enforcing(node, "iptables")?, "it has no chain of its own");
                Ok(())
            })?;
        }
        Ok(engine)
    }
}

fn is_enforcing(node: &Node, program: &str) -> anyhow::Result<bool> {
    let rules = node.exec_ok(&[program, "-S", "FORWARD"])?;
    Ok(rules.contains("KUBE-ROUTER-FORWARD"))
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        for process in self.processes.drain(..) {
            if let Err(error) = process.kill() {
                println!("the engine does not end: {error:#}");
            }
        }
        for node in self.installed.nodes() {
            // After the firewall it cleans up what it does without IPVS, and crashes (2.1.0).
            let cleaned = node.exec(&[PROGRAM, "--cleanup-config"]);
            let left = cleaned.and_then(|_| is_enforcing(node, "iptables"));
            if !matches!(left, Ok(false)) {
                println!("the engine's rules stay on {}: {left:?}", node.name);
            }
        }
    }
}
