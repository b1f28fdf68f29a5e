//! Clients of the pods' servers.

use std::{
    io,
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{bail, ensure};
use xdp_lab::{EchoConnection, Namespace, UdpClient, http_get};

use super::{PATIENCE, PeerRequest, PeerResponse, any};

pub(super) fn answer(namespace: &Namespace, request: &PeerRequest) -> anyhow::Result<PeerResponse> {
    match request {
        PeerRequest::Http { to } => {
            let seen = http_get(namespace, *to, PATIENCE)?;
            Ok(PeerResponse::Page { mark: seen.mark })
        }
        PeerRequest::Echo { to, bytes } => {
            let mut connection = EchoConnection::open(namespace, any(*to), *to, PATIENCE)??;
            connection.echo(*bytes)?;
            ensure!(
                connection.finish()? == b"bye",
                "the server did not end the connection"
            );
            Ok(PeerResponse::Done)
        }
        PeerRequest::Download { to, bytes } => {
            let mut connection = EchoConnection::open(namespace, any(*to), *to, PATIENCE)??;
            connection.receive(*bytes)?;
            Ok(PeerResponse::Done)
        }
        PeerRequest::Request { to, request, reply } => {
            let mut client = UdpClient::bind(namespace, any(*to), PATIENCE)?;
            let answer = client.request(*to, *request, *reply)?;
            ensure!(answer.from == *to, "{} answers for {to}", answer.from);
            Ok(PeerResponse::Done)
        }
        PeerRequest::Connect { to, limit_ms } => {
            let limit = Duration::from_millis(*limit_ms);
            let result = namespace.run(|| TcpStream::connect_timeout(to, limit))?;
            Ok(refused(result))
        }
        PeerRequest::Provoke { to } => Ok(refused(namespace.run(|| provoke(*to))?)),
        other => bail!("an unexpected request: {other:?}"),
    }
}

fn refused<T>(result: io::Result<T>) -> PeerResponse {
    match result {
        Ok(_) => PeerResponse::Done,
        Err(error) => PeerResponse::Refused {
            errno: error.raw_os_error().unwrap_or(0),
            text: error.to_string(),
        },
    }
}

/// The kernel reports the ICMP error of a datagram at the next call.
fn provoke(to: SocketAddr) -> io::Result<usize> {
    let socket = UdpSocket::bind(any(to))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.connect(to)?;
    socket.send(b"request")?;
    socket.recv(&mut [0; 16])
}
