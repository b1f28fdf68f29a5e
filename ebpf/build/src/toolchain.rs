//! Finds a compiler that comes with its own sources, and the linker.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

/// Version and LLVM of the linker that `tools/setup` installs. The linker reads bitcode of that LLVM and
/// of older ones.
const LINKER_VERSION: &str = "0.13.0";
const LINKER_LLVM: u32 = 22;

/// Oldest compiler with the features that the eBPF crates use.
const MINIMUM_RUSTC: (u32, u32) = (1, 95);

/// A compiler that can build `core` for the eBPF target, and its Cargo.
pub(crate) struct Toolchain {
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    /// The sources of Rust's library.
    pub(crate) library: PathBuf,
}

impl Toolchain {
    /// Prefers rustup's nightly; uses Debian's `rustc-web` if nightly lacks the sources or is too new for the
    /// linker.
    pub(crate) fn find() -> Result<Self> {
        let mut refused = Vec::new();
        for (name, bin) in [
            ("rustup's nightly", rustup_nightly()),
            ("/usr/bin", Some("/usr/bin".into())),
        ] {
            match bin
                .as_deref()
                .map_or_else(|| Err("not installed".to_owned()), Self::in_dir)
            {
                Ok(toolchain) => return Ok(toolchain),
                Err(reason) => refused.push(format!("  {name}: {reason}")),
            }
        }
        bail!(
            "no Rust compiler for eBPF:\n{}\nrun `tools/setup` as root, or one of\n  \
             rustup toolchain install nightly --component rust-src\n  \
             apt-get install rustc-web cargo-web rust-web-src rust-web-llvm",
            refused.join("\n")
        )
    }

    fn in_dir(bin: &Path) -> Result<Self, String> {
        let [rustc, cargo] = ["rustc", "cargo"].map(|name| bin.join(name));
        let missing = [&rustc, &cargo].into_iter().find(|path| !path.exists());
        if let Some(path) = missing {
            return Err(format!("`{}` does not exist", path.display()));
        }
        let version = stdout(Command::new(&rustc).arg("-vV")).unwrap_or_default();
        suits(&version)?;
        let sysroot = stdout(Command::new(&rustc).args(["--print", "sysroot"])).unwrap_or_default();
        let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
        let core = library.join("core");
        if !core.exists() {
            return Err(format!("`{}` does not exist: no rust-src", core.display()));
        }
        Ok(Self {
            rustc,
            cargo,
            library,
        })
    }
}

/// Checks the output of `rustc -vV`.
fn suits(version: &str) -> Result<(), String> {
    let release = field(version, "release: ").ok_or("rustc does not print its version")?;
    if numbers(release) < MINIMUM_RUSTC {
        return Err(format!(
            "rustc {release} is older than {}.{}",
            MINIMUM_RUSTC.0, MINIMUM_RUSTC.1
        ));
    }
    let llvm = field(version, "LLVM version: ").ok_or("rustc does not print its LLVM version")?;
    if numbers(llvm).0 > LINKER_LLVM {
        return Err(format!(
            "rustc {release} writes bitcode of LLVM {llvm}, the linker reads up to {LINKER_LLVM}"
        ));
    }
    Ok(())
}

fn field<'a>(version: &'a str, name: &str) -> Option<&'a str> {
    version.lines().find_map(|line| line.strip_prefix(name))
}

fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Returns the toolchain's own binaries, because rustup's proxies depend on overrides of the directory.
fn rustup_nightly() -> Option<PathBuf> {
    let rustc = stdout(
        Command::new("rustup")
            .args(["which", "--toolchain", "nightly", "rustc"])
            // Asking must not download a toolchain.
            .env("RUSTUP_AUTO_INSTALL", "0"),
    )?;
    Path::new(rustc.trim()).parent().map(Path::to_owned)
}

/// Returns the linker in the workspace's `.tools`, or else the one in `PATH`.
pub(crate) fn find_linker(root: &Path) -> Result<PathBuf> {
    let tools = root.join(".tools/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let found = [tools.clone()]
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|dir| dir.join("bpf-linker"));
    match found.into_iter().find(|linker| linker.is_file()) {
        Some(linker) => Ok(linker),
        None => bail!(
            "no `bpf-linker` in `{}` or in PATH: run `tools/setup` as root, or\n  \
             LLVM_PREFIX=/usr/lib/llvm-{LINKER_LLVM} cargo install bpf-linker --version {LINKER_VERSION} --locked \
             --no-default-features --features llvm-{LINKER_LLVM} --root .tools",
            tools.display()
        ),
    }
}

fn stdout(command: &mut Command) -> Option<String> {
    let output = command
        .stderr(Stdio::null())
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_with_a_newer_llvm_than_the_linkers_is_refused() {
        assert_eq!(suits("release: 1.97.0-nightly\nLLVM version: 22.1.4"), Ok(()));
        let refused = suits("release: 1.99.0-nightly\nLLVM version: 23.1.0").unwrap_err();
        assert!(refused.contains("LLVM 23.1.0"), "{refused}");
    }

    #[test]
    fn a_compiler_older_than_the_workspace_asks_for_is_refused() {
        let refused = suits("release: 1.63.0\nLLVM version: 14.0.6").unwrap_err();
        assert_eq!(refused, "rustc 1.63.0 is older than 1.95");
    }

    #[test]
    fn a_missing_linker_is_named_with_the_command_that_installs_it() {
        let nowhere = Path::new("/nonexistent");
        if let Err(error) = find_linker(nowhere) {
            let text = error.to_string();
            assert!(
                text.contains("/nonexistent/.tools/bin") && text.contains("cargo install bpf-linker"),
                "{text}"
            );
        }
    }
}
