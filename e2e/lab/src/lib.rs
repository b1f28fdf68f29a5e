//! Network namespaces as clients, a node and its pods, on the kernel that runs the test.
//!
//! A lab is made of kernel objects only: namespaces held by mounts below `/run/xdp-lab`, veth pairs as wires, NICs and
//! pod interfaces. Nothing of the process that makes it changes, so tests may run in parallel threads. Everything goes
//! when the lab is dropped or its process ends, by whatever signal.

mod error;
mod ethtool;
mod frames;
mod guard;
mod home;
mod http;
mod interface;
mod lab;
mod namespace;
mod netlink;
mod nic;
mod pod;
mod process;
mod reap;
mod sys;
mod udp;
mod wait;

pub use error::LabError;
pub use frames::RawSocket;
pub use http::{Answer, HttpServer, http_get};
pub use interface::{Counters, Interface};
pub use lab::Lab;
pub use namespace::Namespace;
pub use nic::{Nic, NicSpec};
pub use pod::{Pod, PodSpec, Style};
pub use process::{Finished, Process};
pub use udp::{Received, Stream, UdpReceiver, UdpSender};
pub use wait::wait_until;

/// Signals for [`Process::signal`].
pub use nix::sys::signal::Signal;
