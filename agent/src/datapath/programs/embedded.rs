//! The object file with the programs, built by this package's build script.

/// An ELF file for the bpf target, aligned as aya wants it.
pub(in crate::datapath) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-ebpf"));
