//! Hashes in names of objects.

use ring::digest::{SHA256, digest};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Returns the SHA-256 of a text, in 64 hexadecimal digits.
pub fn sha256(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    let halves = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves.map(|half| char::from(DIGITS[usize::from(half)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_standard() {
        // FIPS 180-4, the example of one block.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256("abc"), expected);
    }
}
