//! The acceptance's end of the connection to the peer.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{BufReader, Read, Write},
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, bail};

use super::{
    not_applicable,
    protocol::{CardRequest, HexFrame, PeerDescription, PeerRequest, PeerResponse, read_line, write_line},
};

struct Streams {
    from: BufReader<Box<dyn Read>>,
    to: Box<dyn Write>,
}

/// The connection to a [`PeerServer`](super::PeerServer).
pub struct PeerConnection {
    streams: RefCell<Streams>,
}

impl PeerConnection {
    /// Uses two streams.
    pub fn new(from: impl Read + 'static, to: impl Write + 'static) -> Self {
        let from: Box<dyn Read> = Box::new(from);
        Self {
            streams: RefCell::new(Streams {
                from: BufReader::new(from),
                to: Box::new(to),
            }),
        }
    }

    /// Sends a request, and waits for the answer. A failure, and "not available", are errors.
    pub fn ask(&self, request: &PeerRequest) -> anyhow::Result<PeerResponse> {
        let mut streams = self.streams.borrow_mut();
        let Streams { from, to } = &mut *streams;
        write_line(to, request).context("cannot write to the peer")?;
        let response = read_line(from).context("cannot read from the peer")?;
        match response.context("the peer has ended the connection")? {
            PeerResponse::Failed(why) => bail!("the peer failed: {why}"),
            PeerResponse::NotAvailable => Err(not_applicable("only a card in software has this fault")),
            response => Ok(response),
        }
    }

    /// Asks for something that has no result.
    pub fn done(&self, request: &PeerRequest) -> anyhow::Result<()> {
        match self.ask(request)? {
            PeerResponse::Done => Ok(()),
            other => Err(unexpected(request, &other)),
        }
    }

    /// Returns the peer's description.
    pub fn describe(&self) -> anyhow::Result<PeerDescription> {
        match self.ask(&PeerRequest::Describe)? {
            PeerResponse::Peer(peer) => Ok(peer),
            other => Err(unexpected(&PeerRequest::Describe, &other)),
        }
    }

    /// Lets the peer send frames.
    pub fn send(&self, frames: impl IntoIterator<Item = Vec<u8>>) -> anyhow::Result<()> {
        let frames = frames.into_iter().map(HexFrame).collect();
        self.done(&PeerRequest::Send { frames, gap_us: 500 })
    }

    /// Returns the captured frames from a source.
    pub fn take(&self, from: IpAddr, at_least: usize, limit_ms: u64) -> anyhow::Result<Vec<Vec<u8>>> {
        let request = PeerRequest::Take {
            from,
            at_least,
            limit_ms,
        };
        match self.ask(&request)? {
            PeerResponse::Frames(frames) => Ok(frames.into_iter().map(|frame| frame.0).collect()),
            other => Err(unexpected(&request, &other)),
        }
    }

    /// Lets the peer send datagrams, and returns how many were sent.
    pub fn datagrams(&self, to: SocketAddr, packets: u64, per_second: u32) -> anyhow::Result<u64> {
        let request = PeerRequest::Datagrams {
            to,
            packets,
            payload: 64,
            per_second,
        };
        match self.ask(&request)? {
            PeerResponse::Sent { packets, .. } => Ok(packets),
            other => Err(unexpected(&request, &other)),
        }
    }

    /// Ends the stream. Returns its number, and how many datagrams were sent.
    pub fn stop(&self) -> anyhow::Result<(u32, u64)> {
        match self.ask(&PeerRequest::Stop)? {
            PeerResponse::Sent { stream, packets } => Ok((stream, packets)),
            other => Err(unexpected(&PeerRequest::Stop, &other)),
        }
    }

    /// Gets a page, and returns the mark of the accepted socket.
    pub fn http(&self, to: SocketAddr) -> anyhow::Result<u32> {
        match self.ask(&PeerRequest::Http { to })? {
            PeerResponse::Page { mark } => Ok(mark),
            other => Err(unexpected(&PeerRequest::Http { to }, &other)),
        }
    }

    /// Asks for something that fails, and returns the errno; `None` if it succeeded.
    pub fn errno(&self, request: &PeerRequest) -> anyhow::Result<Option<i32>> {
        match self.ask(request)? {
            PeerResponse::Done => Ok(None),
            PeerResponse::Refused { errno, .. } => Ok(Some(errno)),
            other => Err(unexpected(request, &other)),
        }
    }

    /// Returns the counters of the card in software.
    pub fn counters(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let request = PeerRequest::Card(CardRequest::Counters);
        match self.ask(&request)? {
            PeerResponse::Counters(counters) => Ok(counters),
            other => Err(unexpected(&request, &other)),
        }
    }

    /// Asks the card in software.
    pub fn card(&self, request: CardRequest) -> anyhow::Result<()> {
        self.done(&PeerRequest::Card(request))
    }
}

fn unexpected(request: &PeerRequest, response: &PeerResponse) -> anyhow::Error {
    anyhow::anyhow!("the peer answers {request:?} by {response:?}")
}
