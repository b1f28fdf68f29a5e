//! The socket over which `xdp-agent explain` queries the running agent.
//!
//! It is in a directory that only root can enter, so no other user can bind its name first or connect to it.
//! In the agent's pod, whose file system is read-only, the directory is a volume. A bpffs holds no sockets.
//! Both sides also check that the other one runs as the same user.

use std::{
    fs::{
        DirBuilder, File, Permissions, {self},
    },
    io::{
        BufRead as _, BufReader, Read as _, Write as _, {self},
    },
    os::unix::{
        fs::{
            DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
        },
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use nix::{
    fcntl::OFlag,
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::getuid,
};
use tracing::warn;

use crate::report::explain::{
    packet::ProbePacket,
    rules::{KnownRules, ProgrammedRules},
};

/// The directory of all agents' sockets. No other user can write in `/run`.
const DIRECTORY: &str = "/run/xdp-operator";
const PREFIX: &str = "explain-";
/// Both sides run on one machine.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A request has some hundred bytes.
const MAX_REQUEST: u64 = 4096;
/// A response has an entry for each rule of a pod.
const MAX_RESPONSE: u64 = 64 << 20;

/// The socket of a running agent. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct ExplainSocket(PathBuf);

impl Drop for ExplainSocket {
    fn drop(&mut self) {
        // The next agent removes what stays: see [`remove_abandoned`].
        let _ = fs::remove_file(&self.0);
        // Only if it is empty.
        let _ = fs::remove_dir(DIRECTORY);
    }
}

/// Starts to serve requests. If that fails, only `explain` lacks the earlier rules.
pub(crate) fn serve(pin_dir: &Path, known: Arc<ProgrammedRules>) -> Option<ExplainSocket> {
    let serve = || {
        make_private(Path::new(DIRECTORY))?;
        remove_abandoned(Path::new(DIRECTORY))?;
        let path = socket(pin_dir)?;
        start(&path, known)?;
        Ok(ExplainSocket(path))
    };
    let socket: io::Result<ExplainSocket> = serve();
    socket
        .inspect_err(
            |error| warn!(%error, "cannot serve `xdp-agent explain`, it will not show earlier rules"),
        )
        .ok()
}

/// Listens on a path, which this agent alone uses: it holds the lock of the pin directory.
fn start(path: &Path, known: Arc<ProgrammedRules>) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    let accept = move || {
        for stream in listener.incoming().flatten() {
            // Ignore clients that disconnect.
            let _ = answer(stream, &known);
        }
    };
    thread::Builder::new().name("explain".to_owned()).spawn(accept)?;
    Ok(())
}

/// Removes the sockets of agents that were killed: nothing listens there.
fn remove_abandoned(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !is_ours || !entry.file_type()?.is_socket() {
            continue;
        }
        let connected = UnixStream::connect(&path);
        if connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

/// Makes a directory that only this user can enter. An existing one must belong to this user.
fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path)?;
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let directory = File::options().read(true).custom_flags(flags.bits()).open(path)?;
    let owner = directory.metadata()?.uid();
    if owner != getuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("`{}` belongs to user {owner}; remove it", path.display()),
        ));
    }
    // A volume of Kubernetes is open to all.
    directory.set_permissions(Permissions::from_mode(0o700))
}

/// Returns the path of the socket of the agent that uses a pin directory.
fn socket(pin_dir: &Path) -> io::Result<PathBuf> {
    let found = fs::metadata(pin_dir)?;
    let name = format!("{PREFIX}{:x}-{:x}", found.dev(), found.ino());
    Ok(Path::new(DIRECTORY).join(name))
}

/// Queries the running agent. Returns `None` if the destination is no target pod.
pub(super) fn about(pin_dir: &Path, packet: &ProbePacket) -> io::Result<Option<KnownRules>> {
    let mut stream = UnixStream::connect(socket(pin_dir)?)?;
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
    stream.write_all(&serde_json::to_vec(&known.about(&packet))?)
}

/// Checks that the other side runs as this user, and bounds how long it may take.
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    #[test]
    fn sockets_on_which_nothing_listens_are_removed() {
        let base = std::env::temp_dir().join(format!("xdp-agent-sockets-{}", std::process::id()));
        fs::create_dir(&base).unwrap();
        let [dead, live, other] =
            ["explain-dead", "explain-live", "explain-file"].map(|name| base.join(name));
        fs::write(&other, "").unwrap();
        drop(UnixListener::bind(&dead).unwrap());
        let _listener = UnixListener::bind(&live).unwrap();
        remove_abandoned(&base).unwrap();
        assert!(!dead.exists() && live.exists() && other.exists());
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn the_directory_of_the_socket_is_closed_to_other_users() {
        let base = std::env::temp_dir().join(format!("xdp-agent-explain-{}", std::process::id()));
        let path = base.join("run");
        make_private(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&path), 0o700);
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        make_private(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        symlink(&path, base.join("link")).unwrap();
        assert!(make_private(&base.join("link")).is_err(), "a link");
        if getuid().is_root() {
            chown(&path, Some(65_534), None).unwrap();
            let error = make_private(&path).unwrap_err().to_string();
            assert!(error.contains("belongs to user 65534"), "{error}");
        }
        fs::remove_dir_all(&base).unwrap();
    }
}
