//! Striding queues.

use super::*;

#[test]
fn frames_use_the_strides_of_a_buffer_in_order() {
    let mut port = Port::striding();
    let address = port.fixture.allocate(2048);
    port.post_strides(0, 1, KEY, address);
    let (short, long) = (frame(50), frame(500));
    let places: Vec<_> = [&short, &long, &short]
        .map(|frame| {
            let completion = port.receive_one(frame);
            let at = u64::from(word(&completion, 60));
            assert_eq!(&port.fixture.read(address + at * 256, frame.len()), frame);
            (word(&completion, 2), at, number(&completion, 44))
        })
        .to_vec();
    let (short, long) = (1 << 16 | short.len() as u32, 3 << 16 | long.len() as u32);
    assert_eq!(places, [(0, 0, short), (0, 1, long), (0, 4, short)]);
}

#[test]
fn a_full_buffer_leads_to_the_next_by_its_link() {
    let mut port = Port::striding();
    let addresses = [port.fixture.allocate(2048), port.fixture.allocate(2048)];
    port.post_strides(0, 3, KEY, addresses[0]);
    port.post_strides(3, 1, KEY, addresses[1]);
    let places: Vec<_> = (0..10)
        .map(|_| {
            let completion = port.receive_one(&frame(50));
            (word(&completion, 2), word(&completion, 60))
        })
        .collect();
    let expected: Vec<_> = (0..8).map(|stride| (0, stride)).chain([(3, 0), (3, 1)]).collect();
    assert_eq!(places, expected);
    assert_eq!(port.fixture.device.counters.fillers, 0);
}

#[test]
fn a_filler_skips_the_strides_that_are_too_few() {
    let mut port = Port::striding();
    let addresses = [port.fixture.allocate(2048), port.fixture.allocate(2048)];
    port.post_strides(0, 2, KEY, addresses[0]);
    port.post_strides(2, 1, KEY, addresses[1]);
    port.receive_one(&frame(1400));
    let completions = port.receive(&frame(1400));
    let seen: Vec<_> = completions
        .iter()
        .map(|completion| (word(completion, 2), word(completion, 60), number(completion, 44)))
        .collect();
    assert_eq!(seen, [(0, 6, 1 << 31 | 2 << 16), (2, 0, (6 << 16) + 1442)]);
    assert_eq!(port.fixture.read(addresses[1], 1442), frame(1400));
    assert_eq!(port.fixture.device.counters.fillers, 1);
}

#[test]
fn a_filler_without_another_buffer_still_completes_the_first() {
    let mut port = Port::striding();
    let address = port.fixture.allocate(2048);
    port.post_strides(0, 2, KEY, address);
    port.receive_one(&frame(1400));
    let filler = port.receive_one(&frame(1400));
    assert_eq!(number(&filler, 44), 1 << 31 | 2 << 16);
    let counters = port.fixture.device.counters();
    assert_eq!((counters.out_of_buffer, counters.fillers), (1, 1));
}

#[test]
fn strides_are_translated_page_by_page() {
    let mut port = Port::striding();
    let pages = [port.fixture.allocate(4096), port.fixture.allocate(4096)];
    // The second page first; both writable.
    let entries = [pages[1] | 3, pages[0] | 3].map(u64::to_be_bytes).concat();
    let memory_key = MemoryKey::parse(&key(1, 8192, 12, &entries));
    port.fixture.device.mkeys.insert(0x30, memory_key);
    port.post_strides(0, 1, 0x30 << 8 | 7, 4096 - 256);
    let frame = frame(400);
    port.receive_one(&frame);
    let written = [
        port.fixture.read(pages[1] + 4096 - 256, 256),
        port.fixture.read(pages[0], frame.len() - 256),
    ];
    assert_eq!(written.concat(), frame);
}

#[test]
fn a_translation_without_write_permission_is_an_error() {
    let mut port = Port::striding();
    let page = port.fixture.allocate(4096);
    let entries = [page | 1, 0].map(u64::to_be_bytes).concat();
    port.fixture
        .device
        .mkeys
        .insert(0x30, MemoryKey::parse(&key(1, 8192, 12, &entries)));
    port.post_strides(0, 1, 0x30 << 8 | 7, 0);
    assert_eq!(
        error(&mut port),
        (14, 4, vec!["a translation that does not permit the access"])
    );
}

#[test]
fn strides_behind_the_memory_key_are_an_error() {
    let mut port = Port::striding();
    let page = port.fixture.allocate(4096);
    let entries = [page | 3, 0].map(u64::to_be_bytes).concat();
    port.fixture
        .device
        .mkeys
        .insert(0x30, MemoryKey::parse(&key(1, 64, 12, &entries)));
    port.post_strides(0, 1, 0x30 << 8 | 7, 0);
    assert_eq!(
        error(&mut port),
        (14, 4, vec!["an address behind the memory key"])
    );
}

#[test]
fn a_link_outside_the_queue_is_an_error() {
    let mut port = Port::striding();
    let address = port.fixture.allocate(2048);
    port.post_strides(0, 4, KEY, address);
    for _ in 0..7 {
        port.receive_one(&frame(50));
    }
    assert_eq!(
        error(&mut port),
        (14, 4, vec!["a link to a receive descriptor outside the queue"])
    );
}
