//! Reads the facts about interfaces that may be NICs.

use xdp_plan::nics::{HostLink, NicFacts, XdpState};

use crate::node::{
    ethtool,
    netlink::{NetlinkError, genl},
};

/// Reads the facts about the interfaces of the calling thread's namespace. What a driver does not answer
/// stays empty.
pub fn nic_facts(links: &[HostLink]) -> Result<Vec<NicFacts>, NetlinkError> {
    let mut netdev = genl::Netdev::open()?;
    let describe = |link: &HostLink| NicFacts {
        link: link.clone(),
        driver: ethtool::driver(&link.name).unwrap_or_default(),
        features: netdev
            .as_mut()
            .and_then(|netdev| netdev.xdp_features(link.ifindex).ok()),
        lro: ethtool::lro(&link.name).unwrap_or_default(),
        upper: upper_program(link, links),
        program_tag: None,
    };
    Ok(links.iter().map(describe).collect())
}

fn upper_program(link: &HostLink, links: &[HostLink]) -> Option<(String, XdpState)> {
    let upper = links.iter().find(|other| Some(other.ifindex) == link.master)?;
    upper.xdp.program_id.map(|_| (upper.name.clone(), upper.xdp))
}
