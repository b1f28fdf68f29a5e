//! The programs and the pinned tables on the running kernel, as root.
#![expect(clippy::print_stdout, reason = "helpers print what they measured")]
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod adopt;
mod attach;
mod bpffs;
mod converge;
mod entries;
mod explain;
mod flips;
mod flows;
mod generic;
mod hooks;
mod judge;
mod known;
mod labels;
mod limits;
mod load;
mod migrate;
mod node;
mod oracle;
mod order;
mod output;
mod peer;
mod preflight;
mod random;
mod reject;
mod reply_path;
mod scrape;
mod sizes;
mod tenants;
mod uninstall;
mod upgrade;
mod verdict;
