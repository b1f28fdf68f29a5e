//! `make bench-nic NIC=…`.

use clap::Parser;
use xdp_bench::nic::{NicBenchOptions, run};

/// Measures packets that an external sender sends to a NIC.
#[derive(Debug, Parser)]
#[command(name = "bench-nic")]
struct Args {
    /// The NIC, which the benchmark uses exclusively; `lab` creates a veth pair and sends by itself.
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
        "no NIC is given; run make bench-nic NIC=enp1s0f0np0, or NIC=lab to try it without one"
    );
    run(&NicBenchOptions {
        nic: args.nic,
        seconds: args.seconds.parse().unwrap_or(2.0),
    })
}
