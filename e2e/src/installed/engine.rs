//! A network policy engine next to the product.

use anyhow::ensure;
use xdp_kubernetes::Node;
use xdp_lab::Process;

use super::Installation;

const PROGRAM: &str = "/run/cluster/bin/kube-router";

/// kube-router's firewall on all nodes. It ends on drop, and takes its rules with it.
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
                "--enable-ipv6=true",
                "--kubeconfig=/run/cluster/state/admin.conf",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--service-cluster-ip-range=fd30:96::/112",
                // Changes are applied when they come; this is the full repetition.
                "--iptables-sync-period=10s",
                "--health-port=0",
                &hostname,
            ];
            engine.processes.push(node.spawn("kube-router", &command)?);
        }
        for node in installed.nodes() {
            installed.until(format!("the engine enforces on {}", node.name), || {
                for program in ["iptables", "ip6tables"] {
                    ensure!(is_enforcing(node, program)?, "{program} has no chain of its own");
                }
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
            match node.exec(&[PROGRAM, "--cleanup-config"]) {
                Ok(finished) if finished.status.success() => {}
                Ok(finished) => println!("the engine's rules stay: {}", finished.stderr),
                Err(error) => println!("the engine's rules stay: {error:#}"),
            }
        }
    }
}
