//! Loads and stores of packet bytes, in as few instructions as possible.
//!
//! The compiler assumes that packet bytes are unaligned, and moves them one at a time. The architectures with
//! native XDP, and the verifier, allow words at any address.
#![expect(unsafe_code, reason = "packet bytes are reached by address")]

use core::arch::asm;

/// Copies a word at `$offset`, if `$has`, from the address to the array.
macro_rules! load {
    ($at:ident, $bytes:ident, $has:expr, $offset:expr, $word:literal, $type:ty) => {
        if $has
            && let Some(chunk) = $bytes
                .get_mut($offset..)
                .and_then(|rest| rest.first_chunk_mut::<{ size_of::<$type>() }>())
        {
            let value: u64;
            // SAFETY: the caller's; the offset is within the array.
            unsafe {
                asm!(
                    concat!("{value} = *(", $word, " *)({at} + {offset})"),
                    value = out(reg) value,
                    at = in(reg) $at,
                    offset = const $offset,
                    options(pure, readonly, nostack),
                );
            }
            *chunk = (value as $type).to_ne_bytes();
        }
    };
}

/// Copies a word at `$offset`, if `$has`, from the array to the address.
macro_rules! store {
    ($at:ident, $bytes:ident, $has:expr, $offset:expr, $word:literal, $type:ty) => {
        if $has && let Some(chunk) = $bytes.get($offset..).and_then(|rest| rest.first_chunk()) {
            // SAFETY: the caller's; the offset is within the array.
            unsafe {
                asm!(
                    concat!("*(", $word, " *)({at} + {offset}) = {value}"),
                    value = in(reg) u64::from(<$type>::from_ne_bytes(*chunk)),
                    at = in(reg) $at,
                    offset = const $offset,
                    options(nostack),
                );
            }
        }
    };
}

/// Reads up to 31 bytes.
///
/// # Safety
///
/// The bytes are inside the packet, and the program compared the address with the packet's end.
#[inline(always)]
pub(crate) unsafe fn load<const N: usize>(at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    load!(at, bytes, N >= 8, 0, "u64", u64);
    load!(at, bytes, N >= 16, 8, "u64", u64);
    load!(at, bytes, N >= 24, 16, "u64", u64);
    load!(at, bytes, N & 4 != 0, N & !7, "u32", u32);
    load!(at, bytes, N & 2 != 0, N & !3, "u16", u16);
    load!(at, bytes, N & 1 != 0, N & !1, "u8", u8);
    bytes
}

/// Writes up to 31 bytes.
///
/// # Safety
///
/// As for [`load`].
#[inline(always)]
pub(crate) unsafe fn store<const N: usize>(at: usize, bytes: [u8; N]) {
    store!(at, bytes, N >= 8, 0, "u64", u64);
    store!(at, bytes, N >= 16, 8, "u64", u64);
    store!(at, bytes, N >= 24, 16, "u64", u64);
    store!(at, bytes, N & 4 != 0, N & !7, "u32", u32);
    store!(at, bytes, N & 2 != 0, N & !3, "u16", u16);
    store!(at, bytes, N & 1 != 0, N & !1, "u8", u8);
}
