//! Summary of a node's state.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NicMode, XdpNodeStateStatus};

/// Maximum of names in a list; further ones are only counted.
const NAMES: usize = 4;

/// Summary of a node's state, for `kubectl get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSummary {
    /// Names of the NICs, as `eth0,eth1`.
    #[serde(default)]
    pub nics: String,
    /// Drivers of the NICs, as `mlx5_core`.
    #[serde(default)]
    pub drivers: String,
    /// Actual modes of XDP on the NICs, the worst first: `Native` if all NICs have it, otherwise as
    /// `Foreign,Native`.
    #[serde(default)]
    pub mode: String,
    /// Number of policies that select pods of the node.
    #[serde(default)]
    pub policies: u32,
    /// Number of these policies that are programmed as written.
    #[serde(default)]
    pub programmed: u32,
    /// Number of problems of NICs, pods and other objects.
    #[serde(default)]
    pub problems: u32,
}

impl XdpNodeStateStatus {
    /// Returns the status with a summary of its other fields.
    #[must_use]
    pub fn with_summary(mut self) -> Self {
        self.summary = NodeSummary::of(&self);
        self
    }
}

impl NodeSummary {
    fn of(status: &XdpNodeStateStatus) -> Self {
        let nics = &status.nics;
        let of_nics: usize = nics.iter().map(|nic| nic.problems.len()).sum();
        let programmed = status.policies.iter().filter(|policy| policy.programmed);
        Self {
            nics: list(nics.iter().map(|nic| nic.name.as_str())),
            drivers: list(nics.iter().map(|nic| nic.driver.as_str())),
            mode: modes(nics.iter().map(|nic| nic.mode)),
            policies: status.policies.len() as u32,
            programmed: programmed.count() as u32,
            problems: (of_nics + status.pods.len() + status.problems.len()) as u32,
        }
    }
}

/// Returns the names as `a,b,c,d,+2`, each once.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut shown: Vec<&str> = Vec::new();
    let mut others = 0;
    for name in names.filter(|name| !name.is_empty()) {
        match shown.contains(&name) {
            true => {}
            false if shown.len() < NAMES => shown.push(name),
            false => others += 1,
        }
    }
    let others = (others > 0).then(|| format!("+{others}"));
    let shown = shown.into_iter().map(str::to_owned).chain(others);
    shown.collect::<Vec<_>>().join(",")
}

/// Returns the modes that occur, the worst first.
fn modes(modes: impl Iterator<Item = NicMode>) -> String {
    let found: Vec<NicMode> = modes.collect();
    let worst_first = [NicMode::Foreign, NicMode::None, NicMode::Generic, NicMode::Native];
    let names = worst_first.into_iter().filter(|mode| found.contains(mode));
    names.map(NicMode::name).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NicState, PodState, PolicyState, report::Problem};

    fn nic(name: &str, mode: NicMode, problems: usize) -> NicState {
        NicState {
            name: name.into(),
            driver: "mlx5_core".into(),
            mode,
            problems: vec![Problem::of_nic(name, "MtuTooLarge", "", ""); problems],
            ..NicState::default()
        }
    }

    fn summary(status: XdpNodeStateStatus) -> NodeSummary {
        status.with_summary().summary
    }

    #[test]
    fn every_problem_counts_once_and_policies_by_what_is_programmed() {
        let policy = |programmed| PolicyState {
            programmed,
            ..PolicyState::default()
        };
        let status = XdpNodeStateStatus {
            nics: vec![nic("eth0", NicMode::Native, 0), nic("eth1", NicMode::None, 2)],
            policies: vec![policy(true), policy(false), policy(true)],
            pods: vec![PodState::default()],
            ..XdpNodeStateStatus::default()
        };
        let expected = NodeSummary {
            nics: "eth0,eth1".into(),
            drivers: "mlx5_core".into(),
            mode: "None,Native".into(),
            policies: 3,
            programmed: 2,
            problems: 3,
        };
        assert_eq!(summary(status), expected);
    }

    #[test]
    fn many_nics_are_cut_short_with_their_number() {
        let nics = (0..6).map(|index| nic(&format!("eth{index}"), NicMode::Native, 0));
        let status = XdpNodeStateStatus {
            nics: nics.collect(),
            ..XdpNodeStateStatus::default()
        };
        let summary = summary(status);
        assert_eq!(
            (summary.nics.as_str(), summary.mode.as_str()),
            ("eth0,eth1,eth2,eth3,+2", "Native")
        );
    }

    #[test]
    fn a_node_without_nics_has_an_empty_list_and_no_mode() {
        assert_eq!(summary(XdpNodeStateStatus::default()), NodeSummary::default());
    }
}
