//! `make conformance-netpol`.

fn main() -> anyhow::Result<()> {
    xdp_e2e::conformance::netpol()
}
