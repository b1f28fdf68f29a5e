//! The bits of `xdp-features`.

/// The device runs XDP programs natively.
pub const BASIC: u64 = 1;
/// The device implements `XDP_REDIRECT`.
pub const REDIRECT: u64 = 2;
/// The device accepts redirected packets (`ndo_xdp_xmit`).
pub const NDO_XMIT: u64 = 4;

/// Names of the bits of `xdp-features`, from `Documentation/netlink/specs/netdev.yaml` (Linux 6.18).
const FEATURES: [&str; 7] = [
    "basic",
    "redirect",
    "ndo-xmit",
    "xsk-zerocopy",
    "hw-offload",
    "rx-sg",
    "ndo-xmit-sg",
];

/// Returns the names of the `xdp-features` that are set. Unknown features of newer kernels are left out.
pub fn feature_names(features: u64) -> Vec<String> {
    let set = |bit: usize| features >> bit & 1 == 1;
    let names = FEATURES.iter().enumerate().filter(|(bit, _)| set(*bit));
    names.map(|(_, name)| (*name).to_owned()).collect()
}
