//! What a packet and a change cost, beside what users would have otherwise.

pub mod stats;
pub mod sys;
