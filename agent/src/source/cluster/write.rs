//! Decides what of the node's state must be written, without IO.

use xdp_client::apply::StatusWriter;
use xdp_crds::XdpNodeStateStatus;

use crate::source::cluster::objects::{Node, Written};

/// The next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// None: the state is up to date, or cannot be written yet.
    Nothing,
    /// Create the object, or set the present Node as its owner. Then write the status.
    Object,
    /// Write the status.
    Status,
}

/// Returns the next write.
pub(super) fn next(
    status: Option<&XdpNodeStateStatus>,
    node: Option<&Node>,
    written: Option<&Written>,
    writer: &StatusWriter<XdpNodeStateStatus>,
) -> Step {
    let (Some(status), Some(node)) = (status, node) else {
        return Step::Nothing;
    };
    match written.filter(|written| written.owners == [node.uid.as_str()]) {
        None => Step::Object,
        Some(written) if writer.must_write(status, &written.status) => Step::Status,
        Some(_) => Step::Nothing,
    }
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
    fn the_object_is_created_and_owned_by_the_node_before_its_status_is_written() {
        let (status, node) = (status("1"), node("a"));
        let writer = StatusWriter::new("test");
        let step = |written: Option<&Written>| next(Some(&status), Some(&node), written, &writer);
        assert_eq!(step(None), Step::Object);
        assert_eq!(step(Some(&written("b", "1"))), Step::Object);
        assert_eq!(step(Some(&written("a", "0"))), Step::Status);
        assert_eq!(step(Some(&written("a", "1"))), Step::Nothing);
    }

    #[test]
    fn without_a_node_or_a_status_nothing_is_written() {
        let (status, node) = (status("1"), node("a"));
        let writer = StatusWriter::new("test");
        assert_eq!(next(None, Some(&node), None, &writer), Step::Nothing);
        assert_eq!(next(Some(&status), None, None, &writer), Step::Nothing);
        let old = written("a", "0");
        assert_eq!(next(Some(&status), None, Some(&old), &writer), Step::Nothing);
    }
}
