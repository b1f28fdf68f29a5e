//! Requests that an echo server in a pod answers.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use xdp_lab::{EchoConnection, EchoServer, LabPod, Namespace, UdpClient};

use crate::{
    instruments::{CPU, on_cpu},
    stats::Samples,
};

const PORT: u16 = 7000;
const SIZE: usize = 64;
/// The number that the server appends to a reply.
const NUMBER: usize = 4;
/// The limit for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The protocol of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// Starts the server in a pod. Servers run on one CPU and clients on the other: otherwise the scheduler's
/// choice would be half of the measured time.
pub(super) fn serve(pod: &LabPod) -> Result<EchoServer> {
    let at = SocketAddr::new(pod.v4(), PORT);
    Ok(on_cpu(0, || EchoServer::start(&pod.ns, at))??)
}

/// Returns the microseconds from each request to its answer. Each request waits for the answer to the one
/// before.
pub(super) fn request(
    from: &Namespace,
    pod: &LabPod,
    transport: Transport,
    requests: u32,
) -> Result<Samples> {
    let to = SocketAddr::new(pod.v4(), PORT);
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    match transport {
        Transport::Tcp => {
            let mut connection = EchoConnection::open(from, any, to, PATIENCE)?.context("connect")?;
            timed(requests, || connection.echo(SIZE))
        }
        Transport::Udp => {
            let mut client = UdpClient::bind(from, any, PATIENCE)?;
            timed(requests, || client.request(to, SIZE, SIZE - NUMBER).map(drop))
        }
    }
}

fn timed(requests: u32, once: impl FnMut() -> std::io::Result<()> + Send) -> Result<Samples> {
    on_cpu(CPU, || run(requests, once))?
}

fn run(requests: u32, mut once: impl FnMut() -> std::io::Result<()>) -> Result<Samples> {
    // Warms up neighbour entries, routes and windows.
    for _ in 0..20 {
        once()?;
    }
    let mut took = Samples::default();
    for _ in 0..requests {
        let start = Instant::now();
        once().context("no response")?;
        took.0.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(took)
}
