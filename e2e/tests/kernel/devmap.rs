//! The devmap: whose interface an entry is, how long it lasts, what its absence does.

use crate::{
    programs::{Tracer, errno},
    shared::{Event, Plan},
    wait,
    wire::frame,
    world::{NIC_MAC, SLOT, World, XDP_ABORTED, XDP_PASS, XDP_REDIRECT, redirect},
};

#[test]
fn a_program_can_look_its_devmap_up() {
    let mut world = World::redirecting(redirect());
    world.send(1);
    assert_eq!(world.programs.seen_after(1).device, world.host);
    world.programs.devices.set(SLOT, 0, None, 0).unwrap();
    world.send(1);
    assert_eq!(world.programs.seen_after(2).device, 0);
}

#[test]
fn an_entry_vanishes_with_its_device() {
    let world = World::redirecting(redirect());
    assert_eq!(device(&world), Some(world.host));
    world.node.command("ip link del h0");
    assert_eq!(device(&world), None);
    world.send(1);
    let seen = world.programs.seen_after(1);
    assert_eq!((seen.device, seen.action), (0, XDP_PASS));
}

#[test]
fn an_entry_vanishes_when_its_device_moves_to_another_namespace() {
    let world = World::redirecting(redirect());
    world
        .node
        .command(&format!("ip link set h0 netns {}", world.client.path()));
    assert_eq!(device(&world), None);
}

#[test]
fn an_entry_vanishes_when_the_pods_namespace_goes() {
    let World {
        pod,
        node,
        programs,
        links,
        host,
        ..
    } = World::redirecting(redirect());
    assert_eq!(programs.devices.get(SLOT, 0).unwrap().if_index, host);
    drop((pod, links));
    wait::until("the entry vanished", || {
        programs.devices.get(SLOT, 0).is_err().then_some(())
    });
    assert!(node.try_command("ip link show h0").is_err());
}

#[test]
fn an_entry_stays_while_its_device_is_down() {
    let world = World::redirecting(redirect());
    world.node.command("ip link set h0 down");
    assert_eq!(device(&world), Some(world.host));
}

#[test]
fn a_missing_key_answers_with_the_flags_and_leaves_the_packet_to_the_stack() {
    let mut world = World::passing(redirect());
    world.programs.plan(Plan {
        header: [0; 14],
        ..redirect()
    });
    let mut tracer = Tracer::start();
    world.send(1);
    assert_eq!(world.programs.seen_after(1).action, XDP_PASS);
    assert_eq!(world.programs.record().bytes[..64], frame(NIC_MAC, 64));
    assert_eq!(tracer.events(world.nic), []);
}

#[test]
fn a_missing_key_without_flags_aborts_the_packet() {
    let mut world = World::passing(redirect());
    world.programs.plan(Plan {
        redirect_flags: 0,
        ..redirect()
    });
    let mut tracer = Tracer::start();
    world.send(1);
    assert_eq!(world.programs.seen_after(1).action, XDP_ABORTED);
    let expected = Event {
        kind: Event::EXCEPTION,
        from: world.nic,
        action: XDP_ABORTED,
        ..Event::default()
    };
    assert_eq!(tracer.events_after(world.nic, 1), [expected]);
}

#[test]
fn a_present_key_answers_redirect() {
    let world = World::redirecting(redirect());
    world.send(1);
    assert_eq!(world.programs.seen_after(1).action, XDP_REDIRECT);
}

#[test]
fn a_map_is_filled_from_the_devices_own_namespace_only() {
    let mut world = World::new();
    let host = world.host;
    let refused = world
        .client
        .run(|| world.programs.devices.set(SLOT, host, None, 0))
        .unwrap_err();
    assert_eq!(errno(&refused), Some(libc::EINVAL));
    assert_eq!(device(&world), None);
    world.add_pod_to_devmap();
    assert_eq!(device(&world), Some(host));
}

fn device(world: &World) -> Option<u32> {
    Some(world.programs.devices.get(SLOT, 0).ok()?.if_index)
}
