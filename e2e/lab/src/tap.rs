//! Tap interfaces: a wire whose other end is a file.

use std::fs::File;

use crate::{LabError, Namespace, sys};

impl Namespace {
    /// Creates a tap interface that is up. It lives as long as its file, whose reads and writes are one frame
    /// each.
    pub fn tap(&self, name: &str) -> Result<File, LabError> {
        let tap = self
            .run(|| sys::open_tap(name))?
            .map_err(self.socket_failed(format!("create the tap interface `{name}`")))?;
        self.set_up(name, true)?;
        Ok(tap)
    }
}
