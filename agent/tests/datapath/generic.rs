//! Generic mode, where the driver has no XDP.

use xdp_agent::{
    datapath::{Attached, Datapath},
    node::netlink::{XdpMode, host_links},
};
use xdp_plan::hook::Hook;

use crate::{bpffs::Bpffs, world::World};

#[test]
fn a_bridge_takes_the_program_in_generic_mode_and_keeps_it() {
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
    // Who asks for the driver later adopts what is there, and its mode with it.
    let attached = world.host.run(|| datapath.attach_nic(ifindex)).unwrap();
    assert_eq!(attached, Attached::Adopted);
    assert_eq!(bridge().xdp.mode, XdpMode::Generic);
    assert!(datapath.detach_hook(Hook::Nic, ifindex).unwrap());
    assert_eq!(bridge().xdp.mode, XdpMode::None);
}
