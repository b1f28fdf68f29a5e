//! Builds the rivals' eBPF object, and the product's: as it is, whose load is timed, and without what it
//! knows of flows.

fn main() -> anyhow::Result<()> {
    xdp_ebpf_build::build("xdp-bench-ebpf")?;
    xdp_ebpf_build::build("xdp-ebpf")?;
    xdp_ebpf_build::build_with("xdp-ebpf", &["without-flows"])
}
