//! The programs and the pinned tables on the running kernel, as root.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod adopt;
mod attach;
mod bpffs;
mod converge;
mod judge;
mod load;
mod oracle;
mod random;
mod remove;
mod scrape;
mod verdict;
#[path = "../kernel/world.rs"]
#[expect(
    dead_code,
    reason = "shared with the other kernel tests, which use more of it"
)]
mod world;
