//! Processes inside the lab's namespaces. None outlives the lab.
#![expect(unsafe_code, reason = "work between fork and exec")]

use std::{
    fs::File,
    io::{
        Read, {self},
    },
    os::unix::process::CommandExt,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::{Pid, getpid, getppid},
};

use crate::{LabError, SyscallFilter, reap::MARK, wait_until};

type Job = Box<dyn FnOnce() + Send>;

/// The kernel kills a child when the *thread* that started it ends (`PR_SET_PDEATHSIG`), so one thread that
/// never ends starts all children.
static STARTER: LazyLock<Mutex<Sender<Job>>> = LazyLock::new(|| {
    let (sender, jobs) = channel::<Job>();
    thread::spawn(move || jobs.into_iter().for_each(|job| job()));
    Mutex::new(sender)
});

/// A process in a namespace of the lab. It is killed with the lab, even if the test process is killed.
#[derive(Debug)]
pub struct Process {
    child: Arc<Mutex<Child>>,
    program: String,
    /// Its standard input, if piped.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if piped.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if piped.
    pub stderr: Option<ChildStderr>,
}

/// The result of a process that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit status.
    pub status: ExitStatus,
    /// Standard output, if piped and not taken.
    pub stdout: String,
    /// Standard error, if piped and not taken.
    pub stderr: String,
}

/// The children of a lab, which ends them.
pub(crate) type Children = Mutex<Vec<Arc<Mutex<Child>>>>;

impl Process {
    pub(crate) fn spawn(
        mut command: Command,
        netns: File,
        lab: &str,
        children: &Children,
        filter: Option<&SyscallFilter>,
    ) -> Result<Self, LabError> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.env(MARK, lab);
        let parent = getpid();
        let entered = filter.cloned();
        let prepare = move || {
            setns(&netns, CloneFlags::CLONE_NEWNET)?;
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the line above.
            if getppid() != parent {
                return Err(io::ErrorKind::NotConnected.into());
            }
            entered.as_ref().map_or(Ok(()), SyscallFilter::enter)
        };
        // SAFETY: only system calls, no allocation and no lock.
        unsafe { command.pre_exec(prepare) };
        let failed = |action| {
            let program = program.clone();
            move |source| LabError::Process {
                action,
                program,
                source,
            }
        };
        let mut child = start(command).map_err(failed("start"))?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let child = Arc::new(Mutex::new(child));
        lock(children).push(Arc::clone(&child));
        if let Some(filter) = filter {
            let received = filter.receive_from(lock(&child).id());
            received.map_err(failed("receive the refused system calls of"))?;
        }
        Ok(Self {
            child,
            program,
            stdin,
            stdout,
            stderr,
        })
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        lock(&self.child).id()
    }

    /// Returns the exit status, if it has ended.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, LabError> {
        lock(&self.child)
            .try_wait()
            .map_err(|source| self.failed("wait for", source))
    }

    /// Waits until it ends by itself.
    pub fn wait(&self, timeout: Duration) -> Result<ExitStatus, LabError> {
        let mut status = Ok(None);
        wait_until(&format!("`{}` ends", self.program), timeout, || {
            status = self.try_wait();
            !matches!(status, Ok(None))
        })?;
        status?.ok_or_else(|| self.failed("wait for", io::ErrorKind::Interrupted.into()))
    }

    /// Sends a signal, unless the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        let mut child = lock(&self.child);
        if let Ok(Some(_)) = child.try_wait() {
            return Ok(());
        }
        // Not waited for yet: the id still belongs to it.
        kill(Pid::from_raw(child.id() as i32), signal).map_err(|errno| self.failed("signal", errno.into()))
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&self) -> Result<ExitStatus, LabError> {
        let mut child = lock(&self.child);
        child
            .kill()
            .and_then(|()| child.wait())
            .map_err(|source| self.failed("kill", source))
    }

    /// Waits until it ends by itself, and reads its output. Kills it after the timeout.
    pub fn finish(mut self, timeout: Duration) -> Result<Finished, LabError> {
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        thread::scope(|scope| {
            let stdout = scope.spawn(|| read(stdout));
            let stderr = scope.spawn(|| read(stderr));
            let status = self.wait(timeout);
            if status.is_err() {
                self.kill()?;
            }
            Ok(Finished {
                status: status?,
                stdout: stdout.join().unwrap_or_default(),
                stderr: stderr.join().unwrap_or_default(),
            })
        })
    }

    fn failed(&self, action: &'static str, source: io::Error) -> LabError {
        LabError::Process {
            action,
            program: self.program.clone(),
            source,
        }
    }
}

/// Kills all children.
pub(crate) fn end(children: &Children) {
    for child in lock(children).drain(..) {
        let mut child = lock(&child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn start(mut command: Command) -> io::Result<Child> {
    let (sender, started) = channel();
    let job = Box::new(move || {
        // The receiver is waiting below.
        let _ = sender.send(command.spawn());
    });
    let ended = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    lock(&STARTER)
        .send(job)
        .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
    started.recv().map_err(ended)?
}

fn read(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // Output before an error is still useful.
        let _ = stream.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Locks a mutex, poisoned or not: every change here is a single step, so a panic cannot leave half of it.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
