//! `uninstall --wait`: uninstalls the node, and reports by its readiness that everything is removed.

use std::{
    io,
    net::SocketAddr,
    os::fd::AsFd as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use xdp_client::health::Probes;

use crate::{
    datapath::OpenError,
    report::{output, serve},
    uninstall::{UninstallReport, uninstall},
};

/// Time between two attempts. An agent that ends, or that starts again, is noticed in the next one.
const PAUSE: Duration = Duration::from_secs(1);

/// Removes everything, and repeats that until SIGTERM or SIGINT.
pub(crate) fn wait(pin_dir: &Path, listen: Option<SocketAddr>) -> anyhow::Result<()> {
    let stop = ShutdownSignal::new().context("cannot wait for signals")?;
    let remains = Arc::new(Remains::default());
    if let Some(listen) = listen {
        serve::probes(listen, Arc::clone(&remains) as Arc<dyn Probes>)?;
    }
    let mut reported = String::new();
    loop {
        let result = uninstall(pin_dir);
        let text = describe(&result);
        if text != reported {
            output::print(text.trim_end()).context("cannot write to standard output")?;
            reported = text;
        }
        remains.set(what_remains(&result));
        if stop.within(PAUSE).context("cannot wait for signals")? {
            return Ok(());
        }
    }
}

fn describe(result: &Result<UninstallReport, OpenError>) -> String {
    match result {
        Ok(report) => report.to_string(),
        Err(OpenError::NotInstalled { .. }) => "nothing left to remove".to_owned(),
        Err(_) => what_remains(result).join("\n"),
    }
}

/// Lists what could not be removed. Where nothing is installed, nothing remains.
fn what_remains(result: &Result<UninstallReport, OpenError>) -> Vec<String> {
    match result {
        Ok(report) => report.remains(),
        Err(OpenError::NotInstalled { .. }) => Vec::new(),
        Err(error) => {
            let source = std::error::Error::source(error).map(|source| format!(": {source}"));
            vec![format!("not removed: {error}{}", source.unwrap_or_default())]
        }
    }
}

/// What the last attempt could not remove, for the probes. `None` until the first attempt has ended.
#[derive(Debug, Default)]
struct Remains(Mutex<Option<Vec<String>>>);

impl Remains {
    fn set(&self, remains: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(remains);
    }
}

impl Probes for Remains {
    fn live(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        let remains = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match remains.as_deref() {
            Some([]) => Ok(()),
            Some(remains) => Err(remains.join("\n")),
            None => Err("the first attempt is in progress".to_owned()),
        }
    }
}

/// Waits for SIGTERM and SIGINT.
struct ShutdownSignal(SignalFd);

impl ShutdownSignal {
    /// Blocks both signals for this thread and for the threads that it starts from now on.
    fn new() -> io::Result<Self> {
        let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
        signals.thread_block()?;
        Ok(Self(SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?))
    }

    /// Returns whether a signal arrives within this time.
    fn within(&self, time: Duration) -> io::Result<bool> {
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn ready(result: &Result<UninstallReport, OpenError>) -> Result<(), String> {
        let remains = Remains::default();
        remains.set(what_remains(result));
        remains.ready()
    }

    #[test]
    fn before_the_first_attempt_has_ended_it_is_not_ready() {
        assert!(Remains::default().ready().is_err());
    }

    #[test]
    fn it_is_ready_when_nothing_is_left_or_nothing_was_installed() {
        assert_eq!(ready(&Ok(UninstallReport::default())), Ok(()));
        let path = PathBuf::from("/sys/fs/bpf/x");
        assert_eq!(ready(&Err(OpenError::NotInstalled { path })), Ok(()));
    }

    #[test]
    fn remaining_pins_and_pods_are_named() {
        let mut report = UninstallReport::default();
        let pin = PathBuf::from("/sys/fs/bpf/x/abi-1");
        report.removed.failures.push((pin, "device busy".to_owned()));
        report.left.push("GRO of `eth0`".to_owned());
        let text = ready(&Ok(report)).unwrap_err();
        assert_eq!(
            text,
            "not removed: `/sys/fs/bpf/x/abi-1`: device busy\nnot restored: GRO of `eth0`"
        );
    }

    #[test]
    fn a_running_agent_is_reported_as_not_removed() {
        let path = PathBuf::from("/sys/fs/bpf/x");
        let text = ready(&Err(OpenError::Running { path })).unwrap_err();
        assert!(text.contains("another agent works in `/sys/fs/bpf/x`"), "{text}");
    }
}
