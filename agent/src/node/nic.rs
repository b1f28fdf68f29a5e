//! Reads the facts about interfaces that may be NICs.

use std::path::Path;

use xdp_plan::nics::{HostLink, NicFacts, XdpState, few_strides};

use crate::node::{
    ethtool,
    kernel_log::KernelLog,
    netlink::{NetlinkError, ethnl, genl, rp_filters, with_networks},
};

/// Reads the facts about the interfaces of the calling thread's namespace. What a driver does not answer
/// stays empty.
pub fn nic_facts(links: &[HostLink]) -> Result<Vec<NicFacts>, NetlinkError> {
    let mut netdev = genl::Netdev::open()?;
    let mut rings = ethnl::Ethnl::open()?;
    let rp_filters = rp_filters()?;
    let with_networks = with_networks()?;
    let describe = |link: &HostLink| {
        let driver = ethtool::driver(&link.name).unwrap_or_default();
        // There may be hundreds of virtual interfaces, and none of them has these.
        let hardware = Some(link).filter(|_| !driver.bus.is_empty());
        let features = hardware.and_then(|link| ethtool::features(&link.name).ok());
        let private = hardware.and_then(|link| ethtool::private_flags(&link.name).ok());
        let on = |flags: Option<&ethtool::Flags>, name| ethtool::flag(flags?, name);
        let striding = on(private.as_ref(), "rx_striding_rq");
        NicFacts {
            link: link.clone(),
            features: netdev
                .as_mut()
                .and_then(|netdev| netdev.xdp_features(link.ifindex).ok()),
            has_network: with_networks.contains(&link.ifindex),
            lro: ethtool::lro(&link.name).unwrap_or_default(),
            hw_gro: on(features.as_ref(), "rx-gro-hw").unwrap_or_default(),
            data_split: hardware
                .zip(rings.as_mut())
                .is_some_and(|(link, rings)| rings.data_split(link.ifindex).unwrap_or_default()),
            striding,
            few_strides: Some(&driver.bus)
                .filter(|_| striding == Some(true) && link.xdp.program_id.is_none())
                .and_then(|bus| few_strides(&KernelLog::open()?.messages(&[bus]))),
            virtual_function: is_virtual_function(&driver.bus),
            rp_filter: rp_filters.effective(link.ifindex),
            upper: upper_program(link, links),
            program_tag: None,
            driver,
        }
    };
    Ok(links.iter().map(describe).collect())
}

/// Returns whether a bus address is that of a virtual function (SR-IOV). The PCI devices of sysfs do not
/// depend on the network namespace.
pub(crate) fn is_virtual_function(bus: &str) -> bool {
    !bus.is_empty()
        && Path::new("/sys/bus/pci/devices")
            .join(bus)
            .join("physfn")
            .exists()
}

fn upper_program(link: &HostLink, links: &[HostLink]) -> Option<(String, XdpState)> {
    let upper = links.iter().find(|other| Some(other.ifindex) == link.master)?;
    upper.xdp.program_id.map(|_| (upper.name.clone(), upper.xdp))
}
