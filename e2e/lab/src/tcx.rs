//! Classifiers of others on interfaces.

use std::io;
use std::os::fd::OwnedFd;

use crate::bpf::{self, Pass};
use crate::{LabError, Namespace};

/// Where classifiers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What comes in.
    Ingress,
    /// What goes out.
    Egress,
}

/// Others' classifiers, which are there as long as this lives.
#[derive(Debug)]
pub struct Crowd {
    _links: Vec<OwnedFd>,
}

/// As many as the kernel allows (`BPF_MPROG_MAX` in `include/linux/bpf_mprog.h`, Linux 6.18).
const MOST: usize = 64;

impl Namespace {
    /// Fills an interface with classifiers that do nothing, so that it refuses the next one (`ERANGE`).
    pub fn crowd(&self, interface: &str, direction: Direction) -> Result<Crowd, LabError> {
        let index = self.interface(interface)?.index;
        let attach_type = match direction {
            Direction::Ingress => 46,
            Direction::Egress => 47,
        };
        let fill = || -> io::Result<Vec<OwnedFd>> {
            let program = bpf::load(Pass::Classifier)?;
            (0..MOST)
                .map(|_| bpf::link_tcx(&program, index, attach_type))
                .collect()
        };
        let links = self.run(fill)?.map_err(|source| LabError::Netlink {
            namespace: self.name().to_owned(),
            request: format!("fill `{interface}` with classifiers"),
            source,
        })?;
        Ok(Crowd { _links: links })
    }
}
