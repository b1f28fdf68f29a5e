//! Fetches QEMU and the kernels that the tests boot, from Debian's archive into `.tools/machines`.
//!
//! ```text
//! machines             fetch what is absent: quick if nothing is
//! machines --update    look for newer versions
//! machines --arm64     QEMU, kernel and guest root for arm64
//! ```

use std::io::{self, Write};

use anyhow::{Context, bail};
use xdp_connectx::machine::{Architecture, KernelSeries, MachineFiles, fetch};

fn main() -> anyhow::Result<()> {
    let (mut update, mut architecture) = (false, Architecture::Amd64);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--update" => update = true,
            "--arm64" => architecture = Architecture::Arm64,
            _ => bail!("unknown argument `{argument}`; usage: machines [--update] [--arm64]"),
        }
    }
    let series = match architecture {
        Architecture::Amd64 => &KernelSeries::ALL[..],
        Architecture::Arm64 => &[KernelSeries::Newest],
    };
    let report = fetch(&MachineFiles::of_project(), architecture, series, update)
        .context("cannot fetch the machines of the tests")?;
    let mut out = io::stdout().lock();
    writeln!(out, "machines: QEMU {} for {architecture}", report.qemu)?;
    for kernel in report.kernels {
        writeln!(
            out,
            "machines: {}: {kernel}, Debian {}",
            kernel.series, kernel.version
        )?;
    }
    for skipped in report.skipped {
        writeln!(out, "machines: SKIPPED {skipped}")?;
    }
    if let Some(error) = report.not_updated {
        writeln!(out, "machines: not updated, using the present versions: {error}")?;
    }
    Ok(())
}
