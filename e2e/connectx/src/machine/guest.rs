//! A running machine.

use std::{
    io,
    os::{
        fd::AsFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, poll};
use serde_json::json;

use super::{
    Kernel, MachineBuilder, MachineError, MachineFiles, Qmp,
    journal::{Journal, Origin, Waited},
    process::{Process, read_lines},
    qemu::{PORTS, card_device, card_socket},
    run_directory::RunDirectory,
};

/// How long a guest may take to let a device go, on a busy host.
const UNPLUG: Duration = Duration::from_mins(1);

/// How long a machine may run.
#[derive(Clone, Copy, Debug)]
pub struct MachineLimits {
    /// The longest time without a line on the console or of the command, or a call of [`Machine::progress`].
    pub silence: Duration,
    /// The longest time from start to end.
    pub total: Duration,
}

impl Default for MachineLimits {
    fn default() -> Self {
        Self {
            silence: Duration::from_mins(2),
            total: Duration::from_mins(10),
        }
    }
}

/// How a machine's command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandResult {
    /// The exit code.
    pub code: i32,
    /// The lines of the console that report a fault of the kernel.
    pub warnings: Vec<String>,
}

/// Keeps a machine from ending because of silence.
#[derive(Clone, Debug)]
pub struct MachineProgress(Arc<Journal>);

impl MachineProgress {
    /// Notes that the machine did something, as an answer on the port `peer`.
    pub fn note(&self) {
        self.0.progress();
    }
}

/// A machine that QEMU runs. It is killed on drop, and also if this process is killed.
#[derive(Debug)]
pub struct Machine {
    // Dropped in this order: the sockets outlive QEMU.
    process: Process,
    qmp: Qmp,
    peer: UnixStream,
    journal: Arc<Journal>,
    directory: RunDirectory,
    kernel: Kernel,
    slots: Vec<String>,
}

impl Machine {
    /// Returns a machine with 1 GiB of memory, two processors and no network device, which runs `true`.
    pub fn builder(files: &MachineFiles, kernel: &Kernel) -> Result<MachineBuilder, MachineError> {
        MachineBuilder::new(files, kernel)
    }

    pub(super) fn start(builder: MachineBuilder, qemu: Command) -> Result<Self, MachineError> {
        let journal = Journal::new(builder.log.as_deref()).map_err(host("create the machine's log"))?;
        let journal = Arc::new(journal);
        let listen = |name: &str| UnixListener::bind(builder.directory.path().join(name));
        let listeners: io::Result<Vec<_>> = ["qmp"].into_iter().chain(PORTS).map(listen).collect();
        let listeners = listeners.map_err(host("create the machine's sockets"))?;
        let mut process = Process::spawn(qemu, builder.namespace, &journal).map_err(host("start QEMU"))?;
        let streams: Option<Vec<_>> = listeners
            .iter()
            .map(|listener| accept(listener, &journal))
            .collect();
        let streams = streams.and_then(|streams| <[UnixStream; 4]>::try_from(streams).ok());
        let monitor =
            |[qmp, result, output, peer]: [UnixStream; 4]| Some((Qmp::new(qmp).ok()?, result, output, peer));
        let Some((qmp, result, output, peer)) = streams.and_then(monitor) else {
            process.end();
            return Err(MachineError::Start {
                printed: journal.tail(),
            });
        };
        let results = Arc::clone(&journal);
        process.add_reader(thread::spawn(move || {
            read_lines(Some(result), |line| results.result(line));
        }));
        let lines = Arc::clone(&journal);
        let read_output = move || read_lines(Some(output), |line| lines.line(Origin::Output, line));
        process.add_reader(thread::spawn(read_output));
        Ok(Self {
            process,
            qmp,
            peer,
            journal,
            directory: builder.directory,
            kernel: builder.kernel,
            slots: builder.slots,
        })
    }

    /// Returns the host's end of the port that is `/dev/virtio-ports/peer` in the guest.
    ///
    /// Bytes that are written before the guest opens the port wait there. The end of the stream is the end of
    /// QEMU.
    pub fn peer(&self) -> Result<UnixStream, MachineError> {
        self.peer.try_clone().map_err(host("duplicate the port `peer`"))
    }

