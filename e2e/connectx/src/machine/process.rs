//! The QEMU process. It ends with this process, however that ends.
#![expect(unsafe_code, reason = "work between fork and exec")]

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::{prctl, signal::Signal},
    unistd::{getpid, getppid},
};

use super::journal::{Journal, Origin};

/// A running QEMU and the threads that read what it prints.
#[derive(Debug)]
pub(super) struct Process {
    child: Arc<Mutex<Child>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts it in a network namespace, or in that of this process.
    ///
    /// The kernel kills a child when the *thread* that started it ends (`PR_SET_PDEATHSIG`), so the thread
    /// that reads the console starts it and lives as long as QEMU.
    pub(super) fn spawn(
        command: Command,
        namespace: Option<File>,
        journal: &Arc<Journal>,
    ) -> io::Result<Self> {
        let (sender, started) = mpsc::channel();
        let its_journal = Arc::clone(journal);
        let console = thread::Builder::new().name("console".into());
        let console = console.spawn(move || match start(command, namespace) {
            Ok(mut child) => {
                let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
                let child = Arc::new(Mutex::new(child));
                let _ = sender.send(Ok((Arc::clone(&child), stderr)));
                read_lines(stdout, |line| its_journal.line(Origin::Console, line));
                if let Ok(status) = child.lock().unwrap_or_else(PoisonError::into_inner).wait() {
                    its_journal.line(Origin::Qemu, &status.to_string());
                }
                its_journal.end();
            }
            Err(error) => drop(sender.send(Err(error))),
        })?;
        let started = started
            .recv()
            .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()));
        let (child, stderr) = started?;
        let journal = Arc::clone(journal);
        let errors = thread::spawn(move || read_lines(stderr, |line| journal.line(Origin::Qemu, line)));
        Ok(Self {
            child,
            readers: vec![console, errors],
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).id()
    }

    /// Adds a thread that ends with QEMU.
    pub(super) fn add_reader(&mut self, reader: JoinHandle<()>) {
        self.readers.push(reader);
    }

    /// Kills it, if it runs, and waits until all that it printed is read.
    pub(super) fn end(&mut self) {
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn start(mut command: Command, namespace: Option<File>) -> io::Result<Child> {
    let parent = getpid();
    let prepare = move || {
        if let Some(namespace) = &namespace {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
        }
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the line above.
        if getppid() == parent {
            Ok(())
        } else {
            Err(io::ErrorKind::NotConnected.into())
        }
    };
    // SAFETY: only system calls, no allocation and no lock.
    unsafe { command.pre_exec(prepare) };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Calls `line` for each line until the end. Bytes that are no text are replaced.
pub(super) fn read_lines(stream: Option<impl io::Read>, mut line: impl FnMut(&str)) {
    let Some(stream) = stream else { return };
    let (mut stream, mut bytes) = (BufReader::new(stream), Vec::new());
    while matches!(stream.read_until(b'\n', &mut bytes), Ok(1..)) {
        line(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']));
        bytes.clear();
    }
}
