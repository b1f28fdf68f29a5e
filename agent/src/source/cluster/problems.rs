//! Problems between the agent and the API server.

use std::fmt;

use xdp_client::{apply::RequestError, error_chain, watch::WatchError};
use xdp_plan::{node_state::API_SERVER, report::Problem};

/// A failed request, without the parts that change from one attempt to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestFailure {
    /// The HTTP status of the answer; 0 if there was no answer.
    code: u16,
    message: String,
}

impl From<&RequestError> for RequestFailure {
    fn from(error: &RequestError) -> Self {
        match error {
            RequestError::Refused(error) => Self::from(&**error),
            RequestError::NoAnswer => Self::unanswered(error.to_string()),
        }
    }
}

impl From<&kube::Error> for RequestFailure {
    fn from(error: &kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::unanswered(error_chain(error));
        };
        Self {
            code: status.code,
            message: status.message.clone(),
        }
    }
}

impl RequestFailure {
    const fn unanswered(message: String) -> Self {
        Self { code: 0, message }
    }

    /// Returns the failure of a watch. `None` if the watch only has to list again: its resource version has
    /// expired (410).
    pub(super) fn of_watch(error: &WatchError) -> Option<Self> {
        match error {
            WatchError::InitialListFailed(error)
            | WatchError::WatchStartFailed(error)
            | WatchError::WatchFailed(error) => Some(Self::from(error)),
            WatchError::WatchError(status) if status.code == 410 => None,
            WatchError::WatchError(status) => Some(Self {
                code: status.code,
                message: status.message.clone(),
            }),
            WatchError::NoResourceVersion => Some(Self::unanswered(error.to_string())),
        }
    }

    /// Returns whether the API server refuses the request, rather than being unable to answer it.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self.code, 403 | 404)
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
            401 | 403 => "check the agent's service account and its roles; the chart creates both",
            404 => "install the chart's CRDs; the agent retries",
            _ => "the agent retries, and what is programmed stays; if this persists, check the API server",
        }
    }
}

/// Returns the problem of a number of watches of one kind.
pub(super) fn watch_problem(kind: &str, failure: &RequestFailure, count: usize) -> Problem {
    let watches = if count > 1 {
        format!(" ({count} watches)")
    } else {
        String::new()
    };
    let message = format!("cannot watch {kind}{watches}: {}", failure.message);
    Problem::new(object(kind), failure.reason(), message, failure.remedy())
}

pub(super) fn write_problem(failure: &RequestFailure) -> Problem {
    let message = format!("cannot write the node's state: {}", failure.message);
    // The text is from server-side apply (structured-merge-diff, typed/validate.go).
    let remedy = if failure.message.contains("not declared in schema") {
        "the CRDs are older than the agent: upgrade them with the chart; the agent retries"
    } else {
        failure.remedy()
    };
    Problem::new(object("status"), failure.reason(), message, remedy)
}

/// Lists of one kind that were never complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MissingLists {
    pub(super) kind: &'static str,
    /// The number of keys that are missing, and of all. No keys: there is one list, or the keys are unknown.
    pub(super) of: (usize, usize),
}

/// Writes `Pods`, or `XdpPolicies (3 of 20)`.
impl fmt::Display for MissingLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        match self.of {
            (0, _) | (1, 1) => Ok(()),
            (missing, all) => write!(f, " ({missing} of {all})"),
        }
    }
}

pub(super) fn incomplete_lists(missing: &[MissingLists]) -> Problem {
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let message = format!(
        "waiting for the first list of {}; until then, what is programmed stays unchanged",
        missing.join(", ")
    );
    let remedy = "wait; if this persists, see the other problems for the cause";
    Problem::new(object("lists"), "WaitingForCluster", message, remedy)
}

pub(super) fn absent_node(node: &str, was_present: bool) -> Problem {
    let meanwhile = if was_present {
        "the agent uses the last known labels, and does not write the node's state"
    } else {
        "what is programmed stays unchanged"
    };
    Problem::new(
        object("node"),
        "NoSuchNode",
        format!("Node `{node}` does not exist; until it does, {meanwhile}"),
        "check --node-name; a kubelet registers its node when it starts",
    )
}

/// Returns the object of a problem with the API server.
fn object(what: &str) -> String {
    format!("{API_SERVER}: {what}")
}
