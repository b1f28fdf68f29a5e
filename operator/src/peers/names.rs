//! Names of slices.

use std::hash::Hasher;

use fnv::FnvHasher;
use xdp_crds::PeerSelector;

/// Longest name of an object.
const LONGEST: usize = 253;
/// A dash, a hash, a dash and the number of a slice.
const SUFFIX: usize = 1 + 16 + 1 + 10;

/// What the names of a peer's slices begin with: the same for the same policy and selectors, and for no others of the
/// namespace. As much of the policy's name as has room is there for people.
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

/// The name of a slice.
pub(super) fn slice(base: &str, number: u32) -> String {
    format!("{base}-{number}")
}
