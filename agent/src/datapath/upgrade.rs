//! Upgrades and downgrades: adopts what agents with another layout of the tables have left in the pin
//! directory.
//!
//! Programs of two layouts cannot share tables, so this agent creates empty tables of its own. It adopts the
//! attachments as they are: moving a pin changes nothing in the kernel. The old program runs over the old
//! tables, which it holds without their pins, until this agent has filled its own tables and replaces the
//! program in the link.

use std::{fs, io, path::Path};

use crate::datapath::{
    error::OpenError,
    flows::migrate,
    kernel::pins::{Pins, TRACEPOINT},
};

/// Moves attachments and records below this version's directory, and removes the rest.
pub(super) fn adopt(pins: &Pins) -> Result<(), OpenError> {
    let list = |error| OpenError::pin("list", pins.root(), error);
    for other in pins.others().map_err(list)? {
        pins.create()?;
        tracing::info!(from = %other.abi().display(), "adopting the attachments of another version");
        move_all(&other.gro_notes(), &pins.gro_notes(), |_| true)?;
        move_all(&other.links(), &pins.links(), |name| {
            !name.starts_with(TRACEPOINT)
        })?;
        migrate::move_tables(&other, pins)?;
        // What is left only occupies memory; the next agent retries.
        if let Err(error) = remove(&other) {
            tracing::warn!(%error, "cannot remove the pins of another version");
        }
    }
    Ok(())
}

fn remove(other: &Pins) -> Result<(), OpenError> {
    for directory in [other.links(), other.maps(), other.gro_notes(), other.parked()] {
        remove_all(&directory)?;
    }
    removed(&other.abi(), fs::remove_dir(other.abi()))
}

/// Moves the wanted pins. One that exists under its name in `to` is this version's and stays.
fn move_all(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> Result<(), OpenError> {
    for (name, path) in entries(from)? {
        let target = to.join(&name);
        if wanted(&name) && !target.exists() {
            fs::rename(&path, &target).map_err(|error| OpenError::pin("move", &path, error))?;
        }
    }
    Ok(())
}

/// Removes a directory of pins and directories.
pub(super) fn remove_all(directory: &Path) -> Result<(), OpenError> {
    for (_, path) in entries(directory)? {
        if path.is_dir() {
            remove_all(&path)?;
        } else {
            removed(&path, fs::remove_file(&path))?;
        }
    }
    removed(directory, fs::remove_dir(directory))
}

fn removed(path: &Path, result: io::Result<()>) -> Result<(), OpenError> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(OpenError::pin("remove", path, error)),
        _ => Ok(()),
    }
}

fn entries(directory: &Path) -> Result<Vec<(String, std::path::PathBuf)>, OpenError> {
    let failed = |error| OpenError::pin("list", directory, error);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    Ok(found)
}
