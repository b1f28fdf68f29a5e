//! The order of programs at a hook.

use std::process::Command;

use xdp_agent::{
    datapath::{Attached, Datapath},
    testing::HostAndPod,
};
use xdp_core::tables::ABI_VERSION;
use xdp_plan::{
    change::Change,
    hook::{AttachPoint, Hook, Interface},
    installed::{HookState, Means, Program},
};

use crate::{attach::host0, bpffs::Bpffs, judge::apply};

fn read(fixture: &HostAndPod, datapath: &Datapath, hook: Hook) -> HookState {
    let point = AttachPoint::new(hook, host0(fixture));
    fixture.host.run(|| datapath.read_hook(point))
}

fn move_first(fixture: &HostAndPod, datapath: &mut Datapath, hook: Hook) {
    let host = host0(fixture);
    let change = Change::MoveFirst {
        point: AttachPoint::new(hook, host),
        interface: Interface {
            ifindex: host,
            name: "host0".into(),
            netns_id: None,
        },
    };
    fixture.host.run(|| apply(datapath, &[change]));
}

#[test]
fn a_program_is_moved_in_front_of_one_that_came_later() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let host = host0(&fixture);
    let open = |name: &str| Datapath::open(&bpffs.pin_dir().with_file_name(name)).unwrap();
    let (mut other, mut datapath) = (open("other"), open("own"));
    for hook in Hook::REPLY_PATH {
        for owner in [&mut datapath, &mut other] {
            fixture
                .host
                .run(|| owner.attach_hook(hook, host, "host0"))
                .unwrap();
        }
        assert_eq!(read(&fixture, &datapath, hook).before.len(), 1, "{hook:?}");
        move_first(&fixture, &mut datapath, hook);
        let state = read(&fixture, &datapath, hook);
        assert_eq!((state.program, state.means), (Program::Current, Some(Means::Tcx)));
        assert_eq!((state.before.len(), state.after.len()), (0, 1), "{hook:?}");

        // The pin holds the new link: another agent adopts it, and it can be detached.
        drop(datapath);
        datapath = open("own");
        let attached = fixture.host.run(|| datapath.attach_hook(hook, host, "host0"));
        assert_eq!(attached.unwrap(), (Means::Tcx, Attached::Adopted));
        assert!(fixture.host.run(|| datapath.detach_hook(hook, host)).unwrap());
        assert_eq!(read(&fixture, &other, hook).after, [], "{hook:?}");
        assert!(fixture.host.run(|| other.detach_hook(hook, host)).unwrap());
    }
}

#[test]
fn a_filter_is_moved_in_front_of_one_that_came_later() {
    let (fixture, bpffs) = (HostAndPod::new(), Bpffs::new());
    let host = host0(&fixture);
    let mut datapath = Datapath::open(&bpffs.pin_dir()).unwrap();
    let mut attach = |hook| {
        fixture
            .host
            .run(|| datapath.attach_hook_clsact(hook, host, "host0"))
    };
    for hook in [Hook::PodOut, Hook::NicOut] {
        attach(hook).unwrap();
    }
    let pinned = bpffs
        .pin_dir()
        .join(format!("abi-{ABI_VERSION}/links/nic-out-clsact-{host}"));
    let filter = format!(
        "-n {} filter add dev host0 ingress prio 1 handle 1 bpf da object-pinned {}",
        fixture.host.name,
        pinned.display()
    );
    let status = Command::new("tc").args(filter.split(' ')).status().unwrap();
    assert!(status.success(), "tc {filter}");
    assert_eq!(read(&fixture, &datapath, Hook::PodOut).before.len(), 1);
    move_first(&fixture, &mut datapath, Hook::PodOut);
    let state = read(&fixture, &datapath, Hook::PodOut);
    assert_eq!(
        (state.program, state.means),
        (Program::Current, Some(Means::Clsact))
    );
    assert_eq!((state.before.len(), state.after.len()), (0, 1));
}
