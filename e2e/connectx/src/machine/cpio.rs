//! Writes archives in cpio's `newc` format, which the kernel unpacks as its first root
//! (Documentation/driver-api/early-userspace/buffer-format.rst, Linux 6.12).

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive that is being written to memory.
#[derive(Debug, Default)]
pub(super) struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

impl Cpio {
    /// Adds a folder. Parents come first.
    pub(super) fn directory(&mut self, name: &str) {
        self.entry(name, DIRECTORY, (0, 0), &[]);
    }

    /// Adds an executable file.
    pub(super) fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, FILE, (0, 0), content);
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, name: &str, target: &str) {
        self.entry(name, LINK, (0, 0), target.as_bytes());
    }

    /// Adds a character device by its major and minor number.
    pub(super) fn character_device(&mut self, name: &str, number: (u32, u32)) {
        self.entry(name, CHARACTER_DEVICE, number, &[]);
    }

    /// Ends the archive and returns it.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("a file of an initramfs is smaller than 4 GiB");
        let name_size = name.len() as u32 + 1;
        // inode, mode, owner, group, links, time, size, device (2), device number (2), name's size, checksum
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            device.0,
            device.1,
            name_size,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn entries_are_as_the_kernel_documents_them() {
        let mut archive = Cpio::default();
        archive.file("a", b"xyz");
        let bytes = archive.finish();
        let header = format!(
            "070701{:08x}{:08x}{}{:08x}{:08x}{:08x}{}{:08x}{:08x}",
            1,
            0o100_755,
            "0".repeat(16),
            1,
            0,
            3,
            "0".repeat(32),
            2,
            0
        );
        assert_eq!(&bytes[..110], header.as_bytes());
        // The name and the content are padded to four bytes.
        assert_eq!(&bytes[110..116], b"a\0xyz\0");
        assert_eq!(&bytes[116..122], b"070701");
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0") && bytes.len() % 4 == 0);
    }

    #[test]
    fn busybox_lists_the_archive() {
        let Ok(busybox) = crate::machine::MachineFiles::of_project()
            .qemu_tree()
            .join("usr/bin/busybox")
            .canonicalize()
        else {
            return;
        };
        let mut archive = Cpio::default();
        archive.directory("dev");
        archive.character_device("dev/console", (5, 1));
        archive.file("init", b"#!/bin/sh\n");
        archive.link("sh", "busybox");
        let mut cpio = Command::new(busybox)
            .args(["cpio", "-tv"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        cpio.stdin.take().unwrap().write_all(&archive.finish()).unwrap();
        let listing = String::from_utf8(cpio.wait_with_output().unwrap().stdout).unwrap();
        let words: Vec<Vec<&str>> = listing
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(words[0][0], "drwxr-xr-x");
        assert!(
            words[1][0] == "crw-------" && words[1].ends_with(&["dev/console"]),
            "{listing}"
        );
        assert!(words[2][0] == "-rwxr-xr-x" && words[2].contains(&"10"));
        assert!(words[3].ends_with(&["sh", "->", "busybox"]), "{listing}");
    }
}
