//! The node agent: loads, programs, verifies and reports the XDP data path of one node.

mod args;
pub mod datapath;
pub mod node;
mod reconcile;
pub mod report;
pub mod source;
#[cfg(feature = "testing")]
pub mod testing;
pub mod uninstall;

use std::error::Error;

use anyhow::Context as _;
pub use args::{Cli, Command};
use node::system;
use report::{explain, flows, output, preflight, status};
use xdp_plan::nics::NicSelector;

/// Executes a command line.
pub fn execute(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Run(args) => {
            args.log_format.init();
            reconcile::run(&args)
        }
        Command::Status(args) => status(&args),
        Command::Explain(args) => explain(&args),
        Command::Flows(args) => flows(&args),
        Command::Preflight(args) => preflight(&args),
        Command::Uninstall(args) => uninstall(&args),
    }
}

fn status(args: &args::StatusArgs) -> anyhow::Result<()> {
    let status = status::collect(&args.pins.pin_dir).map_err(with_cause)?;
    print(&match args.output {
        args::Output::Table => status.table(),
        args::Output::Json => output::json(&status),
    })
}

fn explain(args: &args::ExplainArgs) -> anyhow::Result<()> {
    print(&explain::ask(args).map_err(with_cause)?)
}

fn flows(args: &args::FlowsArgs) -> anyhow::Result<()> {
    let filter = flows::FlowFilter {
        pod: args.pod.clone(),
        remote: args.remote,
    };
    let flows = flows::collect(&args.pins.pin_dir, &filter).map_err(with_cause)?;
    print(&match args.output {
        args::Output::Table => flows.table(),
        args::Output::Json => output::json(&flows),
    })
}

fn preflight(args: &args::PreflightArgs) -> anyhow::Result<()> {
    let selector = NicSelector {
        globs: args.names.clone(),
        drivers: args.drivers.clone(),
        pci: args.pci.clone(),
        virtual_functions: args.virtual_functions,
        allow_generic: false,
    };
    let report = preflight::collect(&selector, &args.pins.pin_dir)?;
    print(&match args.output {
        args::Output::Table => report.table(),
        args::Output::Json => output::json(&report),
    })?;
    anyhow::ensure!(report.passed, "not every check passed, see above");
    Ok(())
}

fn uninstall(args: &args::UninstallArgs) -> anyhow::Result<()> {
    // Without the capabilities, only a part would be removed.
    system::check_permissions()?;
    let pin_dir = &args.pins.pin_dir;
    if args.wait {
        return uninstall::wait(pin_dir, args.health_probe_bind_address);
    }
    let report = uninstall::uninstall(pin_dir)?;
    print(&report.to_string())?;
    anyhow::ensure!(
        report.remains().is_empty(),
        "not everything could be removed, see above"
    );
    Ok(())
}

fn print(text: &str) -> anyhow::Result<()> {
    output::print(text).context("cannot write to standard output")
}

/// Adds the missing capabilities to an error: without them, errors vary, and not all of them say why.
fn with_cause(error: impl Error + Send + Sync + 'static) -> anyhow::Error {
    let error = anyhow::Error::new(error);
    match system::check_permissions() {
        Ok(()) => error,
        Err(missing) => error.context(missing),
    }
}
