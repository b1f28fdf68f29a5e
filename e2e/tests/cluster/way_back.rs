//! The way back on a real cluster.

mod rules;
