//! The node agent: loads, programs, verifies and reports the XDP data path of one node.

mod args;
pub mod datapath;
pub mod node;
mod reconcile;
pub mod report;
pub mod source;
pub mod uninstall;

use std::{
    error::Error,
    io::{
        Write as _, {self},
    },
};

use anyhow::Context as _;
pub use args::{Cli, Command};
use node::system;
use report::{explain, flows, status};

/// Carries out a command line.
pub fn execute(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Run(args) => {
            log(args.log_format);
            reconcile::run(&args)
        }
        Command::Status(args) => status(&args),
        Command::Explain(args) => explain(&args),
        Command::Flows(args) => flows(&args),
        Command::Uninstall(args) => uninstall(&args),
    }
}

fn status(args: &args::StatusArgs) -> anyhow::Result<()> {
    let status = status::collect(&args.pins.pin_dir).map_err(with_cause)?;
    let text = match args.output {
        args::Output::Table => status.table(),
        args::Output::Json => status.json(),
    };
    writeln!(io::stdout(), "{text}").context("the status cannot be printed")
}

fn explain(args: &args::ExplainArgs) -> anyhow::Result<()> {
    let text = explain::ask(args).map_err(with_cause)?;
    writeln!(io::stdout(), "{text}").context("the answer cannot be printed")
}

fn flows(args: &args::FlowsArgs) -> anyhow::Result<()> {
    let filter = flows::FlowFilter {
        pod: args.pod.clone(),
        remote: args.remote,
    };
    let flows = flows::collect(&args.pins.pin_dir, &filter).map_err(with_cause)?;
    let text = match args.output {
        args::Output::Table => flows.table(),
        args::Output::Json => flows.json(),
    };
    writeln!(io::stdout(), "{text}").context("the flows cannot be printed")
}

fn uninstall(args: &args::UninstallArgs) -> anyhow::Result<()> {
    // Half of it would work without, and leave the other half.
    system::check_permissions()?;
    let pin_dir = &args.pins.pin_dir;
    if args.wait {
        return uninstall::wait(pin_dir, args.listen);
    }
    let report = uninstall::uninstall(pin_dir)?;
    writeln!(io::stdout(), "{report}").context("the report cannot be printed")?;
    anyhow::ensure!(
        report.remains().is_empty(),
        "not everything could be removed, see above"
    );
    Ok(())
}

/// Without permission the answers take many shapes, not all of which say so.
fn with_cause(error: impl Error + Send + Sync + 'static) -> anyhow::Error {
    let error = anyhow::Error::new(error);
    match system::check_permissions() {
        Ok(()) => error,
        Err(missing) => error.context(missing),
    }
}

fn log(format: args::LogFormat) {
    use tracing_subscriber::{EnvFilter, fmt};
    // The client of the API server tells of every attempt that fails; the agent does so once, as a problem.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,kube_client=off"));
    let lines = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    match format {
        args::LogFormat::Text => lines.init(),
        args::LogFormat::Json => lines.json().init(),
    }
}
