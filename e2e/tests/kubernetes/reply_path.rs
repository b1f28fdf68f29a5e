//! The reply path on a real cluster.

mod rules;
mod streams;
