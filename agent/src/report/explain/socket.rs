//! The socket over which `xdp-agent explain` queries the running agent.
//!
//! It is a Unix socket with an abstract name, because the agent's file system is read-only and a bpffs holds
//! no sockets. The name belongs to the host's network namespace. Both sides check that the other one runs as
//! root.

use std::{
    io::{
        BufRead as _, BufReader, Read as _, Write as _, {self},
    },
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixListener, UnixStream},
        },
    },
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::getuid,
};
use tracing::warn;

use crate::report::explain::{
    packet::ProbePacket,
    rules::{ProgrammedRules, RuleMatch},
};

/// Both sides run on one machine.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A request has some hundred bytes.
const MAX_REQUEST: u64 = 4096;
/// A response has an entry for each rule of a pod.
const MAX_RESPONSE: u64 = 64 << 20;

/// Starts to serve requests. If that fails, only `explain` lacks the earlier rules.
pub(crate) fn serve(pin_dir: &Path, known: Arc<ProgrammedRules>) {
    let listener = match address(pin_dir).and_then(|address| UnixListener::bind_addr(&address)) {
        Ok(listener) => listener,
        Err(error) => {
            return warn!(%error, "cannot serve `xdp-agent explain`, it will not show earlier rules");
        }
    };
    let accept = move || {
        for stream in listener.incoming().flatten() {
            // Ignore clients that disconnect.
            let _ = answer(stream, &known);
        }
    };
    if let Err(error) = thread::Builder::new().name("explain".to_owned()).spawn(accept) {
        warn!(%error, "cannot serve `xdp-agent explain`, it will not show earlier rules");
    }
}

/// Queries the running agent. Returns `None` if the destination is no target pod.
pub(super) fn rows(pin_dir: &Path, packet: &ProbePacket) -> io::Result<Option<Vec<RuleMatch>>> {
    let mut stream = UnixStream::connect_addr(&address(pin_dir)?)?;
    check(&stream)?;
    let mut request = serde_json::to_vec(packet)?;
    request.push(b'\n');
    stream.write_all(&request)?;
    Ok(serde_json::from_reader(BufReader::new(
        stream.take(MAX_RESPONSE),
    ))?)
}

fn answer(mut stream: UnixStream, known: &ProgrammedRules) -> io::Result<()> {
    check(&stream)?;
    let mut request = String::new();
    BufReader::new((&stream).take(MAX_REQUEST)).read_line(&mut request)?;
    let packet: ProbePacket = serde_json::from_str(&request)?;
    stream.write_all(&serde_json::to_vec(&known.rows(&packet))?)
}

fn address(pin_dir: &Path) -> io::Result<SocketAddr> {
    let mut name = b"xdp-agent:".to_vec();
    name.extend(pin_dir.as_os_str().as_bytes());
    SocketAddr::from_abstract_name(name)
}

/// Checks that the other side runs as this user: any process can bind or connect to an abstract name.
fn check(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let other = getsockopt(stream, PeerCredentials)?;
    if other.uid() == getuid().as_raw() {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("the other side runs as uid {}", other.uid()),
        ))
    }
}
