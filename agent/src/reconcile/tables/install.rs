//! Changes, until nothing is left to be changed.

use std::sync::Arc;

use tracing::debug;
use xdp_client::error_chain;
use xdp_plan::{
    change::Change, compile::Desired, diff::Differ, installed::Installed, node_state::TABLES, report::Problem,
};

use crate::datapath::{Datapath, OpenError, Outcome};

/// Numbers that a round frees can be handed out by the next: renaming all rules of a full node takes five passes.
const PASSES: usize = 16;

/// What became of a list of changes.
pub(super) struct Installation {
    /// Read after the last change.
    pub(super) installed: Result<Arc<Installed>, Problem>,
    pub(super) failures: Vec<Problem>,
    pub(super) changes: usize,
}

/// `before`: a reading that nothing has changed since.
pub(super) fn install(
    (datapath, differ): (&mut Datapath, &mut Differ),
    desired: &Desired,
    before: Result<Arc<Installed>, Problem>,
) -> Installation {
    let mut made = 0;
    datapath.share_labels(&desired.rules);
    let mut reading = before;
    for _ in 0..PASSES {
        let installed = match reading {
            Ok(installed) => installed,
            Err(problem) => return ended(Err(problem.clone()), vec![problem], made),
        };
        let changes = differ.diff(desired, &installed);
        if changes.is_empty() {
            return ended(Ok(installed), Vec::new(), made);
        }
        made += changes.len();
        let outcomes = datapath.apply(&changes);
        debug!(
            changes = changes.len(),
            pods = desired.pods.len(),
            "tables changed"
        );
        let failures: Vec<Problem> = changes.iter().zip(outcomes).filter_map(failure).collect();
        if !failures.is_empty() {
            return ended(read(datapath.installed()), failures, made);
        }
        reading = read(datapath.pinned().installed_after(&installed, &changes));
    }
    let message = "the tables did not settle; the agent tries again";
    let problem = Problem::new(TABLES, "Unsettled", message, "report this as a bug if it stays");
    ended(reading, vec![problem], made)
}

const fn ended(
    installed: Result<Arc<Installed>, Problem>,
    failures: Vec<Problem>,
    changes: usize,
) -> Installation {
    Installation {
        installed,
        failures,
        changes,
    }
}

pub(super) fn read(reading: Result<Installed, OpenError>) -> Result<Arc<Installed>, Problem> {
    reading.map(Arc::new).map_err(|error| {
        let remedy = "`xdp-agent uninstall` and a new start make the tables anew";
        Problem::new(TABLES, "TablesUnreadable", error_chain(&error), remedy)
    })
}

fn failure((change, outcome): (&Change, Outcome)) -> Option<Problem> {
    let Outcome::Failed(error) = outcome else {
        return None;
    };
    let remedy = "the agent tries again by itself; the packets concerned go to the stack meanwhile";
    Some(Problem::new(
        TABLES,
        "ChangeFailed",
        format!("{change:?}: {}", error_chain(&error)),
        remedy,
    ))
}
