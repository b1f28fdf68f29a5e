//! Asks the node's routes about a packet that opens a flow.
#![expect(unsafe_code, reason = "helpers fill structures in")]

use core::{arch::asm, mem::MaybeUninit};

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
        bpf_fib_lookup as FibLookup, xdp_md,
    },
    helpers::bpf_fib_lookup,
    programs::XdpContext,
};
use xdp_core::{
    events::Fallback,
    frames,
    key::PacketKey,
    sources::{
        Routes, {self},
    },
    tables::Address,
};

use crate::{
    flows::{Context, key},
    frame::Frame,
    tables::{RuleMaps, is_outlet},
};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// No fallback has this code.
const ADMITTED: u32 = 0;

/// Checks whether the packet may open a flow.
#[inline(always)]
pub(crate) fn admitted(ctx: &XdpContext, context: Context) -> Result<(), Fallback> {
    match admit(ctx.ctx, context as u32) {
        ADMITTED => Ok(()),
        code if code == Fallback::ReversePath.code() => Err(Fallback::ReversePath),
        code if code == Fallback::NotForwarded.code() => Err(Fallback::NotForwarded),
        _ => Err(Fallback::Source),
    }
}

/// A global function, which the verifier checks once, for any arguments. The packet's key is in its map.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn admit(ctx: *mut xdp_md, context: u32) -> u32 {
    let ctx = XdpContext::new(ctx);
    let frame = Frame::new(&ctx);
    let Some(key) = key(context) else {
        return Fallback::Source.code();
    };
    let Ok(receiver) = frames::receiver(&frame, key.tags(), &RuleMaps) else {
        return Fallback::Source.code();
    };
    match sources::check(key.source(), receiver, &Fib { ctx: &ctx, key }) {
        Ok(()) => ADMITTED,
        Err(reason) => reason.code(),
    }
}

/// The kernel's routes.
struct Fib<'a> {
    ctx: &'a XdpContext,
    key: &'a PacketKey,
}

impl Routes for Fib<'_> {
    #[inline(always)]
    fn forward(&self, device: u32) -> Option<u32> {
        // A route that leads back to where the packet came from does not lead to the pod.
        self.ask(device, self.key.source(), self.key.destination())
            .filter(|to| *to != device)
    }

    #[inline(always)]
    fn back(&self, device: u32) -> Option<u32> {
        self.ask(device, self.key.destination(), self.key.source())
    }

    #[inline(always)]
    fn leaves(&self, device: u32) -> bool {
        is_outlet(device)
    }
}

impl Fib<'_> {
    /// Returns the interface by which the stack would forward a packet that comes from `device`.
    #[inline(always)]
    fn ask(&self, device: u32, source: &Address, destination: &Address) -> Option<u32> {
        let mut memory = MaybeUninit::uninit();
        let fib = zeroed(&mut memory);
        fib.ifindex = device;
        if source.is_v4() {
            fib.family = AF_INET;
            fib.__bindgen_anon_3.ipv4_src = (source.low as u32).to_be();
            fib.__bindgen_anon_4.ipv4_dst = (destination.low as u32).to_be();
        } else {
            fib.family = AF_INET6;
            fib.__bindgen_anon_3.ipv6_src = source.words();
            fib.__bindgen_anon_4.ipv6_dst = destination.words();
        }
        // SAFETY: the context is the program's own, and the length is that of the structure.
        let answer = unsafe { bpf_fib_lookup(self.ctx.ctx.cast(), fib, size_of::<FibLookup>() as i32, 0) };
        let found = matches!(
            answer as u32,
            BPF_FIB_LKUP_RET_SUCCESS | BPF_FIB_LKUP_RET_NO_NEIGH | BPF_FIB_LKUP_RET_FRAG_NEEDED
        );
        found.then_some(fib.ifindex)
    }
}

/// Scratch for a question, and the answer.
#[repr(C, align(8))]
pub(crate) struct FibScratch(FibLookup);

/// Zeroes the parameters word by word: the compiler would otherwise call `memset`.
#[inline(always)]
pub(crate) fn zeroed(memory: &mut MaybeUninit<FibScratch>) -> &mut FibLookup {
    let mut words = memory.as_mut_ptr().cast::<u64>();
    for word in 0..size_of::<FibScratch>() / size_of::<u64>() {
        // SAFETY: inside the structure, which has the alignment of words.
        unsafe { words.add(word).write_volatile(0) };
    }
    // SAFETY: a move to itself. The compiler must assume that the words were changed.
    unsafe { asm!("{0} = {0}", inout(reg) words) };
    // SAFETY: all of it was written, and all zero is a valid value.
    unsafe { &mut (*words.cast::<FibScratch>()).0 }
}
