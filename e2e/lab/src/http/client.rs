//! Sends requests from a namespace.

use std::{io, net::SocketAddr, time::Duration};

use ureq::http::Request;

use crate::{LabError, Namespace};

/// Larger than any list of objects that a test reads.
const BODY_LIMIT: u64 = 1 << 30;

/// A request to be sent.
#[derive(Clone, Copy, Debug)]
pub struct HttpRequest<'a> {
    /// The method, such as `GET`.
    pub method: &'static str,
    /// The path with the query.
    pub path: &'a str,
    /// Content type and body.
    pub body: Option<(&'static str, &'a str)>,
}

/// A server's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpReply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl<'a> HttpRequest<'a> {
    /// `GET` for a path.
    pub fn get(path: &'a str) -> Self {
        Self {
            method: "GET",
            path,
            body: None,
        }
    }

    /// Sends the request from a namespace. A reply is returned whatever its status code.
    pub fn send(&self, from: &Namespace, to: SocketAddr, timeout: Duration) -> Result<HttpReply, LabError> {
        from.run(|| self.request(to, &agent(timeout, 0)))?
            .map_err(from.socket_failed(format!("{} http://{to}{}", self.method, self.path)))
    }

    fn request(&self, to: SocketAddr, agent: &ureq::Agent) -> io::Result<HttpReply> {
        let request = Request::builder()
            .method(self.method)
            .uri(format!("http://{to}{}", self.path));
        let reply = match self.body {
            None => agent.run(request.body(()).map_err(io::Error::other)?),
            Some((content_type, body)) => {
                let request = request.header("Content-Type", content_type);
                agent.run(request.body(body).map_err(io::Error::other)?)
            }
        };
        let mut reply = reply.map_err(ureq::Error::into_io)?;
        let body = reply.body_mut().with_config().limit(BODY_LIMIT).read_to_string();
        Ok(HttpReply {
            status: reply.status().as_u16(),
            body: body.map_err(ureq::Error::into_io)?,
        })
    }
}

/// A connection for many requests, one after the other. It is opened in the namespace of the thread that
/// sends the first one.
#[derive(Debug)]
pub struct HttpSession {
    to: SocketAddr,
    agent: ureq::Agent,
}

impl HttpSession {
    /// Prepares a connection, with a limit for each request.
    pub fn new(to: SocketAddr, timeout: Duration) -> Self {
        Self {
            to,
            agent: agent(timeout, 1),
        }
    }

    /// Sends a request. A reply is returned whatever its status code.
    pub fn send(&self, request: &HttpRequest<'_>) -> io::Result<HttpReply> {
        request.request(self.to, &self.agent)
    }
}

/// Keeps this many connections for more requests. Ignores the proxy of the environment.
fn agent(timeout: Duration, connections: usize) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(connections)
        .proxy(None)
        .build()
        .into()
}
