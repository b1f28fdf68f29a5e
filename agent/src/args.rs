//! The command line.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use xdp_core::tables::{DEFAULT_FLOWS, MAX_FLOWS, MIN_FLOWS};

use crate::{datapath::REJECTS_PER_SECOND, report::explain::IpProtocol};

/// Loads, programs, verifies and reports the XDP data path of one node.
#[derive(Debug, Parser)]
#[command(name = "xdp-agent", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the agent can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Put the policies of a cluster, or of a folder, in force and keep them so.
    ///
    /// Ends on SIGTERM or SIGINT and leaves everything in force: programs and tables are pinned, and the next run
    /// adopts them.
    Run(RunArgs),
    /// Show what is in force, read from the kernel. Needs no running agent.
    Status(StatusArgs),
    /// Tell what becomes of a packet, by which rule, and why not by the rules before it. No packet is sent.
    ///
    /// The kernel is asked: the program that reads the tables in force is run, and counts nothing. Rate limits are not
    /// consulted.
    Explain(ExplainArgs),
    /// List the flows whose packets go past the stack both ways, read from the kernel. Needs no running agent.
    Flows(FlowsArgs),
    /// Remove everything the agent has put into the kernel.
    Uninstall(UninstallArgs),
}

/// Where the agent keeps its pins.
#[derive(Clone, Debug, Args)]
pub struct PinsArgs {
    /// Folder on a bpffs for programs and tables.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/sys/fs/bpf/xdp-operator",
        env = "XDP_AGENT_PIN_DIR"
    )]
    pub pin_dir: PathBuf,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Where policies and pods come from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// NICs that get the program.
    #[command(flatten)]
    pub nics: NicArgs,
    /// Attach in generic mode to NICs whose driver has no XDP. Packets redirected with delivery `Redirect` lose their
    /// metadata there.
    #[arg(long)]
    pub allow_generic: bool,
    /// Answers to rejected packets that this node sends per second; the others are dropped without one.
    #[arg(long, value_name = "N", default_value_t = REJECTS_PER_SECOND)]
    pub rejects_per_second: u32,
    /// Flows that each of three tables can hold: those whose replies go past the stack, those that no reply has come for
    /// yet, and those that are the stack's. Each takes some 370 bytes of the kernel's memory, used or not; flows beyond
    /// push out those that were silent longest, which then go on in the stack.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_FLOWS,
          value_parser = clap::value_parser!(u32).range(i64::from(MIN_FLOWS)..=i64::from(MAX_FLOWS)))]
    pub flows: u32,
    /// Address and port for /healthz, /readyz and /metrics. Absent: no HTTP.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where the pins are.
    #[command(flatten)]
    pub pins: PinsArgs,
    /// How log lines look. What is logged is set by the environment variable `RUST_LOG` (default `info`).
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Where policies and pods come from: exactly one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct SourceArgs {
    /// Folder with XdpPolicy and Pod objects (*.yaml, *.yml, *.json), followed as it changes.
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,
    /// This node's name in its cluster. The API server is found as every pod finds it, or by KUBECONFIG.
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: Option<String>,
}

/// NICs that get the program: all that any of these fits.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = true)]
pub struct NicArgs {
    /// By name; `*` and `?` are wildcards. May be repeated.
    #[arg(long = "nic", value_name = "GLOB")]
    pub names: Vec<String>,
    /// By driver, as `ethtool -i` names it. May be repeated.
    #[arg(long = "nic-driver", value_name = "DRIVER")]
    pub drivers: Vec<String>,
    /// By bus address, as `ethtool -i` names it: 0000:3b:00.0. May be repeated.
    #[arg(long = "nic-pci", value_name = "ADDR")]
    pub pci: Vec<String>,
}

/// Arguments of `uninstall`.
#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Where the pins are.
    #[command(flatten)]
    pub pins: PinsArgs,
    /// Wait for an agent that still works there, try again what fails, and stay until SIGTERM or SIGINT.
    #[arg(long)]
    pub wait: bool,
    /// With --wait: address and port for /healthz and /readyz, which is ready when nothing is left. Absent: no HTTP.
    #[arg(long, value_name = "ADDR:PORT", requires = "wait")]
    pub listen: Option<SocketAddr>,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Where the pins are.
    #[command(flatten)]
    pub pins: PinsArgs,
    /// As tables for people, or as JSON.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Arguments of `flows`.
#[derive(Debug, Args)]
pub struct FlowsArgs {
    /// Only those of one pod.
    #[arg(long, value_name = "POD|NAMESPACE/POD")]
    pub pod: Option<String>,
    /// Only those with one remote address.
    #[arg(long, value_name = "IP")]
    pub remote: Option<IpAddr>,
    /// Where the pins are.
    #[command(flatten)]
    pub pins: PinsArgs,
    /// As tables for people, or as JSON.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Source address.
    #[arg(long, value_name = "IP")]
    pub from: IpAddr,
    /// Destination: an address, or a target pod of this node.
    #[arg(long, value_name = "POD|NAMESPACE/POD|IP")]
    pub to: String,
    /// TCP, UDP, SCTP, ICMP, ICMPv6, or a protocol's number.
    #[arg(long, value_name = "PROTOCOL")]
    pub protocol: IpProtocol,
    /// Destination port, of TCP, UDP and SCTP.
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// Source port.
    #[arg(long, value_name = "N", default_value_t = 40000)]
    pub source_port: u16,
    /// Type, of ICMP and `ICMPv6`. Absent: echo request.
    #[arg(long = "type", value_name = "N")]
    pub kind: Option<u8>,
    /// Code, of ICMP and `ICMPv6`.
    #[arg(long, value_name = "N", requires = "kind", default_value_t = 0)]
    pub code: u8,
    /// Where the pins are.
    #[command(flatten)]
    pub pins: PinsArgs,
    /// Read the rules from these folders instead of asking the running agent.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub manifests: Vec<PathBuf>,
    /// For people, or as JSON.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// How `status` and `explain` print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Tables.
    Table,
    /// One JSON object.
    Json,
}

/// How `run` logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text each.
    Text,
    /// One JSON object a line.
    Json,
}
