//! Metadata v1: the sixteen bytes in front of a redirected packet, for any consumer in the pod.
//!
//! A tc program on the pod's interface finds them between `data_meta` and `data`. Host byte order; every field at its
//! natural alignment:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 2 | magic, [`MAGIC`] |
//! | 2 | 1 | version, [`VERSION`] |
//! | 3 | 1 | flags: [`Metadata::MARK`], [`Metadata::RX_HASH`] |
//! | 4 | 4 | rule id: the row of `xdp-agent status` that decided |
//! | 8 | 4 | mark, meaningful with [`Metadata::MARK`] |
//! | 12 | 4 | RX hash of the NIC, meaningful with [`Metadata::RX_HASH`] |
//!
//! All fields are constant per flow, so that GRO still merges the flow's packets (GRO compares metadata byte by byte).
//! A later version may be longer (at most 32 bytes) and begins with the same four bytes. No metadata means "not
//! classified", never "trusted".
