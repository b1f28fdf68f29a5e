//! XDP links: attaching, lifetime, and replacement of the program.

use std::{
    env, fs,
    path::PathBuf,
    process,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Instant,
};

use xdp_lab::bpf::{
    XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, {self},
};

use crate::{
    fixture::{Fixture, SLOT, pass, redirect},
    programs::Programs,
    wait,
};

#[test]
fn a_second_link_on_the_same_nic_is_refused_with_ebusy() {
    let fixture = Fixture::passing(pass());
    let refused = fixture.try_attach_xdp(XDP_FLAGS_DRV_MODE).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EBUSY));
    fixture.send(1);
    fixture.programs.seen_after(1);
}

#[test]
fn generic_mode_next_to_native_mode_is_refused_with_eexist() {
    let fixture = Fixture::passing(pass());
    let refused = fixture.try_attach_xdp(XDP_FLAGS_SKB_MODE).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EEXIST));
}

#[test]
fn netlink_can_neither_remove_nor_replace_a_links_program() {
    let fixture = Fixture::passing(pass());
    let pins = Pins::new();
    let mut other = Programs::load();
    other.pin_xdp(&pins.path("other"));
    let replace = format!(
        "ip -force link set n0 xdpdrv pinned {}",
        pins.path("other").display()
    );
    for command in ["ip link set n0 xdpdrv off", &replace] {
        let refused = fixture.node.try_command(command).unwrap_err();
        assert!(
            refused.contains("Can't replace active BPF XDP link"),
            "`{command}`: {refused}"
        );
    }
    fixture.send(1);
    fixture.programs.seen_after(1);
}

#[test]
fn a_program_attached_by_netlink_is_not_replaced_by_a_link() {
    let mut fixture = Fixture::new();
    let pins = Pins::new();
    fixture.programs.pin_xdp(&pins.path("program"));
    let attach = format!("ip link set n0 xdpdrv pinned {}", pins.path("program").display());
    fixture.node.command(&attach);
    let refused = fixture.try_attach_xdp(XDP_FLAGS_DRV_MODE).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EBUSY));
}

#[test]
fn an_interface_without_native_xdp_refuses_driver_mode_and_takes_generic_mode() {
    let mut fixture = Fixture::new();
    // Like VLAN devices and bridges, the loopback device has no `ndo_bpf`. Its index is 1 in every namespace.
    fixture.nic = 1;
    let refused = fixture.try_attach_xdp(XDP_FLAGS_DRV_MODE).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EOPNOTSUPP));
    // Without a mode flag the kernel falls back to generic mode without an error.
    fixture.try_attach_xdp(0).unwrap();
}

#[test]
fn a_pinned_link_survives_its_process() {
    let mut fixture = Fixture::new();
    fixture.programs.plan(pass());
    let pins = Pins::new();
    let pin = pins.path("link");
    fixture
        .node
        .run(|| bpf::attach_in_child(fixture.programs.xdp(), fixture.nic, Some(&pin)))
        .unwrap();
    fixture.send(1);
    fixture.programs.seen_after(1);
    assert!(is_native(&fixture));

    // A process that opens the pin holds the link like its creator.
    let link = bpf::open_pin(&pin).unwrap();
    fs::remove_file(&pin).unwrap();
    assert!(is_native(&fixture));
    drop(link);
    wait::until_eq(false, || is_native(&fixture));
}

#[test]
fn a_link_that_is_not_pinned_ends_with_its_process() {
    let fixture = Fixture::new();
    fixture
        .node
        .run(|| bpf::attach_in_child(fixture.programs.xdp(), fixture.nic, None))
        .unwrap();
    wait::until_eq(false, || is_native(&fixture));
}

#[test]
fn link_update_replaces_the_program_without_packet_loss() {
    const REPLACEMENTS: usize = 100;
    const BURST: usize = 32;
    let fixture = Fixture::redirecting(redirect());
    let mut other = Programs::load();
    other.plan(redirect());
    let (devices, host) = (&mut other.devices, fixture.host);
    fixture.node.run(|| devices.set(SLOT, host, None, 0)).unwrap();

    let (sent, done) = (AtomicU32::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                fixture.send(BURST);
                let sent = sent.fetch_add(BURST as u32, Ordering::Relaxed) + BURST as u32;
                // The NIC's ring must not overflow; only a packet that the replacement loses may be missing.
                wait::until_eq(u64::from(sent), || fixture.programs.read());
            }
        });
        let (mut old, mut new) = (fixture.programs.xdp(), other.xdp());
        let both = || fixture.programs.seen().frames > 0 && other.seen().frames > 0;
        let (start, mut replacements) = (Instant::now(), 0);
        // Traffic may only just begin.
        let ended = loop {
            if replacements >= REPLACEMENTS && (both() || start.elapsed() > wait::PATIENCE) {
                break Ok(());
            }
            if let Err(error) = bpf::link_update(&fixture.links[0], new, old) {
                break Err(error);
            }
            (old, new) = (new, old);
            replacements += 1;
            thread::yield_now();
        };
        // The sender must end in any case.
        done.store(true, Ordering::Relaxed);
        ended.unwrap();
    });

    let sent = u64::from(sent.into_inner());
    wait::until_eq(sent, || fixture.programs.read());
    let (by_one, by_other) = (fixture.programs.seen().frames, other.seen().frames);
    assert_eq!(by_one + by_other, sent);
    assert!(
        by_one > 0 && by_other > 0,
        "traffic saw one program only: {by_one}, {by_other}"
    );
}

#[test]
fn link_update_refuses_when_another_program_is_attached_than_expected() {
    let fixture = Fixture::passing(pass());
    let other = Programs::load();
    let refused = bpf::link_update(&fixture.links[0], other.xdp(), other.xdp()).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    fixture.send(1);
    fixture.programs.seen_after(1);
}

#[test]
fn a_link_whose_nic_is_deleted_cannot_be_updated() {
    let fixture = Fixture::passing(pass());
    fixture.node.command("ip link del n0");
    let program = fixture.programs.xdp();
    let refused = bpf::link_update(&fixture.links[0], program, program).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ENOLINK));
}

fn is_native(fixture: &Fixture) -> bool {
    fixture.node.command("ip link show n0").contains(" xdp ")
}

/// A new bpffs.
struct Pins(PathBuf);

impl Pins {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("xdp-kernel-tests-{}-{number}", process::id()));
        fs::create_dir(&directory).unwrap();
        let pins = Self(directory);
        pins.mount("mount -t bpf none");
        pins
    }

    fn mount(&self, command: &str) {
        let mut words = command.split(' ');
        let done = process::Command::new(words.next().unwrap())
            .args(words)
            .arg(&self.0)
            .status();
        assert!(done.unwrap().success(), "`{command}`");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.mount("umount -l");
        fs::remove_dir(&self.0).unwrap();
    }
}
