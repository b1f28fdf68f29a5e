//! Interrupts: an eventfd for each MSI-X vector, from the client.

use std::os::fd::OwnedFd;

/// The number of vectors.
pub(crate) const VECTORS: usize = 32;

#[derive(Default)]
struct Vector {
    event: Option<OwnedFd>,
    /// It fired while there was no eventfd: the client has masked it.
    pending: bool,
}

/// The interrupt vectors of the card.
pub(crate) struct Interrupts([Vector; VECTORS]);

impl Default for Interrupts {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Vector::default()))
    }
}

impl Interrupts {
    pub(crate) fn fire(&mut self, vector: usize) {
        let Some(vector) = self.0.get_mut(vector) else {
            return;
        };
        match &vector.event {
            // A full counter is an interrupt that the client has not yet taken.
            Some(event) => drop(nix::unistd::write(event, &1_u64.to_ne_bytes())),
            None => vector.pending = true,
        }
    }

    /// Sets or removes the eventfd of a vector; one that is pending fires.
    pub(crate) fn set(&mut self, number: usize, event: Option<OwnedFd>) {
        let Some(vector) = self.0.get_mut(number) else {
            return;
        };
        vector.event = event;
        if vector.event.is_some() && std::mem::take(&mut vector.pending) {
            self.fire(number);
        }
    }

    /// Removes all eventfds.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
