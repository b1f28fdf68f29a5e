//! Programs that the product is compared with, that feed it, and that count arriving packets.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unsafe_code, reason = "packet bytes and map values are reached by address")]

mod ceilings;
mod feeder;
mod micro;
mod packet;
mod receivers;
mod rivals;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Never linked: the verifier would refuse the loop.
    loop {}
}

/// Some helpers require a GPL-compatible license.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
