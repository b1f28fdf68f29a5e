//! What the agent needs of the machine before it touches anything.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    sys::statfs::{BPF_FS_MAGIC, statfs},
    unistd::{SysconfVar, sysconf},
};

use crate::node::netlink::host_links;

/// A machine on which the agent cannot work.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// Capabilities are missing.
    #[error("no permission: {} missing; {}", missing.join(", "), self.remedy())]
    NoPermission {
        /// Their names.
        missing: Vec<&'static str>,
    },
    /// The pin directory is not on a bpffs.
    #[error("no bpf file system at `{}`; {}", path.display(), self.remedy())]
    NoBpffs {
        /// The nearest existing directory.
        path: PathBuf,
    },
    /// The kernel cannot do what the data path rests on.
    #[error("kernel too old: it has no {}; {}", names(missing), self.remedy())]
    KernelTooOld {
        /// What it cannot do.
        missing: Vec<Feature>,
    },
    /// A file that every Linux has could not be read.
    #[error("`{}` cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl SystemError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoPermission { .. } => {
                "run the agent as root, or give its container these capabilities".to_owned()
            }
            Self::NoBpffs { .. } => "mount -t bpf bpf /sys/fs/bpf".to_owned(),
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

/// Capabilities and their bits (include/uapi/linux/capability.h): what for is said beside each.
const CAPABILITIES: [(u32, &str); 5] = [
    // Hearing of changes in pods (`NETLINK_LISTEN_ALL_NSID`).
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

/// Check that the calling thread may do what the agent does.
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

/// Check that the pin directory is, or will be, on a bpffs.
pub fn check_bpffs(pin_dir: &Path) -> Result<(), SystemError> {
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

/// What the data path takes from the kernel. Probe for it; version numbers lie (RHEL's 5.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// XDP programs attached by `bpf_link`.
    XdpLink,
    /// `BPF_MAP_TYPE_DEVMAP_HASH` that XDP programs may look into.
    DevmapLookup,
    /// Raw tracepoint programs by `bpf_link`.
    RawTracepointLink,
    /// Type information of the kernel, `/sys/kernel/btf/vmlinux`.
    KernelBtf,
    /// Dumps of other namespaces by id.
    TargetNetns,
    /// veth that takes redirected packets by GRO.
    VethGro,
}

impl Feature {
    /// In words.
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

    /// First Linux version that has it.
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

/// Probe for what needs no BPF system call.
pub fn probe_basics() -> Vec<(Feature, bool)> {
    vec![
        (Feature::TargetNetns, host_links().is_ok()),
        (Feature::KernelBtf, Path::new("/sys/kernel/btf/vmlinux").exists()),
    ]
}

/// What `uname -r` shows; empty if procfs does not say.
pub fn kernel_release() -> String {
    line("/proc/sys/kernel/osrelease")
}

/// What the kernel calls this boot of the machine; empty if it does not say.
pub fn boot_id() -> String {
    line("/proc/sys/kernel/random/boot_id")
}

/// Whether connection tracking of this network namespace takes up connections it has not seen begin; `None` where
/// there is none, or it does not say.
pub fn picks_up_connections() -> Option<bool> {
    let loose = line("/proc/sys/net/netfilter/nf_conntrack_tcp_loose");
    (!loose.is_empty()).then(|| loose != "0")
}

fn line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

/// Bytes in a page of memory, on which MTU limits depend.
pub fn page_size() -> u32 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u32::try_from(size).ok()).unwrap_or(4096)
}

/// Judge what probing found.
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
    fn a_pin_directory_outside_bpffs_is_refused_with_the_command_that_helps() {
        let error = check_bpffs(Path::new("/proc/self/not/there")).expect_err("procfs is no bpffs");
        assert!(
            matches!(&error, SystemError::NoBpffs { path } if path == Path::new("/proc/self")),
            "{error}"
        );
        assert!(
            error.to_string().ends_with("mount -t bpf bpf /sys/fs/bpf"),
            "{error}"
        );
    }

    #[test]
    fn an_old_kernel_is_told_what_it_lacks_and_from_when() {
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
    fn this_machine_has_the_basics_and_lets_root_work() {
        check_features(&probe_basics()).unwrap();
        check_permissions().unwrap();
        assert!(page_size().is_power_of_two() && page_size() >= 4096);
    }
}
