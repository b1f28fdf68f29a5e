//! What was found out about interfaces.

use std::{collections::BTreeMap, sync::Arc};

use xdp_plan::facts::NodeFacts;

use crate::{
    node::netlink::{
        NetlinkError, {self},
    },
    reconcile::{nics::NicNeeds, pods::Asked},
};

/// Holds until something says that it may be otherwise.
#[derive(Default)]
pub(super) struct Interfaces {
    facts: Option<Arc<NodeFacts>>,
    /// Targets that were made ready, by the host's ifindex.
    pub(super) ready: BTreeMap<u32, Asked>,
    /// What NICs have got beside our program, or have got rid of.
    pub(super) nics: Option<NicNeeds>,
}

impl Interfaces {
    /// Asked for at most once.
    pub(super) fn facts(&mut self) -> Result<Arc<NodeFacts>, NetlinkError> {
        if let Some(facts) = &self.facts {
            return Ok(Arc::clone(facts));
        }
        let facts = Arc::new(netlink::facts()?);
        self.facts = Some(Arc::clone(&facts));
        Ok(facts)
    }
}
