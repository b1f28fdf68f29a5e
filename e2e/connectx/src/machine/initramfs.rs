//! The first root of a machine: busybox, modules, and an `init` that mounts the real root.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
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
    publish(&path, &archive).map_err(FilesError::file("write", &path))?;
    Ok(path)
}

/// Writes a file at once. Another thread or process may be writing the same one.
fn publish(path: &Path, content: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let new = path.with_extension(format!("new-{}-{number}", process::id()));
    fs::write(&new, content)?;
    fs::rename(&new, path)
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

#[cfg(test)]
mod tests {
    use std::{env, thread};

    use super::*;

    #[test]
    fn two_machines_that_boot_at_the_same_time_may_make_the_same_archive() {
        let folder = env::temp_dir().join(format!("initramfs-test-{}", process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("a.cpio");
        let content = vec![1; 1 << 20];
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| publish(&path, &content).unwrap()));
            }
        });
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }
}
