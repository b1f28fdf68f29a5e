//! How a second process on the node learns what the agent knows: a Unix socket with an abstract name, because the agent's
//! file system is read-only and a bpffs holds no files. It belongs to the network namespace, which is the host's, and both
//! sides make sure that the other one is root.

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

/// Both sides are programs on one machine.
const PATIENCE: Duration = Duration::from_secs(2);
/// A question is some hundred bytes.
const LONGEST_QUESTION: u64 = 4096;
/// An answer has a line for each rule of a pod.
const LONGEST_ANSWER: u64 = 64 << 20;

/// Answers until the process ends. Without it, only `explain` knows less.
pub(crate) fn serve(pin_dir: &Path, known: Arc<ProgrammedRules>) {
    let listener = match address(pin_dir).and_then(|address| UnixListener::bind_addr(&address)) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "`xdp-agent explain` will not know the rules"),
    };
    let accept = move || {
        for stream in listener.incoming().flatten() {
            // Who goes away in mid-sentence asks again.
            let _ = answer(stream, &known);
        }
    };
    if let Err(error) = thread::Builder::new().name("explain".to_owned()).spawn(accept) {
        warn!(%error, "`xdp-agent explain` will not know the rules");
    }
}

/// Asks the running agent; the inner `None`: the destination is nobody's there.
pub(super) fn rows(pin_dir: &Path, packet: &ProbePacket) -> io::Result<Option<Vec<RuleMatch>>> {
    let mut stream = UnixStream::connect_addr(&address(pin_dir)?)?;
    check(&stream)?;
    let mut question = serde_json::to_vec(packet)?;
    question.push(b'\n');
    stream.write_all(&question)?;
    Ok(serde_json::from_reader(BufReader::new(
        stream.take(LONGEST_ANSWER),
    ))?)
}

fn answer(mut stream: UnixStream, known: &ProgrammedRules) -> io::Result<()> {
    check(&stream)?;
    let mut question = String::new();
    BufReader::new((&stream).take(LONGEST_QUESTION)).read_line(&mut question)?;
    let packet: ProbePacket = serde_json::from_str(&question)?;
    stream.write_all(&serde_json::to_vec(&known.rows(&packet))?)
}

fn address(pin_dir: &Path) -> io::Result<SocketAddr> {
    let mut name = b"xdp-agent:".to_vec();
    name.extend(pin_dir.as_os_str().as_bytes());
    SocketAddr::from_abstract_name(name)
}

/// Anybody can take an abstract name, and ask.
fn check(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let other = getsockopt(stream, PeerCredentials)?;
    if other.uid() == getuid().as_raw() {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("the other side runs as user {}", other.uid()),
        ))
    }
}
