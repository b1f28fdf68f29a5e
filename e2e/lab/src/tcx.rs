//! tcx programs of other owners on an interface.

use std::{io, os::fd::OwnedFd};

use crate::{
    LabError, Namespace,
    bpf::{
        BpfAttachType, {self},
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

/// What a tcx program returns for every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum TcxVerdict {
    /// The next program decides.
    Next = -1,
    /// The stack takes the packet; programs behind this one do not see it.
    Pass = 0,
}

/// A tcx program of another owner. It stays attached while this value lives.
#[derive(Debug)]
pub struct TcxProgram {
    _link: OwnedFd,
}

/// As many tcx programs as an interface takes. They stay attached while this value lives.
#[derive(Debug)]
pub struct TcxCrowd {
    _links: Vec<OwnedFd>,
}

impl Namespace {
    /// Attaches a tcx program before the others.
    pub fn tcx_first(
        &self,
        interface: &str,
        direction: TcxDirection,
        verdict: TcxVerdict,
    ) -> Result<TcxProgram, LabError> {
        let attach = |index, to| {
            let program = bpf::load_classifier(verdict as i32)?;
            bpf::link_create(program, index, to, bpf::BPF_F_BEFORE)
        };
        let link = self.tcx(interface, direction, attach)?;
        Ok(TcxProgram { _link: link })
    }

    /// Fills an interface with tcx programs that do nothing, until the kernel refuses the next one
    /// (`ERANGE`). They come before those that are there.
    pub fn crowd(&self, interface: &str, direction: TcxDirection) -> Result<TcxCrowd, LabError> {
        let links = self.tcx(interface, direction, fill)?;
        Ok(TcxCrowd { _links: links })
    }

    fn tcx<T: Send>(
        &self,
        interface: &str,
        direction: TcxDirection,
        attach: impl FnOnce(u32, BpfAttachType) -> io::Result<T> + Send,
    ) -> Result<T, LabError> {
        let index = self.interface(interface)?.index;
        let to = match direction {
            TcxDirection::Ingress => BpfAttachType::TcxIngress,
            TcxDirection::Egress => BpfAttachType::TcxEgress,
        };
        self.run(|| attach(index, to))?
            .map_err(|source| LabError::Netlink {
                namespace: self.name().to_owned(),
                request: format!("attach tcx programs to `{interface}`"),
                source,
            })
    }
}

/// The kernel attaches a program only once per hook, so each link gets a program of its own.
fn fill(ifindex: u32, to: BpfAttachType) -> io::Result<Vec<OwnedFd>> {
    let mut links = Vec::new();
    loop {
        let program = bpf::load_classifier(TcxVerdict::Next as i32)?;
        match bpf::link_create(program, ifindex, to, bpf::BPF_F_BEFORE) {
            Ok(link) => links.push(link),
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) => return Ok(links),
            Err(error) => return Err(error),
        }
    }
}
