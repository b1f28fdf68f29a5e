//! [`XdpNodeState`]: what is programmed on a node, read back from the kernel.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{limits, report::Problem, status::Ratio};

mod summary;

pub use summary::NodeSummary;

/// What is programmed on a node, read back from the kernel: its NICs, and the policies that select pods of
/// it. Only the node's agent writes it, and only when something changed. It has the node's name, and is
/// deleted with the node.
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
    doc = "XdpNodeState shows what is programmed on a node, read back from the kernel: its NICs, and the policies that \
           select pods of it. Only the node's agent writes it, and only when something changed. It has the node's name \
           and is deleted with the node. Users do not write it.",
    printcolumn = r#"{"name": "NICs", "type": "string", "jsonPath": ".status.summary.nics", "description": "NICs that the administrator selected"}"#,
    printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".status.summary.mode", "description": "Actual mode of XDP on them"}"#,
    printcolumn = r#"{"name": "Policies", "type": "integer", "jsonPath": ".status.summary.policies", "description": "Policies that select pods of the node"}"#,
    printcolumn = r#"{"name": "Programmed", "type": "integer", "jsonPath": ".status.summary.programmed", "description": "Policies of these that are programmed as written"}"#,
    printcolumn = r#"{"name": "Problems", "type": "integer", "jsonPath": ".status.summary.problems", "description": "Problems of NICs, pods and other objects"}"#,
    printcolumn = r#"{"name": "Agent", "type": "string", "jsonPath": ".status.agentVersion", "description": "Version of the agent"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Kernel", "type": "string", "jsonPath": ".status.kernelVersion", "description": "Version of the node's kernel", "priority": 1}"#,
    printcolumn = r#"{"name": "Drivers", "type": "string", "jsonPath": ".status.summary.drivers", "description": "Drivers of the NICs", "priority": 1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct XdpNodeStateSpec {}

/// State of the node, as the agent read it back from the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct XdpNodeStateStatus {
    /// Version of the agent.
    pub agent_version: String,
    /// Version of the node's kernel, as `uname -r` shows it.
    pub kernel_version: String,
    /// Boot of the node, as `/proc/sys/kernel/random/boot_id` shows it. What is programmed ends with the
    /// boot.
    #[serde(default)]
    pub boot_id: String,
    /// Summary of the other fields, for `kubectl get`.
    #[serde(default)]
    pub summary: NodeSummary,
    /// NICs that the administrator selected, and NICs that run the program.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub nics: Vec<NicState>,
    /// Policies that select at least one pod of this node, by namespace and name; at most 1,000, of each
    /// namespace as many as of the others.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub policies: Vec<PolicyState>,
    /// Selected pods with a problem, by namespace and name; at most 100, of each namespace as many as of the
    /// others.
    #[serde(default)]
    #[schemars(length(max = limits::PROBLEMS), extend("x-kubernetes-list-type" = "atomic"))]
    pub pods: Vec<PodState>,
    /// Other problems; at most 100, of each namespace as many as of the others.
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
    /// Driver, as `mlx5_core`.
    #[serde(default)]
    pub driver: String,
    /// Bus address, as `0000:3b:00.0`; empty if it has none.
    #[serde(default)]
    pub pci_address: String,
    /// Whether the NIC is a virtual function of another one (SR-IOV). `agent.nics.drivers` of the chart
    /// selects these only with `agent.nics.virtualFunctions`.
    #[serde(default)]
    pub virtual_function: bool,
    /// MTU in bytes.
    #[serde(default)]
    pub mtu: u32,
    /// Actual mode of XDP on the NIC. `Native`: the agent's program, in the driver. `Generic`: the agent's
    /// program, but not in the driver: slower, and packets lose their metadata unless the policy says
    /// `delivery: Peer`. `None`: no program. `Foreign`: a program that the agent does not own.
    pub mode: NicMode,
    /// Kernel id of the attached program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_id: Option<u32>,
    /// The kernel's tag of the attached program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_tag: Option<String>,
    /// XDP features that the driver reports (`xdp-features` of the netdev netlink family).
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub features: Vec<String>,
    /// State of the reply path's program on this NIC. Without it no packet is redirected, because replies
    /// could leave the wrong way. `Attached`: it is attached. `Missing`: it cannot be attached; the
    /// problems name the feature that the kernel lacks. `NotNeeded`: no policy on the node redirects or
    /// drops.
    #[serde(default)]
    pub reply_path: NicReplyPath,
    /// Problems of the NIC.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub problems: Vec<Problem>,
}

/// State of the reply path's program on a NIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NicReplyPath {
    /// The program is attached.
    Attached,
    /// It cannot be attached.
    Missing,
    /// No policy on the node redirects or drops.
    #[default]
    NotNeeded,
}

/// The mode in which XDP runs on a NIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NicMode {
    /// The agent's program, in the driver.
    Native,
    /// The agent's program, outside the driver: packets redirected with delivery `Redirect` lose their
    /// metadata.
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
    /// Uid of the policy. A policy that was deleted and created again has another one.
    pub uid: String,
    /// `metadata.generation` of the policy that is programmed here, or was refused.
    pub observed_generation: i64,
    /// Whether it is programmed as written, for all its pods here, on all selected NICs.
    pub programmed: bool,
    /// The reason, as a constant in CamelCase; `Programmed` if it is programmed. The API reference lists the
    /// reasons.
    pub reason: String,
    /// Explanation of the reason, for people; of a policy that is programmed, what it does not do.
    #[serde(default)]
    pub message: String,
    /// Pods of this node that the policy selects.
    pub pods: Ratio,
    /// What NetworkPolicies mean for the policy here. Absent: no rule redirects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicyState>,
}

/// What NetworkPolicies mean for redirects of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicyState {
    /// Whether only packets that every policy certainly allows are redirected.
    pub honoured: bool,
    /// Policies because of which packets to pods of this node pass to the stack instead, those of most pods
    /// first; at most 8.
    #[serde(default)]
    #[schemars(length(max = limits::RESTRICTIONS), extend("x-kubernetes-list-type" = "atomic"))]
    pub restrictions: Vec<NetworkPolicyRestriction>,
}

/// A policy because of which packets are not redirected.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicyRestriction {
    /// Kind and name, as `NetworkPolicy games/deny-all`.
    pub policy: String,
    /// Why packets are not certainly allowed, as a constant in CamelCase.
    pub reason: String,
    /// Number of pods that this concerns.
    pub pods: u32,
}

/// A pod with a problem.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodState {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Why the pod does not take packets as the policies say, as a constant in CamelCase.
    pub reason: String,
    /// Explanation of the reason, for people.
    pub message: String,
}
