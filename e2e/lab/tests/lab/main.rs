//! The lab on the running kernel. These tests need root.

mod changes;
mod remains;
mod traffic;
mod world;
