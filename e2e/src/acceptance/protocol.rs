//! What the two machines of an acceptance say to each other: one JSON object a line, one response a request.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A request to the peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PeerRequest {
    /// Describe yourself: [`PeerResponse::Peer`].
    Describe,
    /// Give the interface these addresses, and routes to each destination by a gateway.
    Configure {
        /// Addresses and prefix lengths.
        addresses: Vec<(IpAddr, u8)>,
        /// Destinations and gateways.
        routes: Vec<(IpAddr, IpAddr)>,
    },
    /// Change the interface's MTU.
    SetMtu(u32),
    /// Send frames, with a pause after each.
    Send {
        /// The frames, in hexadecimal digits.
        frames: Vec<HexFrame>,
        /// The pause in microseconds.
        gap_us: u64,
    },
    /// Begin to capture arriving frames, or end it.
    Capture(bool),
    /// Wait until this many frames were captured that begin a matching packet, and return all captured:
    /// [`PeerResponse::Frames`].
    Take {
        /// The source of the packets that count.
        from: IpAddr,
        /// How many of them are waited for.
        at_least: usize,
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// Send numbered datagrams from one socket: [`PeerResponse::Sent`].
    Datagrams {
        /// The destination.
        to: SocketAddr,
        /// How many.
        packets: u64,
        /// Bytes of payload.
        payload: usize,
        /// The rate.
        per_second: u32,
    },
    /// Begin to send numbered datagrams until [`PeerRequest::Stop`].
    Stream {
        /// The destination.
        to: SocketAddr,
        /// The rate.
        per_second: u32,
    },
    /// End the stream: [`PeerResponse::Sent`].
    Stop,
    /// Connect and get a page: [`PeerResponse::Page`].
    Http {
        /// The server.
        to: SocketAddr,
    },
    /// Connect to an echo server, send bytes and read them back: [`PeerResponse::Done`].
    Echo {
        /// The server.
        to: SocketAddr,
        /// The number of bytes each way.
        bytes: usize,
    },
    /// Request a datagram of a UDP echo server: [`PeerResponse::Done`].
    Request {
        /// The server.
        to: SocketAddr,
        /// Bytes of the request.
        request: usize,
        /// Bytes of the reply.
        reply: usize,
    },
    /// Connect, and read bytes that the server pushes: [`PeerResponse::Done`].
    Download {
        /// The server.
        to: SocketAddr,
        /// The number of bytes.
        bytes: usize,
    },
    /// Connect, and return how it failed: [`PeerResponse::Refused`].
    Connect {
        /// The server.
        to: SocketAddr,
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// Send a datagram from a connected socket, and return the error: [`PeerResponse::Refused`].
    Provoke {
        /// The destination.
        to: SocketAddr,
    },
    /// Start an echo server (TCP and UDP), for connections that pods open.
    Serve {
        /// Its address.
        address: SocketAddr,
    },
    /// Take the carrier away, or give it back.
    SetLink(bool),
    /// A request to the card in software.
    Card(CardRequest),
    /// The outcome of one check, for the peer's log.
    Checked(Value),
    /// The report; the acceptance is at its end.
    Report(Value),
}

/// A request to a card in software. A real peer answers [`PeerResponse::NotAvailable`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CardRequest {
    /// Take the carrier away, or give it back.
    SetLink(bool),
    /// Let the next commands with this opcode fail.
    Fail {
        /// The command's opcode.
        opcode: u16,
        /// The status of its answer.
        status: u8,
        /// How many commands fail.
        times: u32,
    },
    /// Put a receive queue into its error state.
    ReceiveQueueError,
    /// Report a fatal error.
    FatalError,
    /// Read the counters.
    Counters,
}

/// The peer's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PeerResponse {
    /// Done, and there is nothing to tell.
    Done,
    /// The peer cannot do this.
    NotAvailable,
    /// It failed, with the reason.
    Failed(String),
    /// The peer's description.
    Peer(PeerDescription),
    /// Frames.
    Frames(Vec<HexFrame>),
    /// Datagrams that were sent.
    Sent {
        /// The stream's number, by which the receiver distinguishes senders.
        stream: u32,
        /// How many.
        packets: u64,
    },
    /// A page of an HTTP server of the lab.
    Page {
        /// The mark of the accepted socket.
        mark: u32,
    },
    /// The error of a connection, by errno and text.
    Refused {
        /// The errno; 0 after a time-out.
        errno: i32,
        /// The text.
        text: String,
    },
    /// Counters of the card.
    Counters(BTreeMap<String, u64>),
}

/// The peer's end of the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerDescription {
    /// The interface.
    pub interface: String,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its MTU.
    pub mtu: u32,
    /// The peer's kernel.
    pub kernel: String,
    /// Whether the NIC on the other end is a card in software that takes requests.
    pub card: bool,
}

/// A frame, written as hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HexFrame(pub Vec<u8>);

impl From<HexFrame> for String {
    fn from(frame: HexFrame) -> Self {
        let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
        let digits = frame
            .0
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        digits.collect()
    }
}

impl TryFrom<String> for HexFrame {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).map_err(|error| error.to_string())?;
            u8::from_str_radix(pair, 16).map_err(|error| format!("`{pair}`: {error}"))
        };
        if !text.len().is_multiple_of(2) {
            return Err("an odd number of digits".to_owned());
        }
        text.as_bytes()
            .chunks(2)
            .map(byte)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Writes one object and a line feed.
pub fn write_line(to: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(object)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

/// Reads one object, or `None` at the end of the stream.
pub fn read_line<T: DeserializeOwned>(from: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_and_reads_back() {
        let request = PeerRequest::Send {
            frames: vec![HexFrame(vec![0, 0x1f, 0xff])],
            gap_us: 7,
        };
        let mut bytes = Vec::new();
        write_line(&mut bytes, &request).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains("\"001fff\""));
        assert_eq!(read_line(&mut bytes.as_slice()).unwrap(), Some(request));
        assert_eq!(read_line::<PeerRequest>(&mut io::empty()).unwrap(), None);
    }

    #[test]
    fn broken_digits_are_refused() {
        for text in ["0", "0g"] {
            assert!(HexFrame::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
