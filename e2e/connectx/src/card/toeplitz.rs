//! The Toeplitz hash of receive side scaling.

/// Length of a hash key, in bytes.
pub(crate) const KEY: usize = 40;

/// Returns the hash of `input`: the addresses, then the ports, each source first.
///
/// Defined in Microsoft's "RSS Hashing Functions", where the test vectors are from.
pub(crate) fn hash(key: &[u8; KEY], input: &[u8]) -> u32 {
    let mut window = u32::from_be_bytes([key[0], key[1], key[2], key[3]]);
    let mut hash = 0;
    for (index, byte) in input.iter().enumerate() {
        let next = key.get(index + 4).copied().unwrap_or(0);
        for bit in (0..8).rev() {
            if byte >> bit & 1 == 1 {
                hash ^= window;
            }
            window = window << 1 | u32::from(next >> bit & 1);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const MICROSOFT: [u8; KEY] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
        0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
        0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    type End = (&'static str, u16);

    /// Destination, source, hash over the addresses, hash over addresses and ports.
    const VECTORS: [(End, End, u32, u32); 8] = [
        (
            ("161.142.100.80", 1766),
            ("66.9.149.187", 2794),
            0x323e_8fc2,
            0x51cc_c178,
        ),
        (
            ("65.69.140.83", 4739),
            ("199.92.111.2", 14230),
            0xd718_262a,
            0xc626_b0ea,
        ),
        (
            ("12.22.207.184", 38024),
            ("24.19.198.95", 12898),
            0xd2d0_a5de,
            0x5c2b_394a,
        ),
        (
            ("209.142.163.6", 2217),
            ("38.27.205.30", 48228),
            0x8298_9176,
            0xafc7_327f,
        ),
        (
            ("202.188.127.2", 1303),
            ("153.39.163.191", 44251),
            0x5d18_09c5,
            0x10e8_28a2,
        ),
        (
            ("3ffe:2501:200:3::1", 1766),
            ("3ffe:2501:200:1fff::7", 2794),
            0x2cc1_8cd5,
            0x4020_7d3d,
        ),
        (
            ("ff02::1", 4739),
            ("3ffe:501:8::260:97ff:fe40:efab", 14230),
            0x0f0c_461c,
            0xdde5_1bbf,
        ),
        (
            ("fe80::200:f8ff:fe21:67cf", 38024),
            ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251),
            0x4b61_e985,
            0x02d1_feef,
        ),
    ];

    fn octets(address: &str) -> Vec<u8> {
        match address.parse().unwrap() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        }
    }

    #[test]
    fn hashes_are_those_that_microsoft_publishes() {
        for (destination, source, addresses, ports) in VECTORS {
            let mut input = [octets(source.0), octets(destination.0)].concat();
            assert_eq!(
                hash(&MICROSOFT, &input),
                addresses,
                "{source:?} to {destination:?}"
            );
            input.extend(source.1.to_be_bytes());
            input.extend(destination.1.to_be_bytes());
            assert_eq!(
                hash(&MICROSOFT, &input),
                ports,
                "{source:?} to {destination:?}, with ports"
            );
        }
    }

    #[test]
    fn an_empty_input_has_the_hash_zero() {
        assert_eq!(hash(&MICROSOFT, &[]), 0);
    }
}
