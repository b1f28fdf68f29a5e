//! `make demo`.

fn main() -> anyhow::Result<std::process::ExitCode> {
    xdp_e2e::demo::run(std::env::var_os("KEEP").is_some_and(|keep| !keep.is_empty()))
}
