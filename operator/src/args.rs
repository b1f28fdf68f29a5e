//! The command line.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use ipnet::IpNet;
use xdp_client::{process::LogFormat, serve::ListenArgs};
use xdp_crds::policy::MarkMask;

use crate::{install, reconcile::PeerLimits, run, uninstall};

/// The operator of xdp-operator: resolves selectors in `XdpPolicy` objects to addresses for the agents, and
/// aggregates the reports of the agents into the status of each policy.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Format of log lines. The environment variable `RUST_LOG` sets the level (default `info`).
    #[arg(long, global = true, value_enum, default_value_t)]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator. One of several replicas leads; the others stand by.
    ///
    /// Exits on SIGTERM or SIGINT, and if another replica has acquired the lease because this one could not
    /// renew it.
    Run(Run),
    /// Print all CustomResourceDefinitions as YAML.
    Crds,
    /// Apply all CustomResourceDefinitions, and wait until the API server serves them.
    ApplyCrds {
        /// How long to wait: `30s`, `5m`, `1h`.
        #[arg(long, default_value = "1m", value_parser = duration)]
        timeout: Duration,
    },
    /// Uninstall all agents from their nodes, then delete the objects that operator and agents have written.
    ///
    /// Changes the command of the `DaemonSet` to `xdp-agent uninstall --wait`, and waits until all pods are
    /// ready.
    UninstallAgents(Uninstall),
}

#[derive(Debug, clap::Args)]
struct Run {
    #[command(flatten)]
    listen: ListenArgs,
    /// Namespace of the Lease for the leader election, and of the address sets. The agents must be in it.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    lease_namespace: String,
    /// Identity of this replica in the Lease. It must be unique.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    identity: String,
    /// Bits of a packet's mark that rules may set. A policy with a mark outside of the mask is refused. The
    /// agents must have the same mask.
    #[arg(long, value_name = "MASK", default_value_t)]
    allowed_mark_mask: MarkMask,
    /// Distinct selections of pods that the policies of one namespace may have in `from`. Each has a set of
    /// addresses in the cluster, which policies share. A policy beyond is refused (`LimitExceeded`).
    #[arg(long, value_name = "NUMBER", default_value_t = 256)]
    max_peer_sets_per_namespace: usize,
    /// Addresses that the sets of one namespace may have, when a policy is accepted.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000)]
    max_peer_addresses_per_namespace: usize,
    /// Networks with addresses of pods that are in no node's `podCIDRs`, as `10.128.0.0/14`. An `ipBlock` of
    /// a NetworkPolicy means addresses outside of the cluster for certain. Pods that run there are known
    /// anyway.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    cluster_cidrs: Vec<IpNet>,
    /// Namespace of the agents. Unused: the operator and the agents communicate through the API server.
    #[arg(long, value_name = "NAMESPACE", hide = true)]
    agent_namespace: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Uninstall {
    /// Name of the agents' `DaemonSet`.
    #[arg(long, value_name = "NAME")]
    daemonset: String,
    /// Namespace of the `DaemonSet`.
    #[arg(long, value_name = "NAMESPACE")]
    namespace: String,
    /// Change nothing unless the `DaemonSet` has this annotation, which a tool adds to what it installs.
    #[arg(long, value_name = "NAME")]
    require_annotation: Option<String>,
    /// How long to wait for the agents: `30s`, `5m`, `1h`.
    #[arg(long, default_value = "5m", value_parser = duration)]
    timeout: Duration,
}

impl Args {
    /// Executes the command.
    pub fn execute(self) -> anyhow::Result<()> {
        self.log_format.init();
        if let Command::Crds = self.command {
            return io::stdout()
                .write_all(install::yaml().as_bytes())
                .context("cannot write to standard output");
        }
        // One thread suffices: most of the time, the operator waits for the API server. The election has one
        // of its own.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime; raise the limit of open files")?;
        runtime.block_on(self.command.execute())
    }
}

impl Command {
    async fn execute(self) -> anyhow::Result<()> {
        match self {
            Self::Crds => Ok(()),
            Self::Run(run) => {
                let options = run::Options {
                    listen: run.listen,
                    namespace: run.lease_namespace,
                    identity: run.identity,
                    marks: run.allowed_mark_mask,
                    limits: PeerLimits {
                        sets: run.max_peer_sets_per_namespace,
                        addresses: run.max_peer_addresses_per_namespace,
                    },
                    cluster_cidrs: run.cluster_cidrs.iter().map(IpNet::trunc).collect(),
                };
                Box::pin(run::run(options)).await
            }
            Self::ApplyCrds { timeout } => install::apply(timeout).await,
            Self::UninstallAgents(args) => {
                Box::pin(uninstall::uninstall(
                    &args.namespace,
                    &args.daemonset,
                    args.require_annotation.as_deref(),
                    args.timeout,
                ))
                .await
            }
        }
    }
}

/// Parses `90s`, `5m`, `1h` or `1h30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("`{text}` is not a duration; write 30s, 5m or 1h30m");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u32 = rest[..digits].parse().map_err(|_| fault())?;
        let unit = match rest[digits..].chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            _ => return Err(fault()),
        };
        total += Duration::from_secs(unit) * number;
        rest = &rest[digits + 1..];
    }
    if total.is_zero() { Err(fault()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_are_written_as_kubernetes_does() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        for bad in ["", "5", "m", "5d", "-5s", "5 m", "0s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
