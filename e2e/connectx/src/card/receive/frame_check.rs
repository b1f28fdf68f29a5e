//! The frame check sequence of Ethernet.

/// Returns the CRC-32 of a frame, in the order of the wire.
pub(super) fn sequence(frame: &[u8]) -> [u8; 4] {
    let crc = frame.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    });
    (!crc).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_crc_32_is_right() {
        assert_eq!(sequence(b"123456789"), 0xcbf4_3926_u32.to_le_bytes());
    }
}
