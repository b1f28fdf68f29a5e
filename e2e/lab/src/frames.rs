//! Frames with arbitrary bytes, in and out of an interface.

use std::{io, os::fd::OwnedFd, time::Duration};

use crate::{LabError, Namespace, sys, wait_until};

/// Longer than any frame of a lab.
const FRAME: usize = 65536;
const PATIENCE: Duration = Duration::from_secs(20);

/// A packet socket of one interface. Nothing of the stack's is between it and the wire.
#[derive(Debug)]
pub struct RawSocket {
    socket: OwnedFd,
    namespace: Namespace,
}

impl RawSocket {
    /// To send frames out of an interface.
    pub fn sender(namespace: &Namespace, interface: &str) -> Result<Self, LabError> {
        Self::open(namespace, interface, false)
    }

    /// To see what arrives at an interface, beginning now.
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

    /// Send these bytes, beginning with the destination MAC. A wire that has no room for them gets them once it has.
    pub fn send(&self, frame: &[u8]) -> Result<(), LabError> {
        let mut sent = Ok(());
        // The kernel has dropped the frame, and says so (`net_xmit_errno`).
        let is_full = |error: &io::Error| error.raw_os_error() == Some(libc::ENOBUFS);
        wait_until("the wire takes a frame", PATIENCE, || {
            sent = sys::send_frame(&self.socket, frame);
            !sent.as_ref().is_err_and(is_full)
        })?;
        sent.map_err(self.namespace.socket_failed("send a frame"))
    }

    /// The next frame that arrives and that `wanted` accepts, as it was on the wire.
    pub fn receive(&self, timeout: Duration, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, LabError> {
        let mut frames = self.receive_until(timeout, wanted)?;
        Ok(frames.pop().unwrap_or_default())
    }

    /// All that arrives up to the frame that `wanted` accepts, which is the last one: when frames cannot overtake each
    /// other, what is not among these will not come any more.
    pub fn receive_until(
        &self,
        timeout: Duration,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<Vec<u8>>, LabError> {
        let mut buffer = vec![0; FRAME];
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
                    // Nothing is there yet; an interface that went down says so once and is waited for as well.
                    Err(_) => return false,
                }
            }
        })?;
        Ok(frames)
    }
}
