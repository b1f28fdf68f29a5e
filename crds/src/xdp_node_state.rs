//! [`XdpNodeState`]: what is really in force on a node.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{limits, report::Problem, status::Ratio};

mod summary;

pub use summary::NodeSummary;

/// What is really in force on a node: its NICs, and the policies that select pods of it. Written by the
/// node's agent alone, and only when something changed. It has the node's name and goes with the node.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "xdp-operator.io",
    version = "v1alpha1",
    kind = "XdpNodeState",
    plural = "xdpnodestates",
    shortname = "xns",
    category = "xdp",
    status = "XdpNodeStateStatus",
    derive = "PartialEq",
    doc = "XdpNodeState says what is really in force on a node: its NICs, and the policies that select pods of it. \
           Written by the node's agent alone, and only when something changed. It has the node's name and goes with \
           the node; nothing for users to write.",
    printcolumn = r#"{"name": "NICs", "type": "string", "jsonPath": ".status.summary.nics", "description": "The NICs that the administrator selected"}"#,
    printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".status.summary.mode", "description": "What XDP really does on them"}"#,
    printcolumn = r#"{"name": "Policies", "type": "integer", "jsonPath": ".status.summary.policies", "description": "Policies that select pods of the node"}"#,
    printcolumn = r#"{"name": "Programmed", "type": "integer", "jsonPath": ".status.summary.programmed", "description": "Those of them that are in force as written"}"#,
    printcolumn = r#"{"name": "Problems", "type": "integer", "jsonPath": ".status.summary.problems", "description": "Problems of NICs, pods and everything else"}"#,
    printcolumn = r#"{"name": "Agent", "type": "string", "jsonPath": ".status.agentVersion", "description": "Version of the agent"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Kernel", "type": "string", "jsonPath": ".status.kernelVersion", "description": "Version of the node's kernel", "priority": 1}"#,
    printcolumn = r#"{"name": "Drivers", "type": "string", "jsonPath": ".status.summary.drivers", "description": "Drivers of the NICs", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct XdpNodeStateSpec {}

/// What the agent found, and read back from the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct XdpNodeStateStatus {
    /// Version of the agent.
    pub agent_version: String,
    /// Version of the node's kernel, as `uname -r` shows it.
    pub kernel_version: String,
    /// Boot of the node in which this was found, as `/proc/sys/kernel/random/boot_id` shows it: what was in
    /// force ends with it.
    #[serde(default)]
    pub boot_id: String,
    /// The rest in a line.
    #[serde(default)]
    pub summary: NodeSummary,
    /// The NICs that the administrator selected, and those that carry the program.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub nics: Vec<NicState>,
    /// Policies that select at least one pod of this node, by namespace and name.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub policies: Vec<PolicyState>,
    /// Selected pods with a problem, by namespace and name; at most 100.
    #[serde(default)]
    #[schemars(length(max = limits::PROBLEMS), extend("x-kubernetes-list-type" = "atomic"))]
    pub pods: Vec<PodState>,
    /// Other problems; at most 100.
    #[serde(default)]
    #[schemars(length(max = limits::PROBLEMS), extend("x-kubernetes-list-type" = "atomic"))]
    pub problems: Vec<Problem>,
}

/// A NIC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NicState {
    /// Name of the interface, as `eth0`.
    pub name: String,
    /// Its driver, as `mlx5_core`.
    #[serde(default)]
    pub driver: String,
    /// Its bus address, as `0000:3b:00.0`; empty if it has none.
    #[serde(default)]
    pub pci_address: String,
    /// Its MTU in bytes.
    #[serde(default)]
    pub mtu: u32,
    /// What XDP really does on the NIC. `Native`: our program, in the driver. `Generic`: our program, but
    /// not in the driver: slower, and packets lose their metadata unless the policy says `delivery:
    /// Peer`. `None`: no program. `Foreign`: somebody else's program.
    pub mode: NicMode,
    /// Kernel id of the attached program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_id: Option<u32>,
    /// The kernel's tag of the attached program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_tag: Option<String>,
    /// What the driver says it can do with XDP (`xdp-features` of the netdev netlink family).
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub features: Vec<String>,
    /// Whether the program is attached that sees what leaves the node here, without which no packet is
    /// redirected: replies could take the wrong way. `Attached`: it is. `Missing`: it cannot be; the
    /// problems say which feature the kernel lacks. `NotNeeded`: no policy on the node redirects.
    #[serde(default)]
    pub reply_path: NicReplyPath,
    /// What is in the way.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub problems: Vec<Problem>,
}

/// Whether the reply path of redirected packets' replies is in force on a NIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NicReplyPath {
    /// The program is attached.
    Attached,
    /// It cannot be attached.
    Missing,
    /// No policy on the node redirects.
    #[default]
    NotNeeded,
}

/// The mode in which XDP runs on a NIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NicMode {
    /// The agent's program, in the driver.
    Native,
    /// The agent's program, outside the driver: packets redirected with delivery `Redirect` lose their metadata.
    Generic,
    /// No program.
    #[default]
    None,
    /// A program that the agent does not own.
    Foreign,
}

impl NicMode {
    /// Returns the name of the mode, as in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "Native",
            Self::Generic => "Generic",
            Self::None => "None",
            Self::Foreign => "Foreign",
        }
    }
}

/// A policy on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyState {
    /// Namespace of the policy.
    pub namespace: String,
    /// Name of the policy.
    pub name: String,
    /// Uid of the policy: one that was deleted and made again is another.
    pub uid: String,
    /// `metadata.generation` of the policy that is in force here, or was refused.
    pub observed_generation: i64,
    /// Whether it is in force as written, for all its pods here, on all selected NICs.
    pub programmed: bool,
    /// Why not, as a constant in CamelCase; `Programmed` if it is. The API reference lists them.
    pub reason: String,
    /// Why not, for a person.
    #[serde(default)]
    pub message: String,
    /// Pods of this node that the policy selects.
    pub pods: Ratio,
}

/// A pod with a problem.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodState {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Why its packets do not go as the policies say, as a constant in CamelCase.
    pub reason: String,
    /// The same for a person.
    pub message: String,
}
