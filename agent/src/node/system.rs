//! Checks capabilities, the pin directory and kernel features before the agent changes anything.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    sys::statfs::{BPF_FS_MAGIC, statfs},
    unistd::{SysconfVar, sysconf},
};

use crate::node::netlink::host_links;

mod trust;

use trust::TrustError;
pub use trust::{Flaw, Untrusted};

/// The agent cannot work on this machine.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// Capabilities are missing.
    #[error("no permission: {} missing; {}", missing.join(", "), self.remedy())]
    NoPermission {
        /// Names of the missing capabilities.
        missing: Vec<&'static str>,
    },
    /// The pin directory is not on a bpffs.
    #[error("no bpf file system at `{}`; {}", path.display(), self.remedy())]
    NoBpffs {
        /// The nearest existing ancestor directory.
        path: PathBuf,
    },
    /// Others than root may change the pin directory, or what leads to it.
    #[error("{0}; {remedy}", remedy = .0.remedy())]
    Untrusted(Untrusted),
    /// The kernel lacks features that the data path needs.
    #[error("kernel too old: it has no {}; {}", names(missing), self.remedy())]
    KernelTooOld {
        /// The missing features.
        missing: Vec<Feature>,
    },
    /// A file in `/proc` could not be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl SystemError {
    /// Returns what to do about the problem.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoPermission { .. } => {
                "run the agent as root, or give its container these capabilities".to_owned()
            }
            Self::NoBpffs { .. } => "mount -t bpf -o mode=0700 bpf /sys/fs/bpf".to_owned(),
            Self::Untrusted(untrusted) => untrusted.remedy(),
            Self::KernelTooOld { missing } => {
                let since = missing
                    .iter()
                    .map(|feature| feature.since())
                    .max()
                    .unwrap_or_default();
                format!("run Linux {}.{} or later", since.0, since.1)
            }
            Self::Unreadable { .. } => "mount /proc".to_owned(),
        }
    }
}

/// The needed capabilities and their bits (include/uapi/linux/capability.h), each with its purpose.
const CAPABILITIES: [(u32, &str); 5] = [
    // Receiving events from pods (`NETLINK_LISTEN_ALL_NSID`).
    (11, "CAP_NET_BROADCAST"),
    // Attaching, devmap entries, GRO.
    (12, "CAP_NET_ADMIN"),
    // Entering pods.
    (21, "CAP_SYS_ADMIN"),
    // Tracepoint programs and pointer arithmetic.
    (38, "CAP_PERFMON"),
    // Programs and maps.
    (39, "CAP_BPF"),
];

/// Checks that the calling thread has the capabilities that the agent needs.
pub fn check_permissions() -> Result<(), SystemError> {
    let path = PathBuf::from("/proc/thread-self/status");
    let status = match fs::read_to_string(&path) {
        Ok(status) => status,
        Err(source) => return Err(SystemError::Unreadable { path, source }),
    };
    match missing_capabilities(&status) {
        missing if missing.is_empty() => Ok(()),
        missing => Err(SystemError::NoPermission { missing }),
    }
}

fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    let effective = effective.unwrap_or_default();
    CAPABILITIES
        .iter()
        .filter(|(bit, _)| effective >> bit & 1 == 0)
        .map(|(_, name)| *name)
        .collect()
}

/// Checks that the pin directory is, or will be, on a bpffs, and that only root can change it.
pub fn check_pin_dir(pin_dir: &Path) -> Result<(), SystemError> {
    check_bpffs(pin_dir)?;
    match trust::check(pin_dir) {
        Ok(()) => Ok(()),
        Err(TrustError::Untrusted(untrusted)) => Err(SystemError::Untrusted(untrusted)),
        Err(TrustError::Unreadable { path, source }) => Err(SystemError::Unreadable { path, source }),
    }
}

fn check_bpffs(pin_dir: &Path) -> Result<(), SystemError> {
    let existing = pin_dir
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let found = statfs(existing);
    let found = found.map_err(|errno| SystemError::Unreadable {
        path: existing.to_owned(),
        source: errno.into(),
    })?;
    if found.filesystem_type() == BPF_FS_MAGIC {
        return Ok(());
    }
    Err(SystemError::NoBpffs {
        path: existing.to_owned(),
    })
}

/// A kernel feature that the data path needs. It has to be probed: version numbers are not reliable (RHEL's
/// 5.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// XDP programs attached by `bpf_link`.
    XdpLink,
    /// `BPF_MAP_TYPE_DEVMAP_HASH` that XDP programs can look up.
    DevmapLookup,
    /// Raw tracepoint programs by `bpf_link`.
    RawTracepointLink,
    /// Type information of the kernel, `/sys/kernel/btf/vmlinux`.
    KernelBtf,
    /// Netlink dumps of other namespaces by id.
    TargetNetns,
    /// veth that accepts redirected packets when GRO is on.
    VethGro,
}

