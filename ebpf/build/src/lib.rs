//! Builds eBPF programs from a build script.
