//! The way back on a real cluster.

mod rules;
mod streams;
