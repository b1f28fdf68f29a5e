//! The node agent: loads, programs, verifies and reports the XDP data path of one node.

mod args;
pub mod datapath;
pub mod ethtool;
pub mod netlink;
pub mod netns;
pub mod nic;
pub mod readiness;
mod run;
pub mod source;
pub mod status;
pub mod system;
pub mod uninstall;

pub use args::{Cli, Command};

/// Carries out a command line.
pub fn execute(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Run(args) => {
            log(args.log_format);
            run::run(&args)
        }
        Command::Status(_) => Ok(()),
        Command::Uninstall(_) => Ok(()),
    }
}

fn log(format: args::LogFormat) {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    match format {
        args::LogFormat::Text => lines.init(),
        args::LogFormat::Json => lines.json().init(),
    }
}
