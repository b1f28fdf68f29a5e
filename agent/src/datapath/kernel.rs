//! Access to the kernel: system calls, pins, the lock, mapped arrays.

pub(in crate::datapath) mod lock;
pub(in crate::datapath) mod mmap_array;
pub(in crate::datapath) mod pins;
pub(in crate::datapath) mod plain;
pub(in crate::datapath) mod refusal;
pub(in crate::datapath) mod sys;
