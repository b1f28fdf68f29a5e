//! Servers that answer as long as they are asked, and clients that hold on: what a connection survives.

mod client;
mod server;

pub use client::{Connection, UdpClient, UdpReply};
pub use server::{EchoServer, Ending};

/// What a datagram begins with: how many bytes the reply shall have.
const WANTED: usize = 4;
/// What every answer begins with: who the server saw asking, padded with zeroes.
const SEEN: usize = 48;
