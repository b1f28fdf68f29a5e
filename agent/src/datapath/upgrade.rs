//! What agents with another layout of the tables have left in the pin directory.
//!
//! Their programs and ours cannot share tables, so ours are made anew, empty, beside theirs. The attachments are taken
//! over as they are: moving a pin changes nothing in the kernel. The old program goes on over the old tables, which it
//! holds without their pins, until this agent has filled its own and exchanges the program in the link.

use std::{fs, io, path::Path};

use crate::datapath::{
    error::OpenError,
    flows::migrate,
    kernel::pins::{Pins, TRACEPOINT},
};

/// Moves attachments and notes below this version's directory, and removes the rest.
pub(super) fn adopt(pins: &Pins) -> Result<(), OpenError> {
    let list = |error| OpenError::pin("list", pins.root(), error);
    for other in pins.others().map_err(list)? {
        pins.create()?;
        tracing::info!(from = %other.abi().display(), "attachments of another version taken over");
        move_all(&other.gro_notes(), &pins.gro_notes(), |_| true)?;
        move_all(&other.links(), &pins.links(), |name| {
            !name.starts_with(TRACEPOINT)
        })?;
        migrate::move_tables(&other, pins)?;
        // What is left does nothing but take room, and is tried again by the next agent.
        if let Err(error) = remove(&other) {
            tracing::warn!(%error, "pins of another version stay");
        }
    }
    Ok(())
}

fn remove(other: &Pins) -> Result<(), OpenError> {
    for directory in [other.links(), other.maps(), other.gro_notes(), other.aside()] {
        remove_all(&directory)?;
    }
    removed(&other.abi(), fs::remove_dir(other.abi()))
}

/// What is there under the same name already is this version's, and newer.
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
