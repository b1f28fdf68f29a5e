//! Packet sockets: frames with arbitrary bytes, in and out of an interface.

use std::{io, os::fd::OwnedFd, time::Duration};

use crate::{LabError, Namespace, sys, wait_until};

/// Longer than any frame.
const FRAME_LEN: usize = 65536;
const PATIENCE: Duration = Duration::from_secs(20);

/// A packet socket on one interface, below the stack.
#[derive(Debug)]
pub struct RawSocket {
    socket: OwnedFd,
    namespace: Namespace,
}

impl RawSocket {
    /// Opens a socket that sends frames out of an interface.
    pub fn sender(namespace: &Namespace, interface: &str) -> Result<Self, LabError> {
        Self::open(namespace, interface, false)
    }

    /// Opens a socket that receives every frame that arrives at an interface from now on.
    pub fn receiver(namespace: &Namespace, interface: &str) -> Result<Self, LabError> {
        Self::open(namespace, interface, true)
    }

    fn open(namespace: &Namespace, interface: &str, receives: bool) -> Result<Self, LabError> {
        let index = namespace.interface(interface)?.index;
        let socket = namespace
            .run(|| sys::packet_socket(index, receives))?
            .map_err(namespace.socket_failed(format!("bind to `{interface}`")))?;
        Ok(Self {
            socket,
            namespace: namespace.clone(),
        })
    }

    /// Sends a frame, beginning with the destination MAC. Retries while the interface's queue is full.
    pub fn send(&self, frame: &[u8]) -> Result<(), LabError> {
        let mut sent = Ok(());
        // The kernel has dropped the frame (`net_xmit_errno`).
        let is_full = |error: &io::Error| error.raw_os_error() == Some(libc::ENOBUFS);
        wait_until("the queue takes a frame", PATIENCE, || {
            sent = sys::send_frame(&self.socket, frame);
            !sent.as_ref().is_err_and(is_full)
        })?;
        sent.map_err(self.namespace.socket_failed("send a frame"))
    }

    /// Returns all frames that have arrived so far.
    pub fn arrived(&self) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; FRAME_LEN];
        let mut frames = Vec::new();
        while let Ok(frame) = sys::receive_frame(&self.socket, &mut buffer) {
            frames.extend(frame);
        }
        frames
    }

    /// Returns the next arriving frame that `wanted` accepts, as it was on the wire.
    pub fn receive(&self, timeout: Duration, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, LabError> {
        let mut frames = self.receive_until(timeout, wanted)?;
        Ok(frames.pop().unwrap_or_default())
    }

    /// Returns all arriving frames up to and including the one that `wanted` accepts. Where frames cannot
    /// overtake each other, a frame that is not among them is lost.
    pub fn receive_until(
        &self,
        timeout: Duration,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<Vec<u8>>, LabError> {
        let mut buffer = vec![0; FRAME_LEN];
        let mut frames = Vec::new();
        wait_until("the wanted frame arrives", timeout, || {
            loop {
                match sys::receive_frame(&self.socket, &mut buffer) {
                    Ok(Some(frame)) => {
                        let found = wanted(&frame);
                        frames.push(frame);
                        if found {
                            return true;
                        }
                    }
                    Ok(None) => {}
                    // No frame yet, or the error that an interface that goes down reports once.
                    Err(_) => return false,
                }
            }
        })?;
        Ok(frames)
    }
}
