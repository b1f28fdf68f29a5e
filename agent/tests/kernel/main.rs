//! The agent's netlink, ethtool and namespace code on the running kernel, as root.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod btf;
mod facts;
mod namespaces;
mod nics;
mod readiness;
mod xdp;
