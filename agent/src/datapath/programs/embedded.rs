//! The object file with the programs. The build script of this package builds it.

/// An ELF file for the bpf target, aligned as aya requires.
pub(in crate::datapath) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-ebpf"));
