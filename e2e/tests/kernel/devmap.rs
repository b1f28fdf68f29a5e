//! The devmap: the namespace of its entries, their lifetime, and redirects to a missing entry.

use crate::{
    fixture::{Fixture, NIC_MAC, SLOT, XDP_ABORTED, XDP_PASS, XDP_REDIRECT, redirect},
    programs::{Tracer, errno},
    shared::{ProbePlan, TraceEvent},
    wait,
    wire::frame,
};

#[test]
fn a_program_can_look_up_its_devmap() {
    let mut fixture = Fixture::redirecting(redirect());
    fixture.send(1);
    assert_eq!(fixture.programs.seen_after(1).device, fixture.host);
    fixture.programs.devices.set(SLOT, 0, None, 0).unwrap();
    fixture.send(1);
    assert_eq!(fixture.programs.seen_after(2).device, 0);
}

#[test]
fn an_entry_vanishes_with_its_device() {
    let fixture = Fixture::redirecting(redirect());
    assert_eq!(device(&fixture), Some(fixture.host));
    fixture.node.command("ip link del h0");
    assert_eq!(device(&fixture), None);
    fixture.send(1);
    let seen = fixture.programs.seen_after(1);
    assert_eq!((seen.device, seen.action), (0, XDP_PASS));
}

#[test]
fn an_entry_vanishes_when_its_device_moves_to_another_namespace() {
    let fixture = Fixture::redirecting(redirect());
    fixture
        .node
        .command(&format!("ip link set h0 netns {}", fixture.client.path()));
    assert_eq!(device(&fixture), None);
}

#[test]
fn an_entry_vanishes_when_the_pods_namespace_goes() {
    let Fixture {
        pod,
        node,
        programs,
        links,
        host,
        ..
    } = Fixture::redirecting(redirect());
    assert_eq!(programs.devices.get(SLOT, 0).unwrap().if_index, host);
    drop((pod, links));
    wait::until("the entry vanished", || {
        programs.devices.get(SLOT, 0).is_err().then_some(())
    });
    assert!(node.try_command("ip link show h0").is_err());
}

#[test]
fn an_entry_stays_while_its_device_is_down() {
    let fixture = Fixture::redirecting(redirect());
    fixture.node.command("ip link set h0 down");
    assert_eq!(device(&fixture), Some(fixture.host));
}

#[test]
fn a_missing_key_returns_the_flags_as_action() {
    let mut fixture = Fixture::passing(redirect());
    fixture.programs.plan(ProbePlan {
        header: [0; 14],
        ..redirect()
    });
    let mut tracer = Tracer::start();
    fixture.send(1);
    assert_eq!(fixture.programs.seen_after(1).action, XDP_PASS);
    assert_eq!(fixture.programs.record().bytes[..64], frame(NIC_MAC, 64));
    assert_eq!(tracer.events(fixture.nic), []);
}

#[test]
fn a_missing_key_without_flags_aborts_the_packet() {
    let mut fixture = Fixture::passing(redirect());
    fixture.programs.plan(ProbePlan {
        redirect_flags: 0,
        ..redirect()
    });
    let mut tracer = Tracer::start();
    fixture.send(1);
    assert_eq!(fixture.programs.seen_after(1).action, XDP_ABORTED);
    let expected = TraceEvent {
        kind: TraceEvent::EXCEPTION,
        from: fixture.nic,
        action: XDP_ABORTED,
        ..TraceEvent::default()
    };
    assert_eq!(tracer.events_after(fixture.nic, 1), [expected]);
}

#[test]
fn a_present_key_returns_redirect() {
    let fixture = Fixture::redirecting(redirect());
    fixture.send(1);
    assert_eq!(fixture.programs.seen_after(1).action, XDP_REDIRECT);
}

#[test]
fn an_entry_can_be_set_only_from_the_devices_namespace() {
    let mut fixture = Fixture::new();
    let host = fixture.host;
    let refused = fixture
        .client
        .run(|| fixture.programs.devices.set(SLOT, host, None, 0))
        .unwrap_err();
    assert_eq!(errno(&refused), Some(libc::EINVAL));
    assert_eq!(device(&fixture), None);
    fixture.add_pod_to_devmap();
    assert_eq!(device(&fixture), Some(host));
}

fn device(fixture: &Fixture) -> Option<u32> {
    Some(fixture.programs.devices.get(SLOT, 0).ok()?.if_index)
}
