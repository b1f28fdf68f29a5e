//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Put the policies of a folder in force and keep them so.
    ///
    /// Ends on SIGTERM or SIGINT and leaves everything in force: programs and tables are pinned, and the next run
    /// adopts them.
    Run(Run),
    /// Show what is in force, read from the kernel. Needs no running agent.
    Status(Status),
    /// Remove everything the agent has put into the kernel.
    Uninstall(Pins),
}

/// Where the agent keeps its pins.
#[derive(Clone, Debug, Args)]
pub struct Pins {
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
pub struct Run {
    /// Folder with XdpPolicy and Pod objects (*.yaml, *.yml, *.json), followed as it changes.
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
    /// NICs that get the program, by name; `*` and `?` are wildcards. May be repeated.
    #[arg(long = "nic", value_name = "GLOB", required_unless_present = "nic_drivers")]
    pub nics: Vec<String>,
    /// NICs that get the program, by driver, as `ethtool -i` names it. May be repeated.
    #[arg(long = "nic-driver", value_name = "DRIVER")]
    pub nic_drivers: Vec<String>,
    /// Where the pins are.
    #[command(flatten)]
    pub pins: Pins,
    /// How log lines look. What is logged is set by the environment variable `RUST_LOG` (default `info`).
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Where the pins are.
    #[command(flatten)]
    pub pins: Pins,
    /// As tables for people, or as JSON.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// How `status` prints.
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