    /// Returns QEMU's monitor.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// Returns the process id of QEMU.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the kernel that it runs.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Returns what notes progress that is visible only outside the machine.
    pub fn progress(&self) -> MachineProgress {
        MachineProgress(Arc::clone(&self.journal))
    }

    /// Returns what the command has printed so far, by lines.
    pub fn output(&self) -> Vec<String> {
        self.journal.output()
    }

    /// Returns the lines of the console that report a fault of the kernel.
    pub fn warnings(&self) -> Vec<String> {
        self.journal.warnings()
    }

    /// Pulls a network device of QEMU's own out of its slot, and waits until the guest has let it go.
    ///
    /// A card cannot be pulled: QEMU 11.1 aborts in `vfio_user_msix_teardown`. The guest can remove it
    /// instead, by `/sys/bus/pci/devices/ADDRESS/remove`, and find it again, by `/sys/bus/pci/rescan`.
    pub fn remove(&mut self, id: &str) -> Result<(), MachineError> {
        if self.slots.iter().any(|slot| slot == id) {
            return Err(MachineError::Unplug { id: id.to_owned() });
        }
        self.qmp.execute("device_del", &json!({ "id": id }))?;
        Ok(self.qmp.wait_for("DEVICE_DELETED", id, UNPLUG)?)
    }

    /// Returns the socket on which a card must listen before [`insert_card`](Self::insert_card).
    pub fn card_socket(&self, id: &str) -> PathBuf {
        card_socket(&self.directory, id)
    }

    /// Puts a card into an empty [slot](MachineBuilder::slot).
    pub fn insert_card(&mut self, id: &str) -> Result<(), MachineError> {
        self.qmp
            .execute("device_add", &card_device(id, &self.card_socket(id)))?;
        Ok(())
    }

    /// Connects or disconnects the wire of a QEMU network device.
    pub fn set_link(&mut self, id: &str, up: bool) -> Result<(), MachineError> {
        self.qmp.execute("set_link", &json!({ "name": id, "up": up }))?;
        Ok(())
    }

    /// Waits until the command has ended and the machine is off. A machine that reaches a limit is killed.
    pub fn wait(&mut self, limits: MachineLimits) -> Result<CommandResult, MachineError> {
        let waited = self.journal.wait_for_end(limits.silence, limits.total);
        self.process.end();
        let (warnings, tail) = (self.journal.warnings(), self.journal.tail());
        let what = match waited {
            Waited::Ended => None,
            Waited::Silent => Some(format!("was silent for {:?}", limits.silence)),
            Waited::TooLong => Some(format!("ran for more than {:?}", limits.total)),
        };
        if let Some(what) = what {
            return Err(MachineError::TimedOut { what, warnings, tail });
        }
        let Some(result) = self.journal.reported() else {
            return Err(MachineError::NoResult { warnings, tail });
        };
        match result.strip_prefix("exit ").and_then(|code| code.parse().ok()) {
            Some(code) => Ok(CommandResult { code, warnings }),
            None => Err(MachineError::Init { reason: result }),
        }
    }

    /// Waits as [`wait`](Self::wait) does, and demands that the command succeeded and the kernel did not
    /// warn.
    pub fn wait_for_success(&mut self, limits: MachineLimits) -> Result<(), MachineError> {
        match self.wait(limits)? {
            CommandResult { code: 0, warnings } if warnings.is_empty() => Ok(()),
            CommandResult { code, warnings } => Err(MachineError::Failed {
                code,
                warnings,
                tail: self.journal.tail(),
            }),
        }
    }
}

fn host(action: &'static str) -> impl FnOnce(io::Error) -> MachineError {
    move |source| MachineError::Host { action, source }
}

/// Returns QEMU's connection, or nothing if QEMU ends first.
fn accept(listener: &UnixListener, journal: &Journal) -> Option<UnixStream> {
    const LOOK: u16 = 50;
    loop {
        let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, LOOK) {
            Ok(0) | Err(_) if journal.has_ended() => return None,
            Ok(1..) => return listener.accept().ok().map(|(stream, _)| stream),
            _ => {}
        }
    }
}
