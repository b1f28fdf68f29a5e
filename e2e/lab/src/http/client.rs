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
        from.run(|| self.request(to, timeout))?
            .map_err(from.socket_failed(format!("{} http://{to}{}", self.method, self.path)))
    }

    fn request(&self, to: SocketAddr, timeout: Duration) -> io::Result<HttpReply> {
        let request = Request::builder()
            .method(self.method)
            .uri(format!("http://{to}{}", self.path));
        let agent = agent(timeout);
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

/// One connection for one request, without the proxy of the environment.
fn agent(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .proxy(None)
        .build()
        .into()
}
