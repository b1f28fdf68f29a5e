//! tcx programs of other owners on an interface.

use std::{io, os::fd::OwnedFd};

use crate::{
    LabError, Namespace,
    bpf::{
        BpfAttachType, ProgramType, {self},
    },
};

/// Where tcx programs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcxDirection {
    /// On received packets.
    Ingress,
    /// On packets to be sent.
    Egress,
}

/// As many tcx programs as an interface takes. They stay attached while this value lives.
#[derive(Debug)]
pub struct TcxCrowd {
    _links: Vec<OwnedFd>,
}

impl Namespace {
    /// Fills an interface with tcx programs that do nothing, until the kernel refuses the next one
    /// (`ERANGE`).
    pub fn crowd(&self, interface: &str, direction: TcxDirection) -> Result<TcxCrowd, LabError> {
        let index = self.interface(interface)?.index;
        let to = match direction {
            TcxDirection::Ingress => BpfAttachType::TcxIngress,
            TcxDirection::Egress => BpfAttachType::TcxEgress,
        };
        let links = self
            .run(|| fill(index, to))?
            .map_err(|source| LabError::Netlink {
                namespace: self.name().to_owned(),
                request: format!("fill `{interface}` with tcx programs"),
                source,
            })?;
        Ok(TcxCrowd { _links: links })
    }
}

/// The kernel attaches a program only once per hook, so each link gets a program of its own.
fn fill(ifindex: u32, to: BpfAttachType) -> io::Result<Vec<OwnedFd>> {
    let mut links = Vec::new();
    loop {
        match bpf::link_create(bpf::load_pass(ProgramType::SchedCls)?, ifindex, to, 0) {
            Ok(link) => links.push(link),
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) => return Ok(links),
            Err(error) => return Err(error),
        }
    }
}
