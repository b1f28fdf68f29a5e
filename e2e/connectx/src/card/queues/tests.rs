use std::{
    io::Read as _,
    os::fd::{AsFd as _, OwnedFd},
};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::card::{
    fixture::Fixture,
    queues::{Event, EventQueue, Pages},
};

const QUEUE: u32 = 1;
const COMPLETIONS: u32 = 0x400;
const VECTOR: usize = 3;
const LOG_SIZE: u32 = 2;

/// A card with an event queue for all types, and its interrupt.
struct Events {
    fixture: Fixture,
    ring: u64,
    interrupt: std::fs::File,
}

impl Events {
    fn new() -> Self {
        let mut fixture = Fixture::new();
        let ring = fixture.store(&[0xff; 256]);
        let pages = Pages::parse(&ring.to_be_bytes(), 0, 0, 0, 64 << LOG_SIZE);
        fixture
            .device
            .eqs
            .insert(QUEUE, EventQueue::new(pages, LOG_SIZE, VECTOR, [u64::MAX; 4]));
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
        let interrupt = event.as_fd().try_clone_to_owned().unwrap().into();
        fixture.device.interrupts.set(VECTOR, Some(OwnedFd::from(event)));
        Self {
            fixture,
            ring,
            interrupt,
        }
    }

    /// Returns how many interrupts there were since the last call.
    fn interrupts(&mut self) -> u64 {
        let mut count = [0; 8];
        self.interrupt
            .read_exact(&mut count)
            .map_or(0, |()| u64::from_ne_bytes(count))
    }

    fn push(&mut self) {
        self.fixture.device.push_event(QUEUE, Event::Port, 4, &[7; 28]);
    }

    fn entry(&mut self, index: u64) -> Vec<u8> {
        self.fixture.read(self.ring + index * 64, 64)
    }
}

#[test]
fn an_event_has_type_subtype_data_and_owner() {
    let mut events = Events::new();
    events.push();
    let entry = events.entry(0);
    assert_eq!(
        (entry[1], entry[3], &entry[32..60], entry[63]),
        (9, 4, &[7; 28][..], 0)
    );
    assert_eq!(events.entry(1)[63], 0xff);
}

#[test]
fn owner_bits_change_each_time_through_the_queue() {
    let mut events = Events::new();
    for consumer in 1..=4 {
        events.push();
        events.fixture.device.event_doorbell(QUEUE, consumer, false);
    }
    events.push();
    assert_eq!((events.entry(0)[63], events.entry(1)[63]), (1, 0));
    assert_eq!(events.fixture.problems(), Vec::<&str>::new());
}

#[test]
fn an_event_interrupts_once_when_it_is_armed() {
    let mut events = Events::new();
    events.push();
    assert_eq!(events.interrupts(), 0);
    events.fixture.device.event_doorbell(QUEUE, 1, true);
    assert_eq!(events.interrupts(), 0);
    events.push();
    events.push();
    assert_eq!(events.interrupts(), 1);
}

#[test]
fn arming_behind_the_producer_interrupts_at_once() {
    let mut events = Events::new();
    events.push();
    events.fixture.device.event_doorbell(QUEUE, 0, true);
    assert_eq!(events.interrupts(), 1);
}

#[test]
fn an_interrupt_without_an_eventfd_waits_for_it() {
    let mut events = Events::new();
    let event = events.interrupt.try_clone().unwrap();
    events.fixture.device.interrupts.set(VECTOR, None);
    events.fixture.device.event_doorbell(QUEUE, 0, true);
    events.push();
    assert_eq!(events.interrupts(), 0);
    events.fixture.device.interrupts.set(VECTOR, Some(event.into()));
    assert_eq!(events.interrupts(), 1);
}

#[test]
fn more_events_than_the_queue_has_are_a_finding() {
    let mut events = Events::new();
    for _ in 0..5 {
        events.push();
    }
    assert_eq!(events.fixture.problems(), ["the event queue overran"]);
}

#[test]
fn a_completion_is_an_event_only_while_its_queue_is_armed() {
    let mut events = Events::new();
    events.fixture.completion_queue(COMPLETIONS, LOG_SIZE);
    let device = &mut events.fixture.device;
    device.push_cqe(COMPLETIONS, [0; 64], 0);
    assert_eq!(device.counters.events, 0);
    device.arm(COMPLETIONS, 1);
    assert_eq!(device.counters.events, 0);
    device.push_cqe(COMPLETIONS, [0; 64], 0);
    device.push_cqe(COMPLETIONS, [0; 64], 0);
    assert_eq!(device.counters.events, 1);
    assert_eq!(events.entry(0)[56..60], COMPLETIONS.to_be_bytes());
}

#[test]
fn arming_a_completion_queue_behind_its_producer_is_an_event_at_once() {
    let mut events = Events::new();
    events.fixture.completion_queue(COMPLETIONS, LOG_SIZE);
    events.fixture.device.push_cqe(COMPLETIONS, [0; 64], 0);
    events.fixture.device.arm(COMPLETIONS, 0);
    assert_eq!(events.fixture.device.counters.events, 1);
}

#[test]
fn more_completions_than_the_queue_has_are_a_finding() {
    let mut events = Events::new();
    events.fixture.completion_queue(COMPLETIONS, LOG_SIZE);
    for _ in 0..5 {
        events.fixture.device.push_cqe(COMPLETIONS, [0; 64], 0);
    }
    assert_eq!(events.fixture.problems(), ["the completion queue overran"]);
}

#[test]
fn doorbells_of_unknown_queues_are_findings() {
    let mut events = Events::new();
    events.fixture.device.event_doorbell(9, 0, true);
    events.fixture.device.arm(9, 0);
    let unknown = [
        "a doorbell for an unknown event queue",
        "a doorbell for an unknown completion queue",
    ];
    assert_eq!(events.fixture.problems(), unknown);
}

#[test]
fn a_list_of_pages_must_be_whole_and_aligned() {
    let list = |pages: &[u64]| {
        pages
            .iter()
            .flat_map(|page| page.to_be_bytes())
            .collect::<Vec<u8>>()
    };
    let check = |pages: &[u64], length| Pages::parse(&list(pages), 0, 1, 0, length).check();
    assert_eq!(check(&[0x4000, 0x8000], 0x4000), Ok(()));
    assert_eq!(check(&[0x4000], 0x4000), Err("the list of pages is too short"));
    assert_eq!(
        check(&[0x4000, 0x9000], 0x4000),
        Err("a page that is absent or not aligned")
    );
    assert_eq!(
        check(&[0x4000, 0], 0x4000),
        Err("a page that is absent or not aligned")
    );
}

#[test]
fn a_queue_lies_in_its_pages_from_the_offset_on() {
    let list = [0x4000_u64, 0x9000].map(u64::to_be_bytes).concat();
    let pages = Pages::parse(&list, 0, 0, 0x40, 0x1000);
    assert_eq!(
        (pages.addr(0), pages.addr(0xfbf), pages.addr(0xfc0)),
        (0x4040, 0x4fff, 0x9000)
    );
}
