//! Fetches QEMU and the kernels that the tests boot, from Debian's archive into `.tools/machines`; or boots
//! one.
//!
//! ```text
//! machines              fetch what is absent: quick if nothing is
//! machines --update     look for newer versions
//! machines --arm64      QEMU, kernel and guest root for arm64
//! machines [--arm64] run SERIES PROGRAM [ARGUMENT...]
//!                       boot a kernel (6.12, lts, newest) with a ConnectX-6 Dx without a wire, run a program
//!                       of the host in it, and print everything
//! ```

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};
use xdp_connectx::{
    Card, Profile,
    machine::{Architecture, KernelSeries, Machine, MachineFiles, MachineLimits, fetch},
};

const USAGE: &str = "usage: machines [--update] [--arm64] [run SERIES PROGRAM [ARGUMENT...]]";

fn main() -> anyhow::Result<ExitCode> {
    let (mut update, mut architecture) = (false, Architecture::Amd64);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--update" => update = true,
            "--arm64" => architecture = Architecture::Arm64,
            "run" => return run(architecture, arguments),
            _ => bail!("unknown argument `{argument}`; {USAGE}"),
        }
    }
    prepare(architecture, update)?;
    Ok(ExitCode::SUCCESS)
}

fn prepare(architecture: Architecture, update: bool) -> anyhow::Result<()> {
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

fn run(architecture: Architecture, mut arguments: impl Iterator<Item = String>) -> anyhow::Result<ExitCode> {
    let series: KernelSeries = arguments.next().context(USAGE)?.parse()?;
    let program = arguments.next().context(USAGE)?;
    let files = MachineFiles::of_project();
    let kernel = files.kernel(series, architecture)?;
    let mut builder = Machine::builder(&files, &kernel)?;
    let _card = Card::insert(&builder.card("nic0"), Profile::CONNECTX_6_DX)?;
    let mut machine = builder.command(program, arguments).log("/dev/stdout").start()?;
    let result = machine.wait(MachineLimits::default())?;
    let mut out = io::stdout().lock();
    for warning in &result.warnings {
        writeln!(out, "kernel warning: {warning}")?;
    }
    writeln!(out, "exit code {} on {kernel}", result.code)?;
    let failed = !result.warnings.is_empty() && result.code == 0;
    Ok(ExitCode::from(if failed {
        1
    } else {
        result.code.clamp(0, 255) as u8
    }))
}
