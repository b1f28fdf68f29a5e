//! Generic mode on an interface whose driver does not support XDP.

use xdp_agent::{
    datapath::{Attached, Datapath},
    node::netlink::{XdpMode, host_links},
};
use xdp_plan::hook::Hook;

use crate::{bpffs::Bpffs, world::World};

#[test]
fn a_program_in_generic_mode_on_a_bridge_keeps_its_mode() {
    let (world, bpffs) = (World::new(), Bpffs::new());
    world.host.ip("link add bridge0 type bridge");
    let bridge = || {
        let links = world.host.run(|| host_links().unwrap());
        links.into_iter().find(|link| link.name == "bridge0").unwrap()
    };
    let ifindex = bridge().ifindex;
    let datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let attached = world.host.run(|| datapath.attach_generic(ifindex)).unwrap();
    assert_eq!(attached, Attached::Created);
    assert_eq!(bridge().xdp.mode, XdpMode::Generic);
    // A later attachment in driver mode adopts the program, and its mode.
    let attached = world.host.run(|| datapath.attach_nic(ifindex)).unwrap();
    assert_eq!(attached, Attached::Adopted);
    assert_eq!(bridge().xdp.mode, XdpMode::Generic);
    assert!(datapath.detach_hook(Hook::Nic, ifindex).unwrap());
    assert_eq!(bridge().xdp.mode, XdpMode::None);
}
