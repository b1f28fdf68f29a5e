//! Servers that answer, and clients that wait for the answer.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use xdp_lab::{Namespace, Pod};

use crate::{
    instruments::{CPU, on_cpu},
    stats::Samples,
    sys,
};

const PORT: u16 = 7000;
const SIZE: usize = 64;
/// How often servers look whether they are done.
const MOMENT: Duration = Duration::from_millis(200);
/// Nobody waits that long for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// Servers of both protocols in a pod, until it is dropped.
pub(super) struct Echo {
    done: Arc<AtomicBool>,
    servers: Vec<JoinHandle<()>>,
}

impl Echo {
    pub(super) fn start(pod: &Pod) -> Result<Self> {
        let at = SocketAddr::new(pod.v4(), PORT);
        let (tcp, udp) = pod
            .ns
            .run(|| Ok::<_, std::io::Error>((TcpListener::bind(at)?, UdpSocket::bind(at)?)))??;
        tcp.set_nonblocking(true)?;
        udp.set_read_timeout(Some(MOMENT))?;
        let done = Arc::new(AtomicBool::new(false));
        let (of_tcp, of_udp) = (Arc::clone(&done), Arc::clone(&done));
        let servers = vec![
            thread::spawn(move || pinned(|| serve_tcp(&tcp, &of_tcp))),
            thread::spawn(move || pinned(|| serve_udp(&udp, &of_udp))),
        ];
        Ok(Self { done, servers })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        for server in self.servers.drain(..) {
            // One that panicked has said so.
            let _ = server.join();
        }
    }
}

/// Servers on one CPU, clients on the other: otherwise the scheduler's choice would be half of the time measured.
fn pinned(serve: impl FnOnce()) {
    // Where it is refused, the scheduler chooses.
    let _ = sys::pin_to(0);
    serve();
}

/// Microseconds from each request to its answer, one after the other.
pub(super) fn request(from: &Namespace, pod: &Pod, transport: Transport, requests: u32) -> Result<Samples> {
    let to = SocketAddr::new(pod.v4(), PORT);
    let mut answer = [0; SIZE];
    match transport {
        Transport::Tcp => {
            let mut stream = from.run(|| TcpStream::connect(to))?.context("connect")?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            timed(requests, || {
                stream.write_all(&[1; SIZE])?;
                stream.read_exact(&mut answer)
            })
        }
        Transport::Udp => {
            let socket = from.run(|| {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.connect(to)?;
                Ok::<_, std::io::Error>(socket)
            })??;
            socket.set_read_timeout(Some(PATIENCE))?;
            timed(requests, || {
                socket.send(&[1; SIZE])?;
                socket.recv(&mut answer).map(drop)
            })
        }
    }
}

fn timed(requests: u32, once: impl FnMut() -> std::io::Result<()> + Send) -> Result<Samples> {
    on_cpu(CPU, || run(requests, once))?
}

fn run(requests: u32, mut once: impl FnMut() -> std::io::Result<()>) -> Result<Samples> {
    // Neighbours, routes and windows.
    for _ in 0..20 {
        once()?;
    }
    let mut took = Samples::default();
    for _ in 0..requests {
        let start = Instant::now();
        once().context("no answer")?;
        took.0.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(took)
}

fn serve_tcp(listener: &TcpListener, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => drop(answer(stream)),
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Until the client closes.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = [0; SIZE];
    loop {
        stream.read_exact(&mut request)?;
        stream.write_all(&request)?;
    }
}

fn serve_udp(socket: &UdpSocket, done: &AtomicBool) {
    let mut request = [0; SIZE];
    while !done.load(Ordering::Relaxed) {
        match socket.recv_from(&mut request) {
            Ok((size, from)) => drop(socket.send_to(&request[..size], from)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}
