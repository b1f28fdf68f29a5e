//! Classifiers of others on interfaces.

use std::{io, os::fd::OwnedFd};

use crate::{
    LabError, Namespace,
    bpf::{
        Pass, {self},
    },
};

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

impl Namespace {
    /// Fills an interface with classifiers that do nothing, until it refuses the next one (`ERANGE`).
    pub fn crowd(&self, interface: &str, direction: Direction) -> Result<Crowd, LabError> {
        let index = self.interface(interface)?.index;
        let attach_type = match direction {
            Direction::Ingress => 46,
            Direction::Egress => 47,
        };
        let fill = || fill(index, attach_type);
        let links = self.run(fill)?.map_err(|source| LabError::Netlink {
            namespace: self.name().to_owned(),
            request: format!("fill `{interface}` with classifiers"),
            source,
        })?;
        Ok(Crowd { _links: links })
    }
}

/// One program is taken only once, so each of them is another.
fn fill(ifindex: u32, attach_type: u32) -> io::Result<Vec<OwnedFd>> {
    let mut links = Vec::new();
    loop {
        match bpf::link_tcx(&bpf::load(Pass::Classifier)?, ifindex, attach_type) {
            Ok(link) => links.push(link),
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) => return Ok(links),
            Err(error) => return Err(error),
        }
    }
}
