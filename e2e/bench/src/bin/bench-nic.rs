//! `make bench-nic NIC=…`.

use clap::Parser;
use xdp_bench::nic::{NicBenchOptions, run};

/// Measures on a NIC what somebody else sends.
#[derive(Debug, Parser)]
#[command(name = "bench-nic")]
struct Args {
    /// The NIC, which belongs to the benchmark while it runs; `lab` makes a veth pair and sends by itself.
    #[arg(long, env = "NIC")]
    nic: String,
    /// How long each program is measured in each pass.
    #[arg(long, env = "SECONDS_EACH", default_value = "", hide_default_value = true)]
    seconds: String,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    anyhow::ensure!(
        !args.nic.is_empty(),
        "which NIC? make bench-nic NIC=enp1s0f0np0, or NIC=lab to try it without one"
    );
    run(&NicBenchOptions {
        nic: args.nic,
        seconds: args.seconds.parse().unwrap_or(2.0),
    })
}
