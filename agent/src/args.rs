//! The command line.

mod run;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
pub(crate) use run::{NicArgs, RightsArgs, RunArgs};

use crate::report::explain::IpProtocol;

/// Loads, programs, verifies and reports the XDP data path of one node.
#[derive(Debug, Parser)]
#[command(name = "xdp-agent", version, about)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Program the policies of a cluster or of a directory, and follow their changes.
    ///
    /// Ends on SIGTERM or SIGINT and leaves everything programmed: programs and tables are pinned, and the
    /// next run adopts them.
    Run(Box<RunArgs>),
    /// Show what is programmed on this node, read from the kernel. Needs no running agent.
    Status(StatusArgs),
    /// Explain what happens to a packet, which rule decides, and why earlier rules do not match. Sends no
    /// packet.
    ///
    /// The decision is the kernel's: the agent runs a program there that reads the same tables as the program
    /// on the NICs, and counts nothing. Rate limits are not evaluated.
    Explain(ExplainArgs),
    /// List the tracked flows, read from the kernel. Needs no running agent.
    ///
    /// Packets of established and unreplied flows bypass the stack in both directions; flows in the table
    /// `stack` do not.
    Flows(FlowsArgs),
    /// Check whether the agent would work on this node and its NICs, and say what to change. Attaches
    /// nothing, and needs no running agent.
    ///
    /// Exits with 0 if every selected NIC would get the program in its driver, and with 1 otherwise.
    Preflight(PreflightArgs),
    /// Detach all programs, restore the pods' interfaces, and remove all tables and pins.
    Uninstall(UninstallArgs),
}

/// The pin directory, for all subcommands.
#[derive(Clone, Debug, Args)]
pub struct PinsArgs {
    /// Directory on a bpffs where programs and tables are pinned.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/sys/fs/bpf/xdp-operator",
        env = "XDP_AGENT_PIN_DIR"
    )]
    pub pin_dir: PathBuf,
}

/// Arguments of `preflight`.
#[derive(Debug, Args)]
pub struct PreflightArgs {
    /// Check NICs by name, or by an alternative name; `*` and `?` are wildcards. Can be repeated. Without
    /// any selection, all physical NICs are checked.
    #[arg(long = "nic", value_name = "GLOB")]
    pub names: Vec<String>,
    /// Check NICs by driver, as `ethtool -i` shows it. Can be repeated. Virtual functions (SR-IOV) are left
    /// out.
    #[arg(long = "nic-driver", value_name = "DRIVER")]
    pub drivers: Vec<String>,
    /// Let --nic-driver check virtual functions, too.
    #[arg(long = "nic-virtual-functions", requires = "drivers")]
    pub virtual_functions: bool,
    /// Check NICs by bus address, as `ethtool -i` shows it. Can be repeated.
    #[arg(long = "nic-pci", value_name = "ADDR")]
    pub pci: Vec<String>,
    /// Pin directory.
    #[command(flatten)]
    pub pins: PinsArgs,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Arguments of `uninstall`.
#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Pin directory.
    #[command(flatten)]
    pub pins: PinsArgs,
    /// Wait until a running agent ends, retry failed removals, and do not exit before SIGTERM or SIGINT.
    #[arg(long)]
    pub wait: bool,
    /// With --wait: address and port for /healthz, and for /readyz, which succeeds when everything is
    /// removed. By default, they are not served.
    #[arg(long, value_name = "ADDR:PORT", requires = "wait")]
    pub health_probe_bind_address: Option<SocketAddr>,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Pin directory.
    #[command(flatten)]
    pub pins: PinsArgs,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Arguments of `flows`.
#[derive(Debug, Args)]
pub struct FlowsArgs {
    /// Show only the flows of this pod.
    #[arg(long, value_name = "POD|NAMESPACE/POD")]
    pub pod: Option<String>,
    /// Show only the flows with this remote address.
    #[arg(long, value_name = "IP")]
    pub remote: Option<IpAddr>,
    /// Pin directory.
    #[command(flatten)]
    pub pins: PinsArgs,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Source address.
    #[arg(long, value_name = "IP")]
    pub from: IpAddr,
    /// Destination: an address, or the name of a target pod on this node.
    #[arg(long, value_name = "POD|NAMESPACE/POD|IP")]
    pub to: String,
    /// Protocol: TCP, UDP, SCTP, ICMP, ICMPv6, or a number.
    #[arg(long, value_name = "PROTOCOL")]
    pub protocol: IpProtocol,
    /// Destination port, for TCP, UDP and SCTP.
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// Source port, for TCP, UDP and SCTP.
    #[arg(long, value_name = "N", default_value_t = 40000)]
    pub source_port: u16,
    /// Message type, for ICMP and ICMPv6. The default is an echo request.
    #[arg(long = "type", value_name = "N")]
    pub kind: Option<u8>,
    /// Message code, for ICMP and ICMPv6.
    #[arg(long, value_name = "N", requires = "kind", default_value_t = 0)]
    pub code: u8,
    /// Put this many IPv6 destination options in front of the transport header.
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u8).range(..=MAX_PROBE_HEADERS))]
    pub extension_headers: u8,
    /// End the packet where its transport header begins.
    #[arg(long)]
    pub truncated: bool,
    /// Pin directory.
    #[command(flatten)]
    pub pins: PinsArgs,
    /// Read the rules from these directories instead of from the running agent.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub manifests: Vec<PathBuf>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// The most extension headers of a packet to explain.
const MAX_PROBE_HEADERS: i64 = 64;

/// Output format of `status`, `flows`, `explain` and `preflight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text for people.
    Table,
    /// One JSON object.
    Json,
}
