//! HTTP requests to the components of a cluster.

use std::{net::SocketAddr, time::Duration};

pub use xdp_lab::HttpReply;
use xdp_lab::{HttpRequest, Namespace};

/// The limit for one request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends `GET` for a path, and once more if that fails.
pub fn http_get(from: &Namespace, server: SocketAddr, path: &str) -> anyhow::Result<HttpReply> {
    let get = || http_get_within(from, server, path, PATIENCE);
    get().or_else(|_| get())
}

/// Sends `GET` for a path once.
pub fn http_get_within(
    from: &Namespace,
    server: SocketAddr,
    path: &str,
    timeout: Duration,
) -> anyhow::Result<HttpReply> {
    Ok(HttpRequest::get(path).send(from, server, timeout)?)
}

/// Sends `POST` with JSON to a path.
pub fn http_post(from: &Namespace, server: SocketAddr, path: &str, json: &str) -> anyhow::Result<HttpReply> {
    let request = HttpRequest {
        method: "POST",
        path,
        body: Some(("application/json", json)),
    };
    Ok(request.send(from, server, PATIENCE)?)
}

/// Sends `PATCH` with a JSON merge patch (RFC 7396) for a path.
pub fn http_patch(from: &Namespace, server: SocketAddr, path: &str, json: &str) -> anyhow::Result<HttpReply> {
    let request = HttpRequest {
        method: "PATCH",
        path,
        body: Some(("application/merge-patch+json", json)),
    };
    Ok(request.send(from, server, PATIENCE)?)
}
