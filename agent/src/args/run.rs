//! The command line of `run`.

use std::path::PathBuf;

use clap::Args;
use xdp_client::{process::LogFormat, serve::ListenArgs};
use xdp_core::tables::{DEFAULT_FLOWS, MAX_FLOWS, MAX_RULES, MIN_FLOWS};
use xdp_plan::{
    compile::{NamespaceWeight, Shares},
    network_policy::IgnoredKind,
    policy::{MarkMask, RedirectNamespaces},
};

use crate::{args::PinsArgs, datapath::REJECTS_PER_SECOND, report::metrics::RuleLimits};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Source of policies and pods.
    #[command(flatten)]
    pub source: SourceArgs,
    /// With --node-name: namespace of the operator, where the address sets are. By default, that of the
    /// service account or of KUBECONFIG.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    pub namespace: Option<String>,
    /// NICs to which the program is attached.
    #[command(flatten)]
    pub nics: NicArgs,
    /// Attach in generic mode to NICs whose driver does not support XDP. There, packets redirected with
    /// delivery `Redirect` lose their metadata.
    #[arg(long)]
    pub allow_generic: bool,
    /// Answers to rejected packets (TCP RST, ICMP) that this node sends per second at most. Above the limit,
    /// rejected packets are dropped without an answer.
    #[arg(long, value_name = "N", default_value_t = REJECTS_PER_SECOND)]
    pub rejects_per_second: u32,
    /// Capacity of each of the three flow tables: established, unreplied, and stack. Each flow takes about
    /// 370 bytes of kernel memory, used or not. Each pod has shares of them; what it has no share for
    /// continues in the stack.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_FLOWS,
          value_parser = clap::value_parser!(u32).range(i64::from(MIN_FLOWS)..=i64::from(MAX_FLOWS)))]
    pub flows: u32,
    /// What policies may do.
    #[command(flatten)]
    pub rights: RightsArgs,
    /// Probes and metrics.
    #[command(flatten)]
    pub listen: ListenArgs,
    /// Series of rules.
    #[command(flatten)]
    pub series: SeriesArgs,
    /// Pin directory.
    #[command(flatten)]
    pub pins: PinsArgs,
    /// Format of log lines. The environment variable `RUST_LOG` sets the log level (default `info`).
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Which rules have series of their own. The names of policies and rules are the tenants'.
#[derive(Clone, Copy, Debug, Args)]
pub struct SeriesArgs {
    /// Rules of this node that have metrics of their own, at most. Each namespace has its part; further
    /// rules are summed up by policy. Each rule has 16 series.
    #[arg(long = "metrics-max-rules", value_name = "N", default_value_t = 4096,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RULES)))]
    pub max_rules: u32,
    /// Rules of one namespace that have metrics of their own, at most.
    #[arg(long = "metrics-max-rules-per-namespace", value_name = "N", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RULES)))]
    pub max_rules_per_namespace: u32,
    /// Name rules in metrics. With false: metrics of rules are summed up by policy.
    #[arg(long = "metrics-rule-label", value_name = "BOOL", default_value_t = true,
          action = clap::ArgAction::Set)]
    pub rule_label: bool,
}

impl From<SeriesArgs> for RuleLimits {
    fn from(args: SeriesArgs) -> Self {
        Self {
            total: args.max_rules as usize,
            per_namespace: args.max_rules_per_namespace as usize,
            rule_label: args.rule_label,
        }
    }
}

/// What the administrator allows policies to do.
#[derive(Clone, Debug, Args)]
pub struct RightsArgs {
    /// Bits of a packet's mark that rules may set. A policy with a mark outside of the mask is refused; all
    /// other bits of a packet's mark stay as they are.
    #[arg(long, value_name = "MASK", default_value_t)]
    pub allowed_mark_mask: MarkMask,
    /// Label selector of the namespaces in which rules may redirect, in YAML or JSON. Elsewhere, packets of
    /// Redirect rules pass to the stack, counted as `NotPermitted`. The default is all namespaces.
    #[arg(
        long = "redirect-namespace-selector",
        value_name = "SELECTOR",
        default_value = "{}"
    )]
    pub redirect_namespaces: RedirectNamespaces,
    /// Let policies redirect whatever NetworkPolicies say, with `networkPolicy: Ignore`. Otherwise they are
    /// honoured all the same.
    #[arg(long)]
    pub allow_ignore_network_policy: bool,
    /// Kinds of policies that are not read, and so restrict nothing, such as
    /// GlobalNetworkPolicy.crd.projectcalico.org: those that nothing in the cluster enforces. Separated by
    /// commas, or repeated.
    #[arg(long, value_name = "KIND.GROUP", value_delimiter = ',')]
    pub ignored_network_policy_kinds: Vec<IgnoredKind>,
    /// Weight of a namespace where the node's tables are shared out, such as games=3. All others have 1. Can
    /// be repeated.
    #[arg(long = "namespace-weight", value_name = "NAMESPACE=WEIGHT")]
    pub namespace_weights: Vec<NamespaceWeight>,
    /// What one namespace may use of each table at most, in percent, although the rest is free.
    #[arg(long = "namespace-max-percent", value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=100))]
    pub namespace_max_percent: u32,
}

impl RightsArgs {
    /// Returns how the tables are shared out.
    pub fn shares(&self) -> Shares {
        Shares::new(self.namespace_weights.iter().cloned(), self.namespace_max_percent)
    }
}

/// Source of policies and pods: exactly one.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct SourceArgs {
    /// Directory with XdpPolicy and Pod objects (*.yaml, *.yml, *.json). The agent follows its changes.
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,
    /// Name of this node in its cluster. The API server is that of the pod's service account, or of
    /// KUBECONFIG.
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: Option<String>,
}

/// Selectors of NICs: the program is attached to every NIC that matches at least one.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = true)]
pub struct NicArgs {
    /// Select NICs by name, or by an alternative name; `*` and `?` are wildcards. Can be repeated.
    #[arg(long = "nic", value_name = "GLOB")]
    pub names: Vec<String>,
    /// Select NICs by driver, as `ethtool -i` shows it. Can be repeated. Virtual functions (SR-IOV) are left
    /// out.
    #[arg(long = "nic-driver", value_name = "DRIVER")]
    pub drivers: Vec<String>,
    /// Let --nic-driver select virtual functions, too.
    #[arg(long = "nic-virtual-functions", requires = "drivers")]
    pub virtual_functions: bool,
    /// Select NICs by bus address, as `ethtool -i` shows it, such as 0000:3b:00.0. Can be repeated.
    #[arg(long = "nic-pci", value_name = "ADDR")]
    pub pci: Vec<String>,
}
