//! Builds eBPF programs from a build script.
//!
//! Cargo has no stable way for one package to depend on the binary of another that is built for another
//! target, so the package that embeds an eBPF object calls [`build`] from its `build.rs`:
//!
//! ```no_run
//! fn main() -> anyhow::Result<()> {
//!     xdp_ebpf_build::build("xdp-ebpf")
//! }
//! ```
//!
//! and embeds the result with `aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-ebpf"))`.
//!
//! The target machine has no rustup: so Debian's stable compiler, which comes with its sources, builds the
//! programs with nightly features (`RUSTC_BOOTSTRAP`). Where rustup's nightly has its sources, that compiler
//! is preferred.

mod inputs;
mod remap;
mod toolchain;

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use toolchain::Toolchain;

const TARGET: &str = "bpfel-unknown-none";
const FLAG_SEPARATOR: &str = "\x1f";

/// Profile of the eBPF object, independent of the outer build's: one codegen unit and full optimisation,
/// because otherwise stacks exceed the verifier's 512 bytes, and no overflow checks, because a program cannot
/// panic.
const PROFILE: [(&str, &str); 7] = [
    ("CODEGEN_UNITS", "1"),
    ("DEBUG", "2"),
    ("DEBUG_ASSERTIONS", "false"),
    ("OPT_LEVEL", "3"),
    ("OVERFLOW_CHECKS", "false"),
    ("PANIC", "abort"),
    ("STRIP", "none"),
];

/// Settings of the user that the inner Cargo keeps. Everything else that the outer Cargo and rustup put into
/// a build script's environment describes the outer build.
const KEPT: [&str; 6] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
];
const CLEARED: [&str; 6] = [
    "CARGO",
    "RUSTC",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "LD_LIBRARY_PATH",
];

/// Builds `package` of this workspace for the eBPF target and leaves its object in `OUT_DIR` under the
/// package's name.
///
/// Only for build scripts. The object is always built in the release profile. Neither the build nor the
/// calling script runs again while sources, manifests, lock file and linker are unchanged.
pub fn build(package: &str) -> Result<()> {
    build_with(package, &[])
}

/// Builds `package` with `features`, which become part of the object's name: `xdp-ebpf-FEATURE`.
pub fn build_with(package: &str, features: &[&str]) -> Result<()> {
    let name = [&[package], features].concat().join("-");
    let root = workspace_root();
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").context("`OUT_DIR` is not set: not a build script")?);
    let linker = toolchain::find_linker(&root)?;
    let toolchain = Toolchain::find()?;
    // Not the outer target directory: the outer Cargo holds its lock while it waits for this script. One per
    // set of features, because their objects have equal names.
    let target_dir = target_dir(&out_dir).join([&["ebpf"], features].concat().join("-"));

    let output = cargo(
        &toolchain,
        flags(&toolchain, &linker, &root)?,
        package,
        &target_dir,
    )
    .args(["--features", &features.join(",")])
    .current_dir(&root)
    .output()
    .with_context(|| format!("cannot run `{}`", toolchain.cargo.display()))?;
    if !output.status.success() {
        bail!(
            "the eBPF package `{package}` does not build with {} ({}):\n{}",
            toolchain.rustc.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }

    let release = target_dir.join(TARGET).join("release");
    let object = release.join(package);
    fs::copy(&object, out_dir.join(name))
        .with_context(|| format!("cannot copy `{}` to `{}`", object.display(), out_dir.display()))?;
    #[expect(clippy::print_stdout, reason = "instructions for Cargo")]
    for input in inputs::of(&release.join(format!("{package}.d")), &root)? {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    Ok(())
}

/// Returns the flags of the compiler, separated as Cargo wants it.
fn flags(toolchain: &Toolchain, linker: &Path, root: &Path) -> Result<OsString> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").context("`CARGO_CFG_TARGET_ARCH` is not set")?;
    let mut linker_flag = OsString::from("-Clinker=");
    linker_flag.push(linker);
    let mut flags = vec![
        OsString::from(format!("--cfg=bpf_target_arch=\"{arch}\"")),
        OsString::from("-Cdebuginfo=2"),
        OsString::from("-Clink-arg=--btf"),
        // Atomic instructions, of Linux 5.12.
        OsString::from("-Ctarget-cpu=v3"),
        linker_flag,
    ];
    flags.extend(remap::flags(root, &toolchain.library));
    Ok(flags.join(FLAG_SEPARATOR.as_ref()))
}

fn cargo(toolchain: &Toolchain, flags: OsString, package: &str, target_dir: &Path) -> Command {
    let mut cargo = Command::new(&toolchain.cargo);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(belongs_to_the_outer_build) {
            cargo.env_remove(name);
        }
    }
    cargo
        .args([
            "build",
            "--locked",
            "--release",
            "-Zbuild-std=core",
            "--target",
            TARGET,
            "--package",
            package,
        ])
        .arg("--target-dir")
        .arg(target_dir)
        .env("RUSTC", &toolchain.rustc)
        // The crates of Debian's compiler are of a stable release; `build-std` and the BPF intrinsics are
        // not.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .envs(PROFILE.map(|(key, value)| (format!("CARGO_PROFILE_RELEASE_{key}"), value)));
    cargo
}

fn belongs_to_the_outer_build(variable: &str) -> bool {
    CLEARED.iter().any(|prefix| variable.starts_with(prefix))
        && !KEPT.iter().any(|prefix| variable.starts_with(prefix))
}

/// This crate's place in the workspace is fixed, wherever the calling package is.
fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("`ebpf/build` is two levels below the root")
        .to_owned()
}

/// The target directory of the outer build, whose layout below differs with `--target` and between Cargo
/// versions.
fn target_dir(out_dir: &Path) -> PathBuf {
    let tagged = out_dir.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    tagged.unwrap_or(out_dir).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_compiler_and_its_wrapper_do_not_reach_the_inner_cargo() {
        for name in [
            "RUSTC",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "CARGO",
        ] {
            assert!(belongs_to_the_outer_build(name), "{name}");
        }
    }

    #[test]
    fn the_registry_the_network_and_the_path_stay_as_the_user_set_them() {
        for name in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_X_INDEX",
            "PATH",
            "RUSTUP_HOME",
        ] {
            assert!(!belongs_to_the_outer_build(name), "{name}");
        }
    }
}
