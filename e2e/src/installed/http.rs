//! HTTP from any namespace of the lab.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Context as _;
use xdp_lab::Namespace;

/// For each connection, and for each read of a try.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// What came with it.
    pub body: String,
}

/// GET a path, twice if nobody answers. HTTP 1.0: the answer ends with the connection.
pub fn http_get(from: &Namespace, server: SocketAddr, path: &str) -> anyhow::Result<Reply> {
    let get = || http_get_within(from, server, path, PATIENCE);
    get().or_else(|_| get())
}

/// The same once, for what may not answer at all.
pub fn http_get_within(
    from: &Namespace,
    server: SocketAddr,
    path: &str,
    timeout: Duration,
) -> anyhow::Result<Reply> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {server}\r\nAccept: */*\r\n\r\n");
    talk(from, server, &request, timeout).with_context(|| format!("GET {path}"))
}

/// POST JSON to a path.
pub fn http_post(from: &Namespace, server: SocketAddr, path: &str, json: &str) -> anyhow::Result<Reply> {
    send(from, server, ("POST", "application/json"), path, json)
}

/// PATCH what is at a path with a JSON merge patch (RFC 7396).
pub fn http_patch(from: &Namespace, server: SocketAddr, path: &str, json: &str) -> anyhow::Result<Reply> {
    send(
        from,
        server,
        ("PATCH", "application/merge-patch+json"),
        path,
        json,
    )
}

fn send(
    from: &Namespace,
    server: SocketAddr,
    (method, kind): (&str, &str),
    path: &str,
    body: &str,
) -> anyhow::Result<Reply> {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {server}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    talk(from, server, &request, PATIENCE).with_context(|| format!("{method} {path}"))
}

fn talk(from: &Namespace, server: SocketAddr, request: &str, timeout: Duration) -> anyhow::Result<Reply> {
    let what = || format!("HTTP from {} to {server}", from.name());
    let mut stream = from
        .run(|| TcpStream::connect_timeout(&server, timeout))?
        .with_context(what)?;
    let mut answer = Vec::new();
    let mut talk = || {
        stream.set_read_timeout(Some(timeout))?;
        stream.write_all(request.as_bytes())?;
        stream.read_to_end(&mut answer)
    };
    talk().with_context(what)?;
    parse(&String::from_utf8_lossy(&answer)).with_context(|| format!("{}: not an answer", what()))
}

fn parse(text: &str) -> Option<Reply> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some(Reply {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let reply = parse("HTTP/1.1 404 Not Found\r\nA: b\r\n\r\nbody\r\n\r\nmore").unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (404, "body\r\n\r\nmore"));
        assert!(parse("SSH-2.0-OpenSSH\r\n\r\n").is_none());
    }
}
