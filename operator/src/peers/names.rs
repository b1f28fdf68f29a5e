//! Names of slices.

use std::hash::Hasher;

use fnv::FnvHasher;
use xdp_crds::PeerSelector;

/// The longest name of an object.
const LONGEST: usize = 253;
/// Length of a dash, a hash, a dash and the number of a slice.
const SUFFIX: usize = 1 + 16 + 1 + 10;

/// Returns the prefix of the names of a peer's slices. It is unique in the namespace for the policy and the
/// selectors. It starts with the name of the policy, shortened if necessary.
pub fn base(policy: &str, peer: &PeerSelector) -> String {
    let mut hasher = FnvHasher::default();
    hasher.write(policy.as_bytes());
    hasher.write_u8(0);
    let peer = serde_json::to_vec(peer).unwrap_or_default();
    hasher.write(&peer);
    // Names of objects are ASCII.
    let shown: String = policy.chars().take(LONGEST - SUFFIX).collect();
    let shown = shown.trim_end_matches(['-', '.']);
    format!("{shown}-{:016x}", hasher.finish())
}

/// Returns the name of a slice.
pub(super) fn slice(base: &str, number: u32) -> String {
    format!("{base}-{number}")
}
