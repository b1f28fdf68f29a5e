//! Tests of the operator with a real API server and made-up objects: many nodes, and tenants that attack it.
//! They run one after the other, because they measure time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod contention;
mod fixture;
mod hostile;
mod sets;