impl Feature {
    /// Returns the name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::XdpLink => "XDP bpf_link",
            Self::DevmapLookup => "devmap look-up from XDP programs",
            Self::RawTracepointLink => "raw tracepoint bpf_link",
            Self::KernelBtf => "kernel BTF (CONFIG_DEBUG_INFO_BTF)",
            Self::TargetNetns => "netlink dumps of other network namespaces",
            Self::VethGro => "veth GRO",
        }
    }

    /// Returns the first Linux version that has the feature.
    pub fn since(self) -> (u32, u32) {
        match self {
            Self::TargetNetns => (5, 0),
            Self::DevmapLookup => (5, 3),
            Self::KernelBtf => (5, 4),
            Self::RawTracepointLink => (5, 7),
            Self::XdpLink => (5, 9),
            Self::VethGro => (5, 13),
        }
    }
}

/// Probes the features that need no BPF system call.
pub fn probe_basics() -> Vec<(Feature, bool)> {
    vec![
        (Feature::TargetNetns, host_links().is_ok()),
        (Feature::KernelBtf, Path::new("/sys/kernel/btf/vmlinux").exists()),
    ]
}

/// Returns the kernel release, as `uname -r` does; empty if procfs is not available.
pub fn kernel_release() -> String {
    line("/proc/sys/kernel/osrelease")
}

/// Returns the id of this boot; empty if procfs is not available.
pub fn boot_id() -> String {
    line("/proc/sys/kernel/random/boot_id")
}

/// Returns whether connection tracking of this network namespace picks up connections whose beginning it has
/// not seen (`nf_conntrack_tcp_loose`). `None` without connection tracking.
pub fn picks_up_connections() -> Option<bool> {
    let setting = line("/proc/sys/net/netfilter/nf_conntrack_tcp_loose");
    (!setting.is_empty()).then(|| setting != "0")
}

/// Returns whether the kernel compiles BPF programs. `None`: the setting cannot be read.
pub fn jit() -> Option<bool> {
    let setting = line("/proc/sys/net/core/bpf_jit_enable");
    (!setting.is_empty()).then(|| setting != "0")
}

fn line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

/// Returns the size of a memory page in bytes. MTU limits depend on it.
pub fn page_size() -> u32 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u32::try_from(size).ok()).unwrap_or(4096)
}

/// Checks the result of probing.
pub fn check_features(probed: &[(Feature, bool)]) -> Result<(), SystemError> {
    let missing: Vec<_> = probed
        .iter()
        .filter(|(_, present)| !present)
        .map(|(feature, _)| *feature)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(SystemError::KernelTooOld { missing })
    }
}

fn names(features: &[Feature]) -> String {
    features
        .iter()
        .map(|feature| feature.name())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        assert!(missing_capabilities("Name:\tx\nCapEff:\t000001ffffffffff\n").is_empty());
        assert_eq!(
            missing_capabilities("CapEff:\t0000000000201000\n"),
            ["CAP_NET_BROADCAST", "CAP_PERFMON", "CAP_BPF"]
        );
        assert_eq!(missing_capabilities("").len(), CAPABILITIES.len());
    }

    #[test]
    fn a_pin_directory_outside_bpffs_is_refused_with_the_mount_command() {
        let error = check_bpffs(Path::new("/proc/self/not/there")).expect_err("procfs is no bpffs");
        assert!(
            matches!(&error, SystemError::NoBpffs { path } if path == Path::new("/proc/self")),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .ends_with("mount -t bpf -o mode=0700 bpf /sys/fs/bpf"),
            "{error}"
        );
    }

    #[test]
    fn the_error_for_an_old_kernel_names_missing_features_and_the_needed_version() {
        let probed = [
            (Feature::XdpLink, false),
            (Feature::KernelBtf, true),
            (Feature::DevmapLookup, false),
        ];
        let error = check_features(&probed).expect_err("two are missing");
        assert_eq!(
            error.to_string(),
            "kernel too old: it has no XDP bpf_link, devmap look-up from XDP programs; run Linux 5.9 or later"
        );
        assert!(check_features(&[(Feature::XdpLink, true)]).is_ok());
    }

    #[test]
    fn this_machine_has_the_basic_features_and_root_has_the_capabilities() {
        check_features(&probe_basics()).unwrap();
        check_permissions().unwrap();
        assert!(page_size().is_power_of_two() && page_size() >= 4096);
    }
}
