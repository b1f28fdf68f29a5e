//! Builds the rivals' eBPF object, and the product's, whose load is timed.

fn main() -> anyhow::Result<()> {
    xdp_ebpf_build::build("xdp-bench-ebpf")?;
    xdp_ebpf_build::build("xdp-ebpf")
}
