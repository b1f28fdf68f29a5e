//! What can be wrong between the agent and the API server.

use kube::runtime::watcher;
use xdp_client::error_chain;
use xdp_plan::report::Problem;

use crate::source::cluster::cache::about;

/// A request that failed, without what changes from one attempt to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The API server's answer, 0 if there was none.
    code: u16,
    message: String,
}

impl From<&kube::Error> for Trouble {
    fn from(error: &kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return Self {
                code: 0,
                message: error_chain(error),
            };
        };
        Self {
            code: status.code,
            message: status.message.clone(),
        }
    }
}

impl Trouble {
    /// `None`: no trouble, the watch only begins anew (410: what it stood at is too long ago).
    pub(super) fn of_watch(error: &watcher::Error) -> Option<Self> {
        match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => Some(Self::from(error)),
            watcher::Error::WatchError(status) if status.code == 410 => None,
            watcher::Error::WatchError(status) => Some(Self {
                code: status.code,
                message: status.message.clone(),
            }),
            watcher::Error::NoResourceVersion => Some(Self {
                code: 0,
                message: error.to_string(),
            }),
        }
    }

    const fn reason(&self) -> &'static str {
        match self.code {
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            0 => "Unreachable",
            _ => "Refused",
        }
    }

    const fn remedy(&self) -> &'static str {
        match self.code {
            401 | 403 => "check the agent's service account and its roles: the chart makes both",
            404 => "install the chart's CRDs; the agent asks again by itself",
            _ => {
                "what is in force stays so, and the agent asks again by itself; check the API server if it stays"
            }
        }
    }
}

pub(super) fn watch_problem(watched: &str, trouble: &Trouble) -> Problem {
    let message = format!("{watched} cannot be watched: {}", trouble.message);
    Problem::new(about(watched), trouble.reason(), message, trouble.remedy())
}

pub(super) fn not_written(trouble: &Trouble) -> Problem {
    let message = format!("the node's state cannot be written: {}", trouble.message);
    // Words of server-side apply (structured-merge-diff, typed/validate.go).
    let remedy = if trouble.message.contains("not declared in schema") {
        "the CRDs are older than the agent: upgrade them with the chart; the agent asks again by itself"
    } else {
        trouble.remedy()
    };
    Problem::new(about("status"), trouble.reason(), message, remedy)
}

pub(super) fn unlisted(missing: &[&str]) -> Problem {
    Problem::new(
        about("lists"),
        "WaitingForCluster",
        format!(
            "not listed yet: {}; until then nothing in force is touched",
            missing.join(", ")
        ),
        "wait; other problems say what is in the way",
    )
}

pub(super) fn absent_node(node: &str, was_there: bool) -> Problem {
    let meanwhile = if was_there {
        "its labels as last seen count, and its state is not written"
    } else {
        "nothing in force is touched"
    };
    Problem::new(
        about("node"),
        "NoSuchNode",
        format!("there is no Node `{node}`; until then {meanwhile}"),
        "check --node-name; a kubelet that starts registers its node again",
    )
}
