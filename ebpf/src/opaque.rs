//! Values that the verifier or the compiler must not track.
#![expect(unsafe_code, reason = "only assembly hides a value")]

use core::arch::asm;

/// Returns `value` unchanged. The verifier knows nothing about it afterwards, if it knows nothing about
/// `unknown`.
#[inline(always)]
pub(crate) fn opaque(mut value: u64, unknown: u64) -> u64 {
    // SAFETY: two exclusive-ors that cancel each other, which the verifier does not see. Volatile, so that it
    // happens here, and not after the loop that it is for.
    unsafe {
        asm!("{0} ^= {1}", "{0} ^= {1}", inout(reg) value, in(reg) unknown, options(nomem, nostack));
    }
    value
}

/// The largest value of [`small`].
pub(crate) const SMALL: u64 = 31;

/// Returns `value` unchanged, which is at most [`SMALL`]. The verifier learns that.
#[inline(always)]
pub(crate) fn small(mut value: u64) -> u64 {
    // SAFETY: it takes nothing away from such a value.
    unsafe { asm!("{0} &= {1}", inout(reg) value, const SMALL, options(pure, nomem, nostack)) };
    value
}

/// Returns `value` unchanged. The compiler keeps it in one register from here on. It would otherwise compute
/// an address a second time, and the verifier would see another pointer, without the range that a comparison
/// gave to the first.
#[inline(always)]
pub(crate) fn same_value(mut value: usize) -> usize {
    // SAFETY: a move to itself. (An empty template would give two source lines to one instruction, which the
    // kernel refuses.)
    unsafe { asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
}

/// Leaves `value` unchanged. The compiler must assume that it was changed.
#[inline(always)]
pub(crate) fn barrier<T>(value: &mut T) {
    // SAFETY: a move to itself, without options that promise that memory stays as it is.
    unsafe { asm!("{0} = {0}", inout(reg) core::ptr::from_mut(value) => _) };
}
