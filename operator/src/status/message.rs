//! Messages of conditions.

use xdp_crds::conditions::{TRANSIENT, node, programmed};

use super::{NAMED_NODES, NodeVerdict, Obstacle};

/// The longest part of a message, in characters. An agent may write as much, so that its remedy, at the end,
/// is shown.
const LONGEST: usize = 512;

/// Returns the rank of a reason; the worst has 0. First come reasons that need a person, in the order of
/// [`node::ALL`]; then an agent without a report or an unreachable node; then transient reasons. An unknown
/// reason, from a newer agent, is not transient.
pub fn severity(reason: &str) -> usize {
    let known = node::ALL.iter().position(|entry| entry.name == reason);
    if let Some(position) = TRANSIENT.iter().position(|transient| *transient == reason) {
        node::ALL.len() + 2 + position
    } else if [programmed::NO_NODE_STATE, programmed::NODE_UNREACHABLE].contains(&reason) {
        node::ALL.len() + 1
    } else {
        known.unwrap_or(node::ALL.len())
    }
}

/// Writes `2 of 12 nodes: node-3: NicProblem: MTU …; node-7: …`.
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

/// Writes `; but on node-3: packets inside …` for the first node with a limitation. Empty if there is
/// none.
pub(super) fn limitations(verdicts: &[NodeVerdict<'_>]) -> String {
    let mut limited = verdicts.iter().filter(|verdict| !verdict.limitation.is_empty());
    let Some(first) = limited.next() else {
        return String::new();
    };
    let more = match limited.count() {
        0 => String::new(),
        more => format!(", and on {more} more"),
    };
    let limitation = bounded(&first.limitation);
    format!("; but on {}{more}: {limitation}", first.node)
}

/// Writes `1 node` or `2 nodes`.
pub(super) fn count(number: u32, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Shortens a text to the longest part of a message.
pub(super) fn bounded(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
