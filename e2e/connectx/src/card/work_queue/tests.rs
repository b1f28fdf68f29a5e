use super::*;
use crate::card::{
    bits::Field,
    fixture::{Work, context},
};

const RING: u64 = 0x10_0000;
const STRIDING: Work = Work {
    kind: 2,
    log_size: 3,
    log_stride: 5,
    strides: (6, 11),
    ring: RING,
    doorbell: 0x20_0008,
};

fn parse(work: Work) -> Result<WorkQueue, &'static str> {
    WorkQueue::parse(&context(Field::new(0, 0), work, &[]))
}

#[test]
fn descriptors_wrap_at_the_end_of_the_ring() {
    let queue = parse(STRIDING).unwrap();
    let addresses = [0, 7, 8, 0xffff].map(|index| queue.descriptor(index, 16));
    assert_eq!(
        addresses,
        [RING + 16, RING + 7 * 32 + 16, RING + 16, RING + 7 * 32 + 16]
    );
}

#[test]
fn strides_are_logarithms_with_a_base() {
    assert_eq!(
        parse(STRIDING).unwrap().strides,
        Some(Strides {
            count: 64,
            log_size: 11
        })
    );
    let least = Work {
        strides: (3, 6),
        ..STRIDING
    };
    assert_eq!(
        parse(least).unwrap().strides,
        Some(Strides {
            count: 8,
            log_size: 6
        })
    );
    assert_eq!(parse(Work { kind: 1, ..STRIDING }).unwrap().strides, None);
}

#[test]
fn a_queue_that_is_not_aligned_is_refused() {
    let doorbell = "a doorbell record that is absent or not aligned";
    assert_eq!(
        parse(Work {
            doorbell: 0x20_0004,
            ..STRIDING
        })
        .err(),
        Some(doorbell)
    );
    assert_eq!(
        parse(Work {
            doorbell: 0,
            ..STRIDING
        })
        .err(),
        Some(doorbell)
    );
    assert!(
        parse(Work {
            ring: RING + 64,
            ..STRIDING
        })
        .is_err()
    );
    assert!(parse(Work { ring: 0, ..STRIDING }).is_err());
}

#[test]
fn other_types_of_queues_are_refused() {
    for kind in [0, 3, 4] {
        assert_eq!(
            parse(Work { kind, ..STRIDING }).err(),
            Some("a type of work queue that the model does not have")
        );
    }
}
