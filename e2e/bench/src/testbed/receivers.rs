//! Receivers in pods.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use xdp_lab::{LabPod, bpf::BpfAttachType};

use crate::{instruments::Instruments, sys};

/// Programs in pods that stay attached until it is dropped.
pub struct Receivers {
    _links: Vec<OwnedFd>,
}

impl Receivers {
    /// Attaches a program to the interface of each pod.
    pub fn attach(
        instruments: &Instruments,
        program: &str,
        hook: BpfAttachType,
        pods: &[LabPod],
    ) -> Result<Self> {
        let fd = instruments.program(program)?;
        let attach = |pod: &LabPod| {
            let index = pod.ifindex;
            pod.ns
                .run(|| sys::attach(&fd, index, hook))?
                .with_context(|| format!("`{program}` in {}", pod.ns.name()))
        };
        let links = pods.iter().map(attach).collect::<Result<Vec<_>>>()?;
        Ok(Self { _links: links })
    }
}
