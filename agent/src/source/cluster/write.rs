//! What of the node's state must be written; pure.

use serde_json::Value;
use xdp_crds::XdpNodeStateStatus;

use crate::source::cluster::objects::{Node, Written};

/// The next step to a state object that says what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It does, or cannot.
    Nothing,
    /// Make the object, or give it to the node that there is now.
    Object,
    /// Write the status.
    Status,
}

/// A status, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sent {
    pub(super) status: XdpNodeStateStatus,
    pub(super) answer: Value,
}

/// What to do next. A status that the API server keeps in other words than it was sent is not sent again for that.
pub(super) fn next(
    status: Option<&XdpNodeStateStatus>,
    node: Option<&Node>,
    written: Option<&Written>,
    sent: Option<&Sent>,
) -> Step {
    let (Some(status), Some(node)) = (status, node) else {
        return Step::Nothing;
    };
    let Some(written) = written.filter(|written| written.owners == [node.uid.as_str()]) else {
        return Step::Object;
    };
    let as_good = |sent: &Sent| sent.status == *status && sent.answer == written.status;
    if is(&written.status, status) || sent.is_some_and(as_good) {
        Step::Nothing
    } else {
        Step::Status
    }
}

fn is(written: &Value, status: &XdpNodeStateStatus) -> bool {
    serde_json::to_value(status).is_ok_and(|status| status == *written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: &str) -> XdpNodeStateStatus {
        XdpNodeStateStatus {
            agent_version: version.to_owned(),
            ..XdpNodeStateStatus::default()
        }
    }

    fn node(uid: &str) -> Node {
        Node {
            uid: uid.to_owned(),
            ..Node::default()
        }
    }

    fn written(uid: &str, version: &str) -> Written {
        Written {
            owners: vec![uid.to_owned()],
            status: serde_json::to_value(status(version)).unwrap(),
        }
    }

    #[test]
    fn the_object_is_made_and_given_to_the_node_before_its_status_is_written() {
        let (status, node) = (status("1"), node("a"));
        let step = |written: Option<&Written>| next(Some(&status), Some(&node), written, None);
        assert_eq!(step(None), Step::Object);
        assert_eq!(step(Some(&written("b", "1"))), Step::Object);
        assert_eq!(step(Some(&written("a", "0"))), Step::Status);
        assert_eq!(step(Some(&written("a", "1"))), Step::Nothing);
    }

    #[test]
    fn without_a_node_or_anything_to_say_nothing_is_written() {
        let (status, node) = (status("1"), node("a"));
        assert_eq!(next(None, Some(&node), None, None), Step::Nothing);
        assert_eq!(next(Some(&status), None, None, None), Step::Nothing);
        let old = written("a", "0");
        assert_eq!(next(Some(&status), None, Some(&old), None), Step::Nothing);
    }

    #[test]
    fn what_the_api_server_made_of_a_status_is_not_answered_with_the_same_status() {
        let (now, node) = (status("1"), node("a"));
        let mut there = written("a", "1");
        there.status.as_object_mut().unwrap().remove("kernelVersion");
        let sent = Sent {
            status: now.clone(),
            answer: there.status.clone(),
        };
        let step = |status: &XdpNodeStateStatus, written: &Written| {
            next(Some(status), Some(&node), Some(written), Some(&sent))
        };
        assert_eq!(step(&now, &there), Step::Nothing);
        assert_eq!(
            step(&status("2"), &there),
            Step::Status,
            "there is something new to say"
        );
        assert_eq!(
            step(&now, &written("a", "0")),
            Step::Status,
            "somebody else changed it"
        );
    }
}
