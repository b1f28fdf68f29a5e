//! Builds the eBPF object that the agent embeds.

fn main() -> anyhow::Result<()> {
    xdp_ebpf_build::build("xdp-ebpf")
}
