//! How findings are put.

use xdp_crds::conditions::{node, programmed};

use super::{NAMED_NODES, Obstacle};

/// Longest text about one thing, in characters: what an agent may write, so that the remedy at its end is read too.
const LONGEST: usize = 512;

/// What passes by itself within moments if all is well, the worst first.
const PASSING: [&str; 3] = [node::PEERS_PENDING, node::PENDING, programmed::OUTDATED];

/// Whether a reason is one that passes by itself.
pub fn is_passing(reason: &str) -> bool {
    PASSING.contains(&reason)
}

/// Smaller is worse: what somebody has to do something about, in the order of [`node::ALL`]; then a silent agent or
/// node; then what passes by itself. A reason that only a newer agent knows is none that passes.
pub fn severity(reason: &str) -> usize {
    let known = node::ALL.iter().position(|word| word.name == reason);
    if let Some(position) = PASSING.iter().position(|passing| *passing == reason) {
        node::ALL.len() + 2 + position
    } else if [programmed::NO_NODE_STATE, programmed::NODE_UNREACHABLE].contains(&reason) {
        node::ALL.len() + 1
    } else {
        known.unwrap_or(node::ALL.len())
    }
}

/// `2 of 12 nodes: node-3: NicProblem: MTU …; node-7: …`
pub(super) fn message(obstacles: &[(&str, Obstacle)], nodes: u32) -> String {
    let named = obstacles.iter().take(NAMED_NODES).map(|(node, obstacle)| {
        if obstacle.message.is_empty() {
            format!("{node}: {}", obstacle.reason)
        } else {
            format!("{node}: {}: {}", obstacle.reason, bounded(&obstacle.message))
        }
    });
    let named: Vec<_> = named.collect();
    let more = match obstacles.len().saturating_sub(NAMED_NODES) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!(
        "{} of {}: {}{more}",
        obstacles.len(),
        count(nodes, "node"),
        named.join("; ")
    )
}

/// `1 node`, `2 nodes`.
pub(super) fn count(number: u32, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// A text that is not longer than it may be.
pub(super) fn bounded(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
