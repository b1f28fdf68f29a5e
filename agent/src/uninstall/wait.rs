//! `uninstall --wait`: a pod that cleans its node, and says by its readiness that it has.

use std::{
    io::{
        Write as _, {self},
    },
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

use crate::{
    datapath::OpenError,
    report::serve::{
        Probes, {self},
    },
    uninstall::{UninstallReport, uninstall},
};

/// Between two looks: an agent that ends, or starts after all, is noticed by then.
const PAUSE: Duration = Duration::from_secs(1);

/// Removes everything, again and again if need be, until SIGTERM or SIGINT.
pub(crate) fn wait(pin_dir: &Path, listen: Option<SocketAddr>) -> anyhow::Result<()> {
    let stop = Stop::new().context("signals cannot be awaited")?;
    let remains = Arc::new(Remains::default());
    if let Some(listen) = listen {
        serve::probes(listen, Arc::clone(&remains) as Arc<dyn Probes>)?;
    }
    let mut told = String::new();
    loop {
        let result = uninstall(pin_dir);
        let text = describe(&result);
        if text != told {
            writeln!(io::stdout(), "{}", text.trim_end()).context("the report cannot be printed")?;
            told = text;
        }
        remains.set(what_remains(&result));
        if stop.within(PAUSE).context("signals cannot be awaited")? {
            return Ok(());
        }
    }
}

fn describe(result: &Result<UninstallReport, OpenError>) -> String {
    match result {
        Ok(report) => report.to_string(),
        Err(OpenError::NotInstalled { .. }) => "nothing is left".to_owned(),
        Err(_) => what_remains(result).join("\n"),
    }
}

/// Nothing remains where nothing was installed.
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

/// For the probes: what the last try left. `None`: none is over yet.
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
            None => Err("the first try is under way".to_owned()),
        }
    }
}

/// SIGTERM and SIGINT, as something to wait for.
struct Stop(SignalFd);

impl Stop {
    /// Blocks both for this thread and those it starts from now on.
    fn new() -> io::Result<Self> {
        let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
        signals.thread_block()?;
        Ok(Self(SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?))
    }

    /// Whether one comes within this time.
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
    fn who_has_not_tried_yet_is_not_ready() {
        assert!(Remains::default().ready().is_err());
    }

    #[test]
    fn where_nothing_is_left_it_is_ready_also_if_nothing_was_there() {
        assert_eq!(ready(&Ok(UninstallReport::default())), Ok(()));
        let path = PathBuf::from("/sys/fs/bpf/x");
        assert_eq!(ready(&Err(OpenError::NotInstalled { path })), Ok(()));
    }

    #[test]
    fn what_is_left_is_named_pins_as_well_as_pods() {
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
    fn another_agent_at_work_is_something_left() {
        let path = PathBuf::from("/sys/fs/bpf/x");
        let text = ready(&Err(OpenError::Running { path })).unwrap_err();
        assert!(text.contains("another agent works in `/sys/fs/bpf/x`"), "{text}");
    }
}
