//! Logs every problem once: when it appears, and when it is gone.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{info, warn};
use xdp_crds::conditions::node;
use xdp_plan::{fair::in_turns, report::Problem};

/// Problems of one kind up to which each has a line of its own.
const LINES: usize = 3;

/// The problems that are in the log and not solved.
#[derive(Debug, Default)]
pub(super) struct ProblemLog(BTreeSet<Problem>);

impl ProblemLog {
    /// Logs new problems and those that are gone. Returns whether there are any of either.
    pub(super) fn update(&mut self, now: BTreeSet<Problem>) -> bool {
        for (problem, others) in lines(now.difference(&self.0)) {
            let Problem {
                object,
                reason,
                message,
                remedy,
            } = problem;
            match others {
                0 => warn!(%object, %reason, %message, %remedy, "problem"),
                others => {
                    warn!(%object, %reason, %message, %remedy, others, "problem of several objects");
                }
            }
        }
        for (Problem { object, reason, .. }, others) in lines(self.0.difference(&now)) {
            match others {
                0 => info!(%object, %reason, "problem solved"),
                others => info!(%object, %reason, others, "problem of several objects solved"),
            }
        }
        let changed = now != self.0;
        self.0 = now;
        changed
    }
}

/// Returns the problems to log. Many with the same reason in one namespace are one line, with their number:
/// a tenant must not fill the log.
fn lines<'a>(problems: impl Iterator<Item = &'a Problem>) -> Vec<(&'a Problem, usize)> {
    let mut kinds: BTreeMap<(&str, &str), Vec<&Problem>> = BTreeMap::new();
    // Those that wait for their turn are many, and solved by themselves.
    for problem in problems.filter(|problem| problem.reason != node::PENDING) {
        kinds
            .entry((problem.scope(), &problem.reason))
            .or_default()
            .push(problem);
    }
    let lines = kinds.into_values().flat_map(|alike| {
        let (shown, others) = if alike.len() > LINES {
            (1, alike.len() - 1)
        } else {
            (LINES, 0)
        };
        alike
            .into_iter()
            .take(shown)
            .map(move |problem| (problem, others))
    });
    lines.collect()
}

/// Returns no more than `most` problems, of each kind and namespace as many as of the others.
pub(super) fn shared_out(problems: &BTreeSet<Problem>, most: usize) -> Vec<Problem> {
    in_turns(problems, most, |problem| problem.scope())
        .into_iter()
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_problems_of_one_namespace_leave_room_for_those_of_others() {
        let many = (0..469).map(|number| format!("XdpPolicy a/p{number:03}"));
        let all: BTreeSet<Problem> = problems(many.chain(["XdpPolicy z/p".to_owned()]))
            .into_iter()
            .collect();
        let shown = shared_out(&all, 256);
        assert_eq!(shown.len(), 256);
        assert_eq!(shown.last().unwrap().object, "XdpPolicy z/p");
        assert_eq!(shared_out(&all, 1000).len(), all.len());
    }

    fn problems(objects: impl Iterator<Item = String>) -> Vec<Problem> {
        objects
            .map(|object| Problem::new(object, "MAX_RULES", "too many", "use fewer"))
            .collect()
    }

    #[test]
    fn each_of_a_few_problems_has_a_line() {
        let few = problems(
            ["XdpPolicy a/p", "XdpPolicy a/q", "NIC eth0"]
                .map(str::to_owned)
                .into_iter(),
        );
        let lines = lines(few.iter());
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|(_, others)| *others == 0));
    }

    #[test]
    fn many_problems_of_a_namespace_are_one_line_and_hide_none_of_others() {
        let many = (0..469).map(|number| format!("XdpPolicy a/p{number:03}"));
        let all = problems(many.chain(["XdpPolicy b/p".to_owned()]));
        let lines: Vec<_> = lines(all.iter())
            .into_iter()
            .map(|(problem, others)| (problem.object.as_str(), others))
            .collect();
        assert_eq!(lines, [("XdpPolicy a/p000", 468), ("XdpPolicy b/p", 0)]);
    }
}
