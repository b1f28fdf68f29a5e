//! The command line: where to serve what, and which clients may read it.

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgAction, Args};

/// Where to serve probes and metrics. The flags have the names of controller-runtime's projects.
#[derive(Clone, Debug, Args)]
pub struct ListenArgs {
    /// Address and port for /healthz and /readyz. By default, they are not served.
    #[arg(long, value_name = "ADDR:PORT")]
    pub health_probe_bind_address: Option<SocketAddr>,
    /// Address and port for /metrics. By default, they are not served.
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics_bind_address: Option<SocketAddr>,
    /// Serve metrics by HTTPS, to accounts that the API server permits to `get` /metrics. With false: by
    /// HTTP, to everyone. Without an API server: by HTTP, on a loopback address only.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub metrics_secure: bool,
    /// Directory with `tls.crt` and `tls.key` for metrics. They are reloaded when they change. By default,
    /// each start makes a self-signed certificate.
    #[arg(long, value_name = "DIR")]
    pub metrics_cert_dir: Option<PathBuf>,
}

/// Which clients may read metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsAccess {
    /// By HTTP, all that reach the address.
    Everyone,
    /// By HTTPS, those that the API server permits.
    Reviewed {
        /// Directory with the certificate and its key.
        certificates: Option<PathBuf>,
    },
}

/// Nothing can decide who may read the metrics.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "without an API server, no token can be reviewed, and everyone who reaches `{address}` could read the metrics; \
     use a loopback address with --metrics-bind-address, or permit it with --metrics-secure=false"
)]
pub struct AccessError {
    address: SocketAddr,
}

impl ListenArgs {
    /// Returns where metrics are served, and which clients may read them.
    pub fn metrics(&self, has_api_server: bool) -> Result<Option<(SocketAddr, MetricsAccess)>, AccessError> {
        let Some(address) = self.metrics_bind_address else {
            return Ok(None);
        };
        let access = if !self.metrics_secure {
            MetricsAccess::Everyone
        } else if has_api_server {
            let certificates = self.metrics_cert_dir.clone();
            MetricsAccess::Reviewed { certificates }
        } else if address.ip().to_canonical().is_loopback() {
            MetricsAccess::Everyone
        } else {
            return Err(AccessError { address });
        };
        Ok(Some((address, access)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        listen: ListenArgs,
    }

    fn metrics(arguments: &[&str], has_api_server: bool) -> Result<Option<MetricsAccess>, AccessError> {
        let listen = Cli::parse_from([&["test"], arguments].concat()).listen;
        Ok(listen.metrics(has_api_server)?.map(|(_, access)| access))
    }

    #[test]
    fn metrics_are_reviewed_unless_the_administrator_opens_them() {
        let address = "--metrics-bind-address=0.0.0.0:9465";
        let reviewed = |certificates| Ok(Some(MetricsAccess::Reviewed { certificates }));
        assert_eq!(metrics(&[], true), Ok(None));
        assert_eq!(metrics(&[address], true), reviewed(None));
        let directory = Some(PathBuf::from("/tls"));
        assert_eq!(
            metrics(&[address, "--metrics-cert-dir=/tls"], true),
            reviewed(directory)
        );
        let open = [address, "--metrics-secure=false"];
        for has_api_server in [true, false] {
            assert_eq!(metrics(&open, has_api_server), Ok(Some(MetricsAccess::Everyone)));
        }
    }

    #[test]
    fn without_an_api_server_metrics_stay_on_the_machine() {
        for local in ["127.0.0.1:9465", "[::1]:9465", "[::ffff:127.0.0.1]:9465"] {
            let access = metrics(&["--metrics-bind-address", local], false);
            assert_eq!(access, Ok(Some(MetricsAccess::Everyone)), "{local}");
        }
        let error = metrics(&["--metrics-bind-address=0.0.0.0:9465"], false).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`0.0.0.0:9465`") && text.contains("--metrics-secure=false"),
            "{text}"
        );
    }
}
