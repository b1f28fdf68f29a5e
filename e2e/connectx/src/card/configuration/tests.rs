use crate::card::{configuration::Configuration, profile::Profile};

fn read(configuration: &Configuration, offset: u64) -> [u8; 4] {
    let mut bytes = [0; 4];
    configuration.read(offset, &mut bytes);
    bytes
}

#[test]
fn ids_and_capabilities_cannot_be_written() {
    let mut configuration = Configuration::new(&Profile::CONNECTX_4_LX);
    for offset in (0..4096).step_by(4) {
        configuration.write(offset, &[0xff; 4]);
    }
    assert_eq!(read(&configuration, 0x00), [0xb3, 0x15, 0x15, 0x10]);
    assert_eq!(read(&configuration, 0x08), [0, 0, 0, 2]);
    assert_eq!(read(&configuration, 0x34)[0], 0x60);
    assert_eq!(read(&configuration, 0x60)[..2], [0x10, 0x9c]);
    assert_eq!(read(&configuration, 0x9c)[..3], [0x11, 0, 31]);
    // The type of BAR 0 stays, its address does not.
    assert_eq!(read(&configuration, 0x10), [0x0c, 0xff, 0xff, 0xff]);
}

#[test]
fn an_access_behind_the_end_is_harmless() {
    let mut configuration = Configuration::new(&Profile::default());
    configuration.write(4094, &[0xff; 4]);
    assert_eq!(read(&configuration, 4094), [0; 4]);
    assert_eq!(read(&configuration, u64::MAX), [0; 4]);
}
