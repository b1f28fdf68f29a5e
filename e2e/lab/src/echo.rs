//! Echo servers and clients that keep connections open, to see what a connection survives.

mod client;
mod server;

pub use client::{EchoConnection, UdpClient, UdpReply};
pub use server::{EchoServer, Ending};

/// Length of the field at the start of a request datagram: the wanted length of the reply.
const WANTED: usize = 4;
/// Length of the field at the start of every answer: the client's address as the server sees it, padded with
/// zeroes.
const SEEN: usize = 48;
