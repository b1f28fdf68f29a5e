//! What is at the other end of the cable.

use std::{
    fs::File,
    io::{ErrorKind, Read as _, Write as _},
    os::fd::{AsFd as _, BorrowedFd},
    sync::mpsc::Sender,
};

use crate::card::slot::Port;

/// The longest frame that a tap device delivers at once.
const LONGEST_FRAME: usize = 1 << 16;

pub(crate) enum Wire {
    /// The test takes the frames by `Card::receive`.
    Test(Sender<Vec<u8>>),
    Tap(File),
    Card(Port),
}

impl Wire {
    /// Sends a frame; a frame that the other end cannot take is lost, as on a wire.
    pub(crate) fn send(&mut self, frame: Vec<u8>) {
        match self {
            Self::Test(test) => drop(test.send(frame)),
            Self::Tap(tap) => drop(tap.write(&frame)),
            Self::Card(port) => port.send(frame),
        }
    }

    /// Returns the descriptor to wait for, if frames come from one.
    pub(crate) fn source(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Tap(tap) => Some(tap.as_fd()),
            Self::Test(_) | Self::Card(_) => None,
        }
    }

    /// Returns the next frame of a tap device, if there is one.
    pub(crate) fn receive(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let Self::Tap(tap) = self else { return Ok(None) };
        let mut frame = vec![0; LONGEST_FRAME];
        match tap.read(&mut frame) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                frame.truncate(length);
                Ok(Some(frame))
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
