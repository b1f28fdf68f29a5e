//! The set-up of a process: its log, its signals and its exit code.

use std::{error::Error, future::pending, io, process::ExitCode};

use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};
use tracing::error;
use tracing_subscriber::EnvFilter;

use crate::error_chain;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Starts logging to standard error. `RUST_LOG` sets the level; the default is `info`.
    pub fn init(self) {
        let filter = filter(&std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default());
        let log = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::builder().parse_lossy(filter))
            .with_writer(io::stderr)
            .with_target(false);
        match self {
            Self::Text => log.init(),
            Self::Json => log.json().flatten_event(true).init(),
        }
    }
}

/// `kube_client` logs each failed request as an error. The caller knows what a failure means, and reports it.
fn filter(env: &str) -> String {
    if env.contains("kube_client") {
        return env.to_owned();
    }
    let level = if env.is_empty() { "info" } else { env };
    format!("{level},kube_client=off")
}

/// Waits for SIGTERM or SIGINT.
pub async fn shutdown_signal() {
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(error) => {
                error!(%error, "cannot receive signals");
                pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::interrupt()) => {}
    }
}

/// Returns the exit code for a result. Prints an error with its causes to standard error.
#[expect(clippy::print_stderr, reason = "the error of a command line")]
pub fn exit_code<E: Into<Box<dyn Error + Send + Sync>>>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error_line(&*error.into()));
            ExitCode::FAILURE
        }
    }
}

fn error_line(error: &(dyn Error + 'static)) -> String {
    format!("error: {}", error_chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_kube_is_off_unless_the_environment_names_it() {
        assert_eq!(filter(""), "info,kube_client=off");
        assert_eq!(filter("debug"), "debug,kube_client=off");
        assert_eq!(filter("info,kube_client=debug"), "info,kube_client=debug");
    }

    #[test]
    fn an_error_is_one_line_with_one_prefix() {
        let error = io::Error::other("cannot listen");
        assert_eq!(error_line(&error), "error: cannot listen");
        assert_eq!(exit_code(Ok::<(), io::Error>(())), ExitCode::SUCCESS);
        assert_eq!(exit_code(Err(error)), ExitCode::FAILURE);
    }
}
