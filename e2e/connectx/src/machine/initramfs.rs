//! The first root of a machine: busybox, modules, and an `init` that mounts the real root.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    process,
};

use super::{
    FilesError, Kernel, MachineError, MachineFiles,
    cpio::Cpio,
    modules::{ModuleIndex, content, name},
};

const INIT: &str = include_str!("init.sh");
const APPLETS: [&str; 13] = [
    "sh", "mount", "mkdir", "insmod", "grep", "sleep", "ln", "poweroff", "hostname", "ip", "cp", "chroot",
    "cat",
];
const FOLDERS: [&str; 9] = [
    "bin", "dev", "proc", "sys", "modules", "guest", "machine", "original", "tmp",
];

/// Returns the initramfs of a kernel with these modules, and makes it if it does not exist.
pub(super) fn initramfs(
    files: &MachineFiles,
    kernel: &Kernel,
    modules: &[&str],
) -> Result<PathBuf, MachineError> {
    let mut hasher = DefaultHasher::new();
    (INIT, APPLETS, FOLDERS, modules, &kernel.version).hash(&mut hasher);
    let folder = files.path().join("initramfs");
    let path = folder.join(format!("{}-{:016x}.cpio", kernel.release, hasher.finish()));
    if path.exists() {
        return Ok(path);
    }
    let archive = build(files, kernel, modules)?;
    fs::create_dir_all(&folder).map_err(FilesError::file("create", &folder))?;
    // Another process may be making the same one.
    let new = folder.join(format!("new-{}-{:016x}", process::id(), hasher.finish()));
    fs::write(&new, archive)
        .and_then(|()| fs::rename(&new, &path))
        .map_err(FilesError::file("write", &path))?;
    Ok(path)
}

fn build(files: &MachineFiles, kernel: &Kernel, modules: &[&str]) -> Result<Vec<u8>, MachineError> {
    let mut archive = Cpio::default();
    for folder in FOLDERS {
        archive.directory(folder);
    }
    archive.character_device("dev/console", (5, 1));
    let busybox = files.busybox(kernel.architecture);
    archive.file(
        "bin/busybox",
        &fs::read(&busybox).map_err(FilesError::file("read", &busybox))?,
    );
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    let index = ModuleIndex::read(kernel)?;
    let mut list = Vec::new();
    for (file, parameters) in index.order(modules)? {
        let module = format!("{}.ko", name(file));
        archive.file(
            &format!("modules/{module}"),
            &content(files, &kernel.modules.join(file))?,
        );
        list.push(format!("{module} {parameters}\n"));
    }
    archive.file("modules/list", list.concat().as_bytes());
    archive.file("init", INIT.as_bytes());
    Ok(archive.finish())
}
