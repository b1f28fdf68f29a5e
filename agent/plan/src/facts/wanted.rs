//! What to look for.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Addresses to look for on the node's pairs, with the uids of the pods that claim them.
pub type WantedAddresses = BTreeMap<IpAddr, BTreeSet<String>>;
