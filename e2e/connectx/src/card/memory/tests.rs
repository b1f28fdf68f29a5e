use std::fs::File;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::card::{findings::Finding, memory::GuestMemory};

const PAGE: u64 = 4096;

fn file(length: u64) -> File {
    let file = File::from(memfd_create(c"guest", MFdFlags::MFD_CLOEXEC).unwrap());
    file.set_len(length).unwrap();
    file
}

/// Two regions without a gap, the second from the middle of its file.
fn memory() -> GuestMemory {
    let mut memory = GuestMemory::default();
    memory.map(0x1000, PAGE, 0, file(PAGE)).unwrap();
    memory.map(0x2000, PAGE, PAGE, file(2 * PAGE)).unwrap();
    memory
}

#[test]
fn an_access_can_cross_regions() {
    let mut memory = memory();
    let mut bytes = [0; 8];
    assert!(memory.write(0x1ffc, &[1, 2, 3, 4, 5, 6, 7, 8]));
    assert!(memory.read(0x1ffc, &mut bytes));
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(memory.be32(0x2000), 0x0506_0708);
    assert_eq!(memory.faults, []);
}

#[test]
fn an_access_without_memory_is_a_finding() {
    let mut memory = memory();
    assert!(!memory.read(0x2ffc, &mut [0; 8]));
    assert!(!memory.write(0x0fff, &[0; 2]));
    assert!(!memory.read(u64::MAX, &mut [0; 2]));
    let fault = |address, write| Finding::DmaFault { address, write };
    assert_eq!(
        memory.faults,
        [fault(0x3000, false), fault(0x0fff, true), fault(u64::MAX, false)]
    );
}

#[test]
fn memory_that_was_withdrawn_is_not_accessed() {
    let mut memory = memory();
    memory.unmap(0x1000, PAGE);
    assert!(!memory.write(0x1000, &[1]));
    assert!(memory.write(0x2000, &[1]));
}

#[test]
fn a_client_that_ends_causes_no_finding() {
    let mut memory = memory();
    assert!(memory.is_present());
    memory.unmap(0x1000, PAGE);
    assert!(!memory.is_present());
    memory.read(0x1000, &mut [0]);
    assert_eq!(memory.faults, []);
}

#[test]
fn a_range_that_the_file_does_not_have_is_refused() {
    let mut memory = memory();
    assert!(memory.map(0x8000, 2 * PAGE, 0, file(PAGE)).is_err());
    assert!(memory.map(0x8000, PAGE, PAGE, file(PAGE)).is_err());
    assert!(memory.map(u64::MAX, PAGE, 0, file(PAGE)).is_err());
    assert!(memory.map(0x8000, PAGE, u64::MAX, file(PAGE)).is_err());
}

#[test]
fn a_range_that_is_already_mapped_is_refused() {
    let mut memory = memory();
    assert!(memory.map(0x2000, PAGE, 0, file(PAGE)).is_err());
    memory.unmap(0x2000, PAGE);
    assert!(memory.map(0x2000, PAGE, 0, file(PAGE)).is_ok());
}
