//! The types of xdp-plan that the decoders use, from its own files. The Kubernetes API, which the whole of it
//! needs, takes minutes to build with coverage.

/// `xdp_plan::nics`.
pub mod nics {
    pub use super::link::*;
}

/// `xdp_plan::facts`.
pub mod facts {
    pub use super::wanted::*;
}

/// `xdp_plan::connections`.
pub mod connections {
    pub use super::listed::*;
}

#[path = "../../plan/src/nics/link.rs"]
mod link;
#[path = "../../plan/src/connections/listed.rs"]
mod listed;
#[path = "../../plan/src/facts/wanted.rs"]
mod wanted;
