//! Network namespaces that are removed when the test ends, for whatever reason.

use std::{
    ffi::CStr,
    fs::{
        File, {self},
    },
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
    process::{
        Command, {self},
    },
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

/// An unnamed network namespace. IPv6 is off, so it has no frames except the test's.
pub(crate) struct Namespace(OwnedFd);

impl Namespace {
    pub(crate) fn new() -> Self {
        thread::scope(|scope| scope.spawn(Self::unshare).join().unwrap())
    }

    fn unshare() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        Self(File::open("/proc/thread-self/ns/net").unwrap().into())
    }

    /// Runs a closure on a new thread inside the namespace.
    pub(crate) fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
            inside()
        };
        match thread::scope(|scope| scope.spawn(inside).join()) {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Runs a command inside the namespace. Returns its output, or its error output if it fails.
    pub(crate) fn try_command(&self, line: &str) -> Result<String, String> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        let output = self.run(|| command.args(words).output().unwrap());
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    pub(crate) fn command(&self, line: &str) -> String {
        self.try_command(line)
            .unwrap_or_else(|error| panic!("`{line}`: {error}"))
    }

    /// Returns the path of the namespace, for commands.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd())
    }

    /// Returns a counter of `ethtool -S`.
    pub(crate) fn driver_counter(&self, interface: &str, counter: &str) -> u64 {
        let all = self.command(&format!("ethtool -S {interface}"));
        let value = all
            .lines()
            .find_map(|line| line.trim().strip_prefix(counter)?.strip_prefix(": "));
        value
            .unwrap_or_else(|| panic!("no `{counter}` in {all}"))
            .parse()
            .unwrap()
    }

    /// Returns `tx_dropped` of `ip -s link`.
    pub(crate) fn tx_dropped(&self, interface: &str) -> u64 {
        let json = self.command(&format!("ip -s -j link show {interface}"));
        let links: serde_json::Value = serde_json::from_str(&json).unwrap();
        links[0]["stats64"]["tx"]["dropped"].as_u64().unwrap()
    }
}

/// Mounts the sysfs of the calling thread's network namespace, and calls a closure with it. The thread keeps
/// its own mount namespace, so it must not be used for anything else.
#[expect(unsafe_code, reason = "mount(2), with constant strings")]
pub(crate) fn with_sysfs(inside: impl FnOnce(&Path)) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let mount = |source: &CStr, target: &CStr, kind: &CStr, flags| {
        // SAFETY: the strings end with a zero byte, and no data is passed.
        let done = unsafe {
            libc::mount(
                source.as_ptr(),
                target.as_ptr(),
                kind.as_ptr(),
                flags,
                std::ptr::null(),
            )
        };
        assert_eq!(done, 0, "mount: {}", io::Error::last_os_error());
    };
    mount(c"none", c"/", c"none", libc::MS_REC | libc::MS_PRIVATE);
    mount(c"sysfs", c"/sys", c"sysfs", 0);
    inside(Path::new("/sys"));
}
