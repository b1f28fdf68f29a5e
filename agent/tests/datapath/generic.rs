//! Generic mode on an interface whose driver does not support XDP.

use xdp_agent::{
    datapath::{Attached, Datapath},
    node::netlink::host_links,
    testing::HostAndPod,
};
use xdp_plan::{hook::Hook, nics::XdpMode};

use crate::bpffs::Bpffs;

#[test]
fn a_program_in_generic_mode_on_a_bridge_keeps_its_mode() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    fixture.host.ip("link add bridge0 type bridge");
    let bridge = || {
        let links = fixture.host.run(|| host_links().unwrap());
        links.into_iter().find(|link| link.name == "bridge0").unwrap()
    };
    let ifindex = bridge().ifindex;
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let attached = fixture.host.run(|| datapath.attach_generic(ifindex)).unwrap();
    assert_eq!(attached, Attached::Created);
    assert_eq!(bridge().xdp.mode, XdpMode::Generic);
    // A later attachment in driver mode adopts the program, and its mode.
    let attached = fixture.host.run(|| datapath.attach_nic(ifindex)).unwrap();
    assert_eq!(attached, Attached::Adopted);
    assert_eq!(bridge().xdp.mode, XdpMode::Generic);
    assert!(datapath.detach_hook(Hook::Nic, ifindex).unwrap());
    assert_eq!(bridge().xdp.mode, XdpMode::None);
}
