//! `bpf_xdp_adjust_{meta,head,tail}`: accepted and refused arguments, and the packet that arrives afterwards.
//!
//! The headroom of a packet is `XDP_PACKET_HEADROOM` (256) bytes, on veth as on mlx5. `struct xdp_frame` (40
//! bytes on 6.18) is at its start and not available.

use crate::{
    adjusted::{ROOMY, resized},
    fixture::{Fixture, NIC_MAC, POD_MAC, XDP_PASS, pass, redirect},
    shared::{ProbePlan, ProbeResult},
    wire::{
        frame, {self},
    },
};

const VALUE: u64 = 0xaabb_ccdd_eeff_0011;
/// The limit of kernels before 6.5, and more than the agent uses.
const PORTABLE_LIMIT: i32 = 32;
const HEADROOM: i32 = 256;

#[test]
fn adjust_meta_takes_multiples_of_four_only() {
    let mut fixture = Fixture::passing(pass());
    for meta in [-1, -2, -3, -5, -7, -30] {
        assert_eq!(
            run(&mut fixture, ProbePlan { meta, ..pass() }).meta,
            errno(libc::EACCES),
            "{meta}"
        );
    }
    for meta in (4..=PORTABLE_LIMIT).step_by(4) {
        let seen = run(
            &mut fixture,
            ProbePlan {
                meta: -meta,
                ..pass()
            },
        );
        assert_eq!((seen.meta, seen.metadata), (0, meta as u32));
    }
}

#[test]
fn adjust_meta_never_reaches_into_the_packet() {
    let mut fixture = Fixture::passing(pass());
    let seen = run(&mut fixture, ProbePlan { meta: 4, ..pass() });
    assert_eq!((seen.meta, seen.metadata), (errno(libc::EINVAL), 0));
}

#[test]
fn adjust_meta_has_one_limit_up_to_which_everything_is_delivered() {
    let mut fixture = Fixture::redirecting(redirect());
    let mut limit = 0;
    for meta in (4..=HEADROOM + 4).step_by(4) {
        let seen = run(
            &mut fixture,
            ProbePlan {
                meta: -meta,
                value: VALUE,
                ..redirect()
            },
        );
        let record = fixture.programs.record();
        assert_eq!(
            record.bytes[..64],
            frame(POD_MAC, 64),
            "with {meta} bytes of metadata"
        );
        if seen.meta == 0 {
            assert_eq!(limit, meta - 4, "a refused length lies below {meta}");
            assert_eq!(record.metadata, meta as u32);
            limit = meta;
        } else {
            // Up to 6.4 the kernel refuses the length itself, later the overlap with the frame structure.
            assert!(
                [errno(libc::EACCES), errno(libc::EINVAL)].contains(&seen.meta),
                "{meta}: {}",
                seen.meta
            );
            assert_eq!((seen.metadata, record.metadata), (0, 0));
        }
    }
    assert!((PORTABLE_LIMIT..HEADROOM).contains(&limit), "limit {limit}");
    println!("largest metadata: {limit} bytes");
}

#[test]
fn adjust_head_moves_metadata_along_in_both_directions() {
    for head in [-20, 4, 20] {
        let plan = ProbePlan {
            meta: -8,
            value: VALUE,
            head,
            header: wire::header(NIC_MAC),
            ..pass()
        };
        let mut fixture = Fixture::passing(plan);
        fixture.send(1);
        let record = fixture.programs.record();
        assert_eq!((record.metadata, record.value), (8, VALUE), "head {head}");
        assert_eq!(
            fixture.programs.seen(),
            ProbeResult {
                metadata: 8,
                ..moved(head)
            }
        );
    }
}

#[test]
fn adjust_head_fails_without_headroom_and_changes_nothing() {
    let mut fixture = Fixture::passing(pass());
    for (head, why) in [
        (-HEADROOM, "the frame structure would be overwritten"),
        (51, "less than an Ethernet header would remain of 64 bytes"),
    ] {
        let seen = run(
            &mut fixture,
            ProbePlan {
                meta: -8,
                value: VALUE,
                head,
                ..pass()
            },
        );
        assert_eq!(seen.head, errno(libc::EINVAL), "{why}");
        assert_eq!((seen.length, seen.metadata), (64, 8));
        let record = fixture.programs.record();
        assert_eq!((record.metadata, record.value), (8, VALUE));
        assert_eq!(record.bytes[..64], frame(NIC_MAC, 64));
    }
    assert_eq!(run(&mut fixture, ProbePlan { head: 50, ..pass() }).head, 0);
}

#[test]
fn metadata_reduces_the_headroom_for_adjust_head() {
    let mut fixture = Fixture::passing(pass());
    let headroom = (0..=HEADROOM)
        .rev()
        .find(|head| {
            run(
                &mut fixture,
                ProbePlan {
                    head: -head,
                    ..pass()
                },
            )
            .head
                == 0
        })
        .unwrap();
    let seen = run(
        &mut fixture,
        ProbePlan {
            meta: -8,
            head: -(headroom - 8),
            ..pass()
        },
    );
    assert_eq!((seen.meta, seen.head), (0, 0));
    let seen = run(
        &mut fixture,
        ProbePlan {
            meta: -8,
            head: -(headroom - 7),
            ..pass()
        },
    );
    assert_eq!((seen.meta, seen.head), (0, errno(libc::EINVAL)));
}

#[test]
fn adjust_tail_shrinks_and_grows_with_zeroes() {
    for tail in [-10, 30] {
        let mut fixture = Fixture::passing(ProbePlan { tail, ..pass() });
        fixture.wire.send(&frame(NIC_MAC, ROOMY));
        let record = fixture.programs.record();
        let expected = resized(frame(NIC_MAC, ROOMY), tail);
        assert_eq!(record.length as usize, expected.len());
        assert_eq!(record.bytes[..expected.len()], expected);
        assert_eq!(fixture.programs.seen().tail, 0);
    }
}

#[test]
fn adjust_tail_refuses_less_than_a_header_and_more_than_the_tailroom() {
    let mut fixture = Fixture::passing(pass());
    for tail in [-51, 1 << 16] {
        let seen = run(&mut fixture, ProbePlan { tail, ..pass() });
        assert_eq!((seen.tail, seen.length), (errno(libc::EINVAL), 64), "{tail}");
        assert_eq!(fixture.programs.record().bytes[..64], frame(NIC_MAC, 64));
    }
    assert_eq!(run(&mut fixture, ProbePlan { tail: -50, ..pass() }).tail, 0);
}

/// Sends one frame of 64 bytes, and returns what the program saw with this plan.
fn run(fixture: &mut Fixture, plan: ProbePlan) -> ProbeResult {
    let frames = fixture.programs.seen().frames;
    fixture.programs.plan(plan);
    fixture.send(1);
    fixture.programs.seen_after(frames + 1)
}

/// What the program sees after it moved the start of the first frame of 64 bytes and passed it.
fn moved(head: i32) -> ProbeResult {
    ProbeResult {
        frames: 1,
        length: 64_u32.checked_add_signed(-head).unwrap(),
        action: XDP_PASS,
        ..ProbeResult::default()
    }
}

fn errno(number: i32) -> i64 {
    -i64::from(number)
}
