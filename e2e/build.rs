//! Builds the eBPF object that the tests of kernel facts load.

fn main() -> anyhow::Result<()> {
    xdp_ebpf_build::build("xdp-e2e-ebpf")
}
