//! Work requests that change memory keys.

use super::*;

fn umr(offset: u16, translations: &[u64]) -> Vec<u8> {
    let mut segments = vec![0; 112];
    segments[0] = 1 << 7 | 1 << 4;
    segments[4..6].copy_from_slice(&(translations.len() as u16 / 2).to_be_bytes());
    segments[6..8].copy_from_slice(&offset.to_be_bytes());
    segments.extend(translations.iter().flat_map(|entry| entry.to_be_bytes()));
    segments
}

impl Port {
    fn post_umr(&mut self, key: u32, segments: &[u8]) {
        let first = self.ring + u64::from(self.posted % 16) * 64;
        self.post(UMR, SIGNAL, segments);
        self.fixture.write(first + 12, &key.to_be_bytes());
    }
}

#[test]
fn a_umr_writes_translations_from_its_offset_on() {
    let mut port = Port::new();
    let pages: Vec<_> = (0..4).map(|_| port.fixture.allocate(4096)).collect();
    let memory_key = MemoryKey::parse(&key(1, 4 * 4096, 12, &[0; 32]));
    port.fixture.device.mkeys.insert(0x30, memory_key);
    port.post_umr(0x30 << 8 | 7, &umr(1, &[pages[3] | 3, pages[2] | 3]));
    assert_eq!(port.run().len(), 1);
    assert_eq!(port.fixture.problems(), [""; 0]);
    let mut dma = Dma {
        memory: &mut port.fixture.device.memory,
        keys: &port.fixture.device.mkeys,
    };
    dma.write(0x30 << 8 | 7, 2 * 4096, b"third").unwrap();
    assert!(dma.write(0x30 << 8 | 7, 0, b"first").is_err());
    assert_eq!(port.fixture.read(pages[3], 5), b"third");
    assert_eq!(port.fixture.device.counters.umr, 1);
}

#[test]
fn a_umr_that_does_not_fit_its_key_is_an_error() {
    let mut port = Port::new();
    port.fixture
        .device
        .mkeys
        .insert(0x30, MemoryKey::parse(&key(1, 8192, 12, &[0; 16])));
    port.post_umr(0x30 << 8 | 7, &umr(1, &[0, 0]));
    assert_eq!(port.failure(), (4, "a UMR behind the translations of the key"));
}

#[test]
fn a_umr_for_an_unknown_key_is_an_error() {
    let mut port = Port::new();
    port.post_umr(0x99 << 8, &umr(0, &[0, 0]));
    assert_eq!(port.failure(), (4, "a UMR for an unknown memory key"));
}
