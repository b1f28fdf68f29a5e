//! Builds the rivals' eBPF object.

fn main() -> anyhow::Result<()> {
    xdp_ebpf_build::build("xdp-bench-ebpf")
}
