//! The other end of the wire: sends, captures, connects and answers, at the request of the acceptance.

mod sockets;
mod stream;

use std::{
    collections::BTreeMap,
    io::{BufRead, Write},
    net::{IpAddr, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;
use xdp_lab::{EchoServer, Namespace, RawSocket, UdpSender, wait_until};

use self::stream::Stream;
use super::{
    frames::source,
    protocol::{CardRequest, HexFrame, PeerDescription, PeerRequest, PeerResponse, read_line, write_line},
};

/// The limit for anything that succeeds.
const PATIENCE: Duration = Duration::from_mins(1);

/// The faults and counters of a card in software.
pub trait CardControl {
    /// Carries out a request. Counters are the answer to [`CardRequest::Counters`].
    fn request(&mut self, request: &CardRequest) -> anyhow::Result<BTreeMap<String, u64>>;
}

/// The other end of the wire.
pub struct PeerServer<'a> {
    namespace: Namespace,
    interface: String,
    card: Option<&'a mut dyn CardControl>,
    capture: Option<RawSocket>,
    stream: Option<Stream>,
    servers: Vec<EchoServer>,
    /// Called with each outcome.
    checked: Box<dyn FnMut(&Value) + 'a>,
}

impl<'a> PeerServer<'a> {
    /// Describes the peer at an interface of a namespace.
    pub fn new(namespace: &Namespace, interface: &str) -> Self {
        Self {
            namespace: namespace.clone(),
            interface: interface.to_owned(),
            card: None,
            capture: None,
            stream: None,
            servers: Vec::new(),
            checked: Box::new(|_| ()),
        }
    }

    /// Adds the faults of a card in software.
    #[must_use]
    pub fn card(self, card: &'a mut dyn CardControl) -> Self {
        let card = Some(card);
        Self { card, ..self }
    }

    /// Sets a function that is called with each outcome.
    #[must_use]
    pub fn on_check(self, checked: impl FnMut(&Value) + 'a) -> Self {
        let checked = Box::new(checked);
        Self { checked, ..self }
    }

    /// Answers requests until the report, which is returned, or the end of the stream.
    pub fn serve(mut self, from: &mut impl BufRead, to: &mut impl Write) -> anyhow::Result<Option<Value>> {
        loop {
            let Some(request) = read_line(from).context("cannot read a request")? else {
                return Ok(None);
            };
            let is_last = matches!(request, PeerRequest::Report(_));
            let response = self.answer(&request);
            let response = response.unwrap_or_else(|error| PeerResponse::Failed(format!("{error:#}")));
            write_line(to, &response).context("cannot answer a request")?;
            if let (true, PeerRequest::Report(report)) = (is_last, request) {
                return Ok(Some(report));
            }
        }
    }

    fn answer(&mut self, request: &PeerRequest) -> anyhow::Result<PeerResponse> {
        match request {
            PeerRequest::Describe => return self.describe().map(PeerResponse::Peer),
            PeerRequest::Configure { addresses, routes } => self.configure(addresses, routes)?,
            PeerRequest::SetMtu(mtu) => self.namespace.set_mtu(&self.interface, *mtu)?,
            PeerRequest::Send { frames, gap_us } => self.send(frames, Duration::from_micros(*gap_us))?,
            PeerRequest::Capture(on) => {
                let open = || RawSocket::receiver(&self.namespace, &self.interface);
                self.capture = on.then(open).transpose()?;
            }
            PeerRequest::Take {
                from,
                at_least,
                limit_ms,
            } => {
                return Ok(PeerResponse::Frames(self.take(*from, *at_least, *limit_ms)?));
            }
            PeerRequest::Datagrams {
                to,
                packets,
                payload,
                per_second,
            } => {
                let mut sender = UdpSender::new(&self.namespace, *to)?.payload(*payload);
                sender.send_paced(*packets, *per_second)?;
                return Ok(PeerResponse::Sent {
                    stream: sender.stream(),
                    packets: sender.sent(),
                });
            }
            PeerRequest::Stream { to, per_second } => {
                self.stream = Some(Stream::start(&self.namespace, *to, *per_second)?);
            }
            PeerRequest::Stop => {
                let (stream, packets) = self.stream.take().context("there is no stream")?.end();
                return Ok(PeerResponse::Sent { stream, packets });
            }
            PeerRequest::Serve { address } => {
                self.servers.retain(|server| server.address() != *address);
                self.servers.push(EchoServer::start(&self.namespace, *address)?);
            }
            PeerRequest::SetLink(up) => self.set_link(*up)?,
            PeerRequest::Card(request) => return self.request(request),
            PeerRequest::Checked(check) => (self.checked)(check),
            PeerRequest::Report(_) => {}
            other => return sockets::answer(&self.namespace, other),
        }
        Ok(PeerResponse::Done)
    }

    fn describe(&self) -> anyhow::Result<PeerDescription> {
        let found = self.namespace.interface(&self.interface)?;
        Ok(PeerDescription {
            interface: self.interface.clone(),
            mac: found.mac,
            mtu: found.mtu,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            card: self.card.is_some(),
        })
    }

    fn configure(&self, addresses: &[(IpAddr, u8)], routes: &[(IpAddr, IpAddr)]) -> anyhow::Result<()> {
        let (namespace, interface) = (&self.namespace, self.interface.as_str());
        namespace.set_up(interface, true)?;
        // Sent frames have complete checksums, as from a real wire. Not every driver can switch it off, and
        // real NICs need not.
        let _ = namespace.set_tx_checksum_offload(interface, false);
        for (ip, length) in addresses {
            namespace.add_address(interface, *ip, *length)?;
        }
        routes
            .iter()
            .try_for_each(|(to, via)| namespace.add_route(*to, *via, interface))?;
        Ok(())
    }

    fn send(&self, frames: &[HexFrame], gap: Duration) -> anyhow::Result<()> {
        let socket = RawSocket::sender(&self.namespace, &self.interface)?;
        for frame in frames {
            socket.send(&frame.0)?;
            if !gap.is_zero() {
                thread::sleep(gap);
            }
        }
        Ok(())
    }

    fn take(&self, from: IpAddr, at_least: usize, limit_ms: u64) -> anyhow::Result<Vec<HexFrame>> {
        let capture = self.capture.as_ref().context("nothing is captured")?;
        let mut frames = Vec::new();
        // The caller judges how many there are.
        let _ = wait_until("frames arrive", Duration::from_millis(limit_ms), || {
            let arrived = capture.arrived().into_iter();
            frames.extend(arrived.filter(|frame| source(frame) == Some(from)).map(HexFrame));
            frames.len() >= at_least
        });
        Ok(frames)
    }

    fn set_link(&mut self, up: bool) -> anyhow::Result<()> {
        match &mut self.card {
            Some(card) => card.request(&CardRequest::SetLink(up)).map(drop),
            // The other end of a cable, and of a veth pair, loses its carrier.
            None => Ok(self.namespace.set_up(&self.interface, up)?),
        }
    }

    fn request(&mut self, request: &CardRequest) -> anyhow::Result<PeerResponse> {
        let Some(card) = &mut self.card else {
            return Ok(PeerResponse::NotAvailable);
        };
        let counters = card.request(request)?;
        Ok(match request {
            CardRequest::Counters => PeerResponse::Counters(counters),
            _ => PeerResponse::Done,
        })
    }
}

/// The unspecified address of the same family.
fn any(to: SocketAddr) -> SocketAddr {
    let ip: IpAddr = if to.is_ipv4() {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    SocketAddr::new(ip, 0)
}
