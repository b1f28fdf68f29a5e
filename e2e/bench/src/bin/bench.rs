//! `make bench`.

use std::path::PathBuf;

use clap::Parser;
use xdp_bench::suite::{BenchOptions, run, write_page};

/// Measures the product, compared with the alternatives.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Args {
    /// Run only these benchmarks, such as B2,B4.
    #[arg(
        long,
        env = "ONLY",
        value_delimiter = ',',
        default_value = "",
        hide_default_value = true
    )]
    only: Vec<String>,
    /// Run fewer trials and sizes, and write to target/benchmarks. Any value except 0 enables it.
    #[arg(long, env = "QUICK", default_value = "", hide_default_value = true)]
    quick: String,
    /// Duration of the soak (B13) in minutes.
    #[arg(long, env = "MINUTES", default_value = "0.5")]
    minutes: String,
    /// Directory of the results.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Only write the page and its plots again, from the stored results.
    #[arg(long)]
    page: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let quick = !matches!(args.quick.as_str(), "" | "0");
    let out = if quick {
        "target/benchmarks"
    } else {
        "docs/benchmarks"
    };
    let out = args.out.unwrap_or_else(|| out.into());
    if args.page {
        return write_page(&out);
    }
    run(BenchOptions {
        only: args.only.into_iter().filter(|id| !id.is_empty()).collect(),
        quick,
        // `make` may pass an empty value.
        minutes: args.minutes.parse().unwrap_or(0.5),
        out,
    })
}
