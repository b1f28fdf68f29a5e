//! Network namespaces as clients, a node and its pods, on the running kernel.
//!
//! A lab consists of kernel objects only: namespaces, which mounts below `/run/xdp-lab` keep alive, and veth
//! pairs, which serve as wires, NICs and pod interfaces. It does not change the process that creates it, so
//! tests may run in parallel threads. Everything is removed when the lab is dropped or its process ends,
//! whatever the signal.
//!
//! ```no_run
//! use std::net::SocketAddr;
//! use std::process::Command;
//! use std::time::Duration;
//!
//! use xdp_lab::{HttpServer, Lab, LabPodSpec, NicSpec, Style, UdpReceiver, UdpSender, http_get};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lab = Lab::new()?;
//! let client = lab.namespace("client")?;
//! let nic = lab.nic(NicSpec::new("nic0", &client))?;
//! let game = LabPodSpec::new("game", Style::Ptp).v4("10.8.0.2/24".parse()?).v6("fd08::2/64".parse()?);
//! let pod = lab.pod(&game)?;
//! let mut agent = Command::new("xdp-agent");
//! agent.args(["run", "--nic", &nic.name, "--pin-dir"]).arg(lab.pin_dir());
//! let agent = lab.node().spawn(agent)?;
//!
//! let receiver = UdpReceiver::bind(&pod.ns, SocketAddr::new(pod.v4(), 5000))?;
//! let mut sender = UdpSender::new(&client, receiver.address())?.payload(200);
//! sender.send_paced(1000, 5000)?;
//! let arrived = receiver.wait_for(1000, Duration::from_secs(5))?;
//! assert_eq!(arrived.streams[&sender.stream()].lost(sender.sent()), 0);
//! assert_eq!(arrived.marks[&0x2a], 1000);
//!
//! let server = HttpServer::start(&pod.ns, SocketAddr::new(pod.v6(), 80))?;
//! println!("mark {:#x}", http_get(&client, server.address(), Duration::from_secs(5))?.mark);
//! agent.kill()?;
//! # Ok(())
//! # }
//! ```

mod adopt;
pub mod bpf;
mod echo;
mod error;
mod ethtool;
mod frames;
mod genl;
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
mod seccomp;
mod sys;
mod tap;
mod tcx;
mod tracking;
mod udp;
mod wait;
mod worker;
mod xdp;

pub use echo::{EchoConnection, EchoServer, Ending, UdpClient, UdpReply};
pub use error::LabError;
pub use frames::RawSocket;
pub use genl::{XDP_FEATURE_NDO_XMIT, xdp_features};
pub use http::{HttpReply, HttpRequest, HttpServer, HttpSession, SeenConnection, http_get};
pub use interface::{Counters, LabInterface};
pub use lab::Lab;
pub use namespace::Namespace;
pub use nic::{Nic, NicSpec};
/// Signals for [`Process::signal`].
pub use nix::sys::signal::Signal;
pub use pod::{LabPod, LabPodSpec, Style};
pub use process::{Finished, Process};
pub use seccomp::{RefusedCall, SyscallFilter};
pub use tcx::{TcxCrowd, TcxDirection, TcxProgram, TcxVerdict};
pub use udp::{Datagrams, UdpReceiver, UdpSender, UdpStream};
pub use wait::wait_until;
pub use xdp::XdpRefusal;
