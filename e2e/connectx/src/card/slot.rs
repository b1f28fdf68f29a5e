//! The card's thread: it serves the client, the wire and the test.

use std::{
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixListener,
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout},
    sys::eventfd::EventFd,
};

use crate::card::{counters::CardCounters, device::Device, findings::Finding, vfio_user::Server, wire::Wire};

/// Requests handled before the client's next message.
const BATCH: usize = 16;

/// What the test asks the thread for.
pub(super) enum Request {
    Frame(Vec<u8>),
    Connect(Wire),
    Link(bool),
    Fail { opcode: u16, status: u8, times: u32 },
    ReceiveQueueError(Sender<bool>),
    FatalError,
    FirmwareHang,
    Counters(Sender<CardCounters>),
    Findings(Sender<Vec<Finding>>),
    Remove,
}

/// The way to a card's thread.
#[derive(Clone)]
pub(crate) struct Port {
    pub(super) requests: Sender<Request>,
    pub(super) wake: Arc<EventFd>,
}

impl Port {
    pub(super) fn post(&self, request: Request) {
        // A thread that is gone needs nothing.
        if self.requests.send(request).is_ok() {
            let _ = self.wake.write(1);
        }
    }

    /// A frame arrives from the wire.
    pub(super) fn send(&self, frame: Vec<u8>) {
        self.post(Request::Frame(frame));
    }
}

/// What the thread owns.
pub(super) struct Slot {
    pub(super) listener: UnixListener,
    pub(super) client: Option<Server>,
    pub(super) device: Device,
    pub(super) wire: Wire,
    pub(super) inbox: Receiver<Request>,
    pub(super) wake: Arc<EventFd>,
    pub(super) ended: Arc<AtomicBool>,
}

/// What there is to do.
#[derive(Default)]
struct Ready {
    client: bool,
    wire: bool,
}

impl Slot {
    pub(super) fn run(mut self) {
        let mut more = false;
        loop {
            let Ok(ready) = self.wait(more) else { return };
            if ready.client {
                self.serve();
            }
            if ready.wire {
                self.receive_from_tap();
            }
            match self.requests() {
                Some(left) => more = left,
                None => return,
            }
            for frame in std::mem::take(&mut self.device.sent) {
                self.wire.send(frame);
            }
        }
    }

    fn wait(&self, more: bool) -> nix::Result<Ready> {
        let client = match &self.client {
            Some(client) => client.as_fd(),
            None => self.listener.as_fd(),
        };
        let mut sources: Vec<_> = [client, self.wake.as_fd()]
            .into_iter()
            .chain(self.wire.source())
            .map(input)
            .collect();
        let timeout = if more {
            PollTimeout::ZERO
        } else {
            PollTimeout::NONE
        };
        match nix::poll::poll(&mut sources, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Ready::default()),
            Err(error) => return Err(error),
        }
        let ready = |index: usize| {
            sources
                .get(index)
                .is_some_and(|source| source.any() == Some(true))
        };
        if ready(1) {
            let _ = self.wake.read();
        }
        Ok(Ready {
            client: ready(0),
            wire: ready(2),
        })
    }

    /// Handles one message of the client, or accepts it.
    fn serve(&mut self) {
        if let Some(client) = &mut self.client {
            if !matches!(client.step(&mut self.device), Ok(true)) {
                self.client = None;
                self.device.unplug();
                self.ended.store(true, Ordering::Release);
            }
        } else if let Ok((socket, _)) = self.listener.accept() {
            self.device.reset();
            self.client = Some(Server::new(socket));
            self.ended.store(false, Ordering::Release);
        }
    }

    fn receive_from_tap(&mut self) {
        for _ in 0..BATCH {
            match self.wire.receive() {
                Ok(Some(frame)) => self.device.receive(&frame),
                Ok(None) => return,
                // The device is gone: the cable hangs in the air.
                Err(_) => {
                    self.wire = Wire::Test(channel().0);
                    return;
                }
            }
        }
    }

    /// Handles some requests; returns whether there may be more, or `None` when the card is removed.
    fn requests(&mut self) -> Option<bool> {
        for _ in 0..BATCH {
            let Ok(request) = self.inbox.try_recv() else {
                return Some(false);
            };
            let device = &mut self.device;
            match request {
                Request::Frame(frame) => device.receive(&frame),
                Request::Connect(wire) => self.wire = wire,
                Request::Link(up) => device.set_link(up),
                Request::Fail {
                    opcode,
                    status,
                    times,
                } => drop(device.failing.insert(opcode, (status, times))),
                Request::ReceiveQueueError(answer) => drop(answer.send(device.receive_queue_error())),
                Request::FatalError => device.fatal_error(),
                Request::FirmwareHang => device.hang(),
                Request::Counters(answer) => drop(answer.send(device.counters())),
                Request::Findings(answer) => drop(answer.send(device.findings())),
                Request::Remove => return None,
            }
        }
        Some(true)
    }
}

fn input(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::POLLIN)
}
