//! From policies to tables to verdicts: the tables agree with the oracle, and every single change is safe.
#![expect(clippy::print_stdout, reason = "helpers print what they measured")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod certain;
mod compiler;
mod index;
mod limits;
mod nodes;
mod reconcile;
mod room;
mod sets;
mod shapes;
mod shares;
mod sharing;
mod speed;
mod tenants;
mod verdicts;
