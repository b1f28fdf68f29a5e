//! The card: a thread that serves one vfio-user client and is connected to one wire.

use std::{
    fs::File,
    io,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use counters::CardCounters;
use findings::Finding;
use nix::sys::eventfd::{EfdFlags, EventFd};
use profile::Profile;
use slot::{Port, Request, Slot};
use wire::Wire;

mod bits;
mod checksum;
mod commands;
mod completion;
mod configuration;
pub(crate) mod counters;
mod descriptor;
mod device;
mod dma;
mod faults;
pub(crate) mod findings;
#[cfg(test)]
mod fixture;
mod interrupts;
mod layout;
mod memory;
mod mkey;
mod parse;
pub(crate) mod profile;
mod queues;
mod receive;
mod registers;
mod rss;
mod send;
mod slot;
mod steering;
mod toeplitz;
mod vfio_user;
mod vlan;
mod wire;
mod work_queue;

/// How long a question to the card's thread can take; it never does unless the thread is gone.
const ANSWER: Duration = Duration::from_secs(10);
/// A ConnectX card in software.
///
/// QEMU connects to its socket (`-device vfio-user-pci`); until then it waits. Dropping it ends its thread
/// and removes the socket.
pub struct Card {
    port: Port,
    frames: Mutex<Receiver<Vec<u8>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    socket: PathBuf,
}

impl Card {
    /// Creates a card that waits for the machine at `socket`.
    pub fn insert(socket: &Path, profile: Profile) -> io::Result<Self> {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket)?;
        let wake = Arc::new(EventFd::from_flags(
            EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC,
        )?);
        let (requests, inbox) = channel();
        let (test, frames) = channel();
        let ended = Arc::new(AtomicBool::new(false));
        let slot = Slot {
            listener,
            client: None,
            device: device::Device::new(profile),
            wire: Wire::Test(test),
            inbox,
            wake: Arc::clone(&wake),
            ended: Arc::clone(&ended),
        };
        let thread = std::thread::Builder::new()
            .name("card".into())
            .spawn(move || slot.run())?;
        Ok(Self {
            port: Port { requests, wake },
            frames: frames.into(),
            ended,
            thread: Some(thread),
            socket: socket.to_owned(),
        })
    }

    /// Sends a frame without its checksum (FCS) to the card.
    pub fn send(&self, frame: Vec<u8>) {
        self.port.send(frame);
    }

    /// Returns the next frame that the card sent, or `None` after `timeout`.
    ///
    /// There are none when a tap or another card is at the other end of the wire.
    pub fn receive(&self, timeout: Duration) -> Option<Vec<u8>> {
        self.frames
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv_timeout(timeout)
            .ok()
    }

    /// Connects the wire to a tap device (without packet information), until the card is dropped.
    pub fn connect_tap(&self, tap: File) -> io::Result<()> {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};

        let flags = OFlag::from_bits_truncate(fcntl(&tap, FcntlArg::F_GETFL)?);
        fcntl(&tap, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        self.port.post(Request::Connect(Wire::Tap(tap)));
        Ok(())
    }

    /// Connects two cards with each other.
    pub fn cable(one: &Self, other: &Self) {
        one.port.post(Request::Connect(Wire::Card(other.port.clone())));
        other.port.post(Request::Connect(Wire::Card(one.port.clone())));
    }

    /// Plugs the cable in or out.
    pub fn set_link(&self, up: bool) {
        self.port.post(Request::Link(up));
    }

    /// Lets the next `times` commands `opcode` (`MLX5_CMD_OP_*`) fail with `status` (`MLX5_CMD_STAT_*`).
    pub fn fail(&self, opcode: u16, status: u8, times: u32) {
        self.port.post(Request::Fail {
            opcode,
            status,
            times,
        });
    }

    /// Puts a receive queue that has received frames into error, with an error completion.
    ///
    /// Returns false if there is none.
    pub fn receive_queue_error(&self) -> bool {
        self.ask(Request::ReceiveQueueError).unwrap_or_default()
    }

    /// Lets the firmware ask for a reset, as it does after a fatal error.
    pub fn fatal_error(&self) {
        self.port.post(Request::FatalError);
    }

    /// Lets the firmware's health counter stand still until the driver resets the card.
    pub fn firmware_hang(&self) {
        self.port.post(Request::FirmwareHang);
    }

    /// Returns what the card has counted since it was inserted.
    pub fn counters(&self) -> CardCounters {
        self.ask(Request::Counters).unwrap_or_default()
    }

    /// Returns all that the driver did and a card would not accept, or that the model does not know.
    ///
    /// Failures that the test asked for are not in it.
    pub fn findings(&self) -> Vec<Finding> {
        self.ask(Request::Findings).unwrap_or_default()
    }

    /// Returns whether the machine has closed its connection.
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn ask<T>(&self, request: impl FnOnce(Sender<T>) -> Request) -> Option<T> {
        let (answer, answered) = channel();
        self.port.post(request(answer));
        answered.recv_timeout(ANSWER).ok()
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        self.port.post(Request::Remove);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

#[cfg(test)]
mod tests;
