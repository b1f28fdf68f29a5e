//! Listens on an address, and answers there.

use std::{future::pending, io, net::SocketAddr, sync::Arc};

use axum::Router;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::serve::{
    ServerError,
    certificate::Certificate,
    listener::{BoundedListener, ListenerLimits},
};

/// Connections that the kernel holds until they are accepted. More than this, it does not hold by default
/// (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// A server that listens, and answers when it runs.
pub(super) struct Server {
    listener: TcpListener,
    pub(super) address: SocketAddr,
    limits: ListenerLimits,
    pub(super) tls: Option<(Arc<Certificate>, TlsAcceptor)>,
    router: Router,
}

impl Server {
    pub(super) fn bind(
        address: SocketAddr,
        what: &'static str,
        limits: ListenerLimits,
        router: Router,
    ) -> Result<Self, ServerError> {
        let flag = match what {
            "probes" => "--health-probe-bind-address",
            _ => "--metrics-bind-address",
        };
        let bind = || {
            let listener = listen(address)?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = bind().map_err(|source| ServerError::Listen {
            address,
            what,
            flag,
            source,
        })?;
        Ok(Self {
            listener,
            address,
            limits,
            tls: None,
            router,
        })
    }
}

pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A restarted process need not wait for the end of its predecessor's connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Answers requests. Returns only if there is nothing to serve.
pub(super) async fn run(server: Option<Server>) {
    let Some(server) = server else { return };
    let (certificate, tls) = server.tls.unzip();
    let follow = async {
        match certificate {
            Some(certificate) => certificate.follow().await,
            None => pending().await,
        }
    };
    let listener = BoundedListener::new(server.listener, server.limits, tls, server.router);
    tokio::join!(listener.run(), follow);
}

/// Raises the limit of open files as far as this process may: systemd starts processes with 1,024, which is
/// hardly more than the connections here can be.
pub(super) fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        debug!(%error, "cannot raise the limit of open files");
    }
}
