//! Lists the paths that lead to network namespaces: of processes first, then of mounts in all mount
//! namespaces.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// Returns inodes of namespaces with a path to each. An inode can occur several times.
pub(super) fn candidates() -> impl Iterator<Item = (u64, PathBuf)> {
    let processes = processes();
    let by_process: Vec<_> = processes
        .iter()
        .filter_map(|process| {
            let path = process.join("ns/net");
            Some((inode(&fs::read_link(&path).ok()?)?, path))
        })
        .collect();
    by_process.into_iter().chain(
        mount_namespaces(&processes)
            .into_iter()
            .flat_map(|process| mounts(&process)),
    )
}

/// Lists the processes, this one first: its mounts are the most direct paths.
pub(super) fn processes() -> Vec<PathBuf> {
    let others = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        let is_pid = entry
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit);
        is_pid.then(|| entry.path())
    });
    std::iter::once(PathBuf::from("/proc/self"))
        .chain(others)
        .collect()
}

/// Selects one process for each mount namespace.
fn mount_namespaces(processes: &[PathBuf]) -> Vec<PathBuf> {
    let mut known = BTreeSet::new();
    let is_new = |process: &&PathBuf| {
        let link = fs::read_link(process.join("ns/mnt"));
        link.is_ok_and(|link| known.insert(link))
    };
    processes.iter().filter(is_new).cloned().collect()
}

/// Lists the network namespaces that are mounted in the mount namespace of a process.
fn mounts(process: &Path) -> Vec<(u64, PathBuf)> {
    let mountinfo = fs::read(process.join("mountinfo")).unwrap_or_default();
    let root = process.join("root");
    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(netns_mount)
        .map(|(inode, mount_point)| {
            let relative = mount_point.strip_prefix("/").unwrap_or(&mount_point);
            (inode, root.join(relative))
        })
        .collect()
}

/// Parses inode and mount point of a network namespace from a line of `mountinfo` (proc(5)). Other mounts
/// give `None`.
fn netns_mount(line: &[u8]) -> Option<(u64, PathBuf)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = fields.nth(3)?;
    let mount_point = fields.next()?;
    let inode = inode(Path::new(std::str::from_utf8(root).ok()?))?;
    Some((inode, PathBuf::from(OsString::from_vec(unescape(mount_point)))))
}

/// Parses a link such as `net:[4026531840]`.
fn inode(link: &Path) -> Option<u64> {
    link.to_str()?
        .strip_prefix("net:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// Decodes the octal escapes of `mountinfo`, which stand for blanks and backslashes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut rest = field;
    let mut plain = Vec::with_capacity(field.len());
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'\\', digits @ ..] => digits
                .get(..3)
                .and_then(|octal| u8::from_str_radix(std::str::from_utf8(octal).ok()?, 8).ok()),
            _ => None,
        };
        plain.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &rest[4..] } else { tail };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_network_namespace_is_recognised_with_blanks_in_its_path() {
        let line = br"431 28 0:4 net:[4026532301] /run/net\040ns/a\134b rw shared:220 - nsfs nsfs rw";
        assert_eq!(
            netns_mount(line),
            Some((4_026_532_301, PathBuf::from(r"/run/net ns/a\b")))
        );
    }

    #[test]
    fn other_mounts_are_not_network_namespaces() {
        assert_eq!(
            netns_mount(b"21 28 0:4 mnt:[4026532301] /run/x rw - nsfs nsfs rw"),
            None
        );
        assert_eq!(
            netns_mount(b"28 1 254:0 / / rw,relatime - ext4 /dev/vda rw"),
            None
        );
        assert_eq!(netns_mount(b""), None);
    }

    #[test]
    fn a_backslash_without_digits_stays() {
        assert_eq!(unescape(br"a\x\04"), br"a\x\04");
    }
}
