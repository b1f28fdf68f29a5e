//! Tests across processes, and the demo.
