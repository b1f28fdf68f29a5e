//! What a machine has printed and reported so far.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How many of the last lines an error quotes.
const QUOTED: usize = 30;

/// Texts by which the kernel reports a fault of its own. Some come without `panic_on_warn` ending the
/// machine.
const FAULTS: [&str; 18] = [
    "WARNING:",
    "BUG:",
    "Oops",
    "Kernel panic",
    "cut here",
    "Call Trace:",
    "REG INVARIANTS",
    "verifier bug",
    "possible circular locking",
    "possible recursive locking",
    "rcu: INFO",
    "rcu_sched self-detected",
    "blocked for more than",
    "general protection fault",
    "UBSAN:",
    "KASAN:",
    "refcount_t:",
    "unregister_netdevice: waiting",
];

/// Returns whether a line of the console reports a fault of the kernel.
pub(super) fn is_warning(line: &str) -> bool {
    FAULTS.iter().any(|fault| line.contains(fault))
}

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The kernel, and `init`.
    Console,
    /// The command.
    Output,
    /// QEMU.
    Qemu,
}

/// What a machine has printed and reported, shared by the threads that read from it.
#[derive(Debug)]
pub(super) struct Journal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    started: Instant,
    log: Option<File>,
    recent: VecDeque<String>,
    output: Vec<String>,
    warnings: Vec<String>,
    last_progress: Instant,
    result: Option<String>,
    ended: bool,
}

/// Why [`Journal::wait_for_end`] returned.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// QEMU has ended.
    Ended,
    /// Nothing happened for longer than the limit.
    Silent,
    /// The machine runs for longer than the limit.
    TooLong,
}

impl Journal {
    /// Creates one, which copies everything to a log file if there is a path.
    pub(super) fn new(log: Option<&Path>) -> io::Result<Self> {
        let log = log.map(File::create).transpose()?;
        let now = Instant::now();
        let state = State {
            started: now,
            log,
            recent: VecDeque::new(),
            output: Vec::new(),
            warnings: Vec::new(),
            last_progress: now,
            result: None,
            ended: false,
        };
        Ok(Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    pub(super) fn line(&self, origin: Origin, line: &str) {
        let mut state = self.lock();
        let line = line.trim_end_matches(['\r', '\n']);
        let prefix = match origin {
            Origin::Console => "",
            Origin::Output => "| ",
            Origin::Qemu => "qemu: ",
        };
        let stamped = format!("{:8.2} {prefix}{line}", state.started.elapsed().as_secs_f64());
        if let Some(log) = &mut state.log {
            // A full disk shall not end the test.
            let _ = writeln!(log, "{stamped}");
        }
        match origin {
            Origin::Output => state.output.push(line.to_owned()),
            Origin::Console if is_warning(line) => state.warnings.push(line.to_owned()),
            Origin::Console | Origin::Qemu => {}
        }
        if state.recent.len() == QUOTED {
            state.recent.pop_front();
        }
        state.recent.push_back(stamped);
        self.progressed(state);
    }

    pub(super) fn progress(&self) {
        self.progressed(self.lock());
    }

    pub(super) fn result(&self, result: &str) {
        let mut state = self.lock();
        state.result = Some(result.to_owned());
        self.progressed(state);
    }

    /// Notes that QEMU has ended.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        self.progressed(state);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    pub(super) fn reported(&self) -> Option<String> {
        self.lock().result.clone()
    }

    pub(super) fn output(&self) -> Vec<String> {
        self.lock().output.clone()
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.lock().warnings.clone()
    }

    /// Returns the last lines, for an error.
    pub(super) fn tail(&self) -> String {
        Vec::from(self.lock().recent.clone()).join("\n")
    }

    /// Waits until QEMU has ended, as long as lines arrive.
    pub(super) fn wait_for_end(&self, silence: Duration, total: Duration) -> Waited {
        let mut state = self.lock();
        loop {
            if state.ended {
                return Waited::Ended;
            }
            let quiet = silence.saturating_sub(state.last_progress.elapsed());
            let left = total.saturating_sub(state.started.elapsed());
            if left.is_zero() {
                return Waited::TooLong;
            }
            if quiet.is_zero() {
                return Waited::Silent;
            }
            let waited = self.changed.wait_timeout(state, quiet.min(left));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn progressed(&self, mut state: MutexGuard<'_, State>) {
        state.last_progress = Instant::now();
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_of_the_kernel_is_recognized() {
        for line in [
            "[    9.1] WARNING: CPU: 1 PID: 88 at kernel/bpf/verifier.c:2668 reg_bounds_sanity_check+0x1ea/0x270",
            "[    9.1] verifier bug: REG INVARIANTS VIOLATION (true_reg1): range bounds violation u64=[0x5, 0x4]",
            "[    9.1] BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "[    9.1] Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI",
            "[    9.1] Kernel panic - not syncing: kernel: panic_on_warn set ...",
            "[    9.1] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[    9.1] INFO: task kworker/0:1:9 blocked for more than 120 seconds.",
            "[    9.1] WARNING: possible circular locking dependency detected",
        ] {
            assert!(is_warning(line), "{line}");
        }
    }

    #[test]
    fn what_a_driver_says_is_no_warning_of_the_kernel() {
        for line in [
            "[    2.0] mlx5_core 0000:01:00.0: mlx5_pci_vsc_init:53:(pid 80): Failed to get valid vendor specific ID",
            "[    2.0] mlx5_core 0000:01:00.0 eth0: Link down",
            "[    2.0] warning: `x' uses wireless extensions which will stop working for Wi-Fi 7 hardware",
        ] {
            assert!(!is_warning(line), "{line}");
        }
    }

    #[test]
    fn only_the_console_is_searched_for_warnings() {
        let journal = Journal::new(None).unwrap();
        journal.line(Origin::Output, "the test expects WARNING: CPU");
        journal.line(Origin::Console, "[ 1.0] all is well\r\n");
        assert!(journal.warnings().is_empty());
        journal.line(Origin::Console, "[ 1.0] WARNING: CPU: 0\r\n");
        assert_eq!(journal.warnings(), ["[ 1.0] WARNING: CPU: 0"]);
        assert_eq!(journal.output(), ["the test expects WARNING: CPU"]);
    }

    #[test]
    fn waiting_ends_by_silence_and_by_the_total() {
        let journal = Journal::new(None).unwrap();
        let (short, long) = (Duration::from_millis(1), Duration::from_mins(1));
        assert_eq!(journal.wait_for_end(short, long), Waited::Silent);
        assert_eq!(journal.wait_for_end(long, short), Waited::TooLong);
        journal.end();
        assert_eq!(journal.wait_for_end(short, short), Waited::Ended);
    }
}
