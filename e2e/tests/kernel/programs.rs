//! The tests' eBPF object, loaded once for each test.
#![expect(unsafe_code, reason = "items of a ring buffer are read by address")]

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, RingBuf, xdp::DevMap},
    programs::{RawTracePoint, SchedClassifier, Xdp},
};

use crate::{
    btf,
    shared::{ProbePlan, ProbeResult, SkbRecord, TraceEvent},
    wait,
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdp-e2e-ebpf"));

/// One instance of the programs, with its own maps.
pub(crate) struct Programs {
    ebpf: Ebpf,
    plan: Array<MapData, ProbePlan>,
    seen: Array<MapData, ProbeResult>,
    pub(crate) devices: DevMap<MapData>,
    records: RingBuf<MapData>,
    read: Array<MapData, u64>,
}

impl Programs {
    pub(crate) fn load() -> Self {
        let mut ebpf = load();
        xdp(&mut ebpf).load().unwrap();
        classifier(&mut ebpf).load().unwrap();
        let mut take = |name| ebpf.take_map(name).unwrap();
        Self {
            plan: take("PLAN").try_into().unwrap(),
            seen: take("SEEN").try_into().unwrap(),
            devices: take("DEVICES").try_into().unwrap(),
            records: take("RECORDS").try_into().unwrap(),
            read: take("READ").try_into().unwrap(),
            ebpf,
        }
    }

    pub(crate) fn xdp(&self) -> BorrowedFd<'_> {
        let program: &Xdp = self.ebpf.program("act").unwrap().try_into().unwrap();
        program.fd().unwrap().as_fd()
    }

    pub(crate) fn reader(&self) -> BorrowedFd<'_> {
        let program: &SchedClassifier = self.ebpf.program("reader").unwrap().try_into().unwrap();
        program.fd().unwrap().as_fd()
    }

    pub(crate) fn pin_xdp(&mut self, path: &Path) {
        xdp(&mut self.ebpf).pin(path).unwrap();
    }

    pub(crate) fn plan(&mut self, plan: ProbePlan) {
        self.plan.set(0, plan, 0).unwrap();
    }

    pub(crate) fn seen(&self) -> ProbeResult {
        self.seen.get(&0, 0).unwrap()
    }

    /// Waits until the XDP program has seen this many frames, and returns what it found at the last one.
    pub(crate) fn seen_after(&self, frames: u64) -> ProbeResult {
        wait::until("the XDP program saw the frames", || {
            Some(self.seen()).filter(|seen| seen.frames >= frames)
        })
    }

    /// Returns how many skbs the reader has seen.
    pub(crate) fn read(&self) -> u64 {
        self.read.get(&0, 0).unwrap()
    }

    /// Waits for the next `count` skbs that the reader sees.
    pub(crate) fn records(&mut self, count: usize) -> Vec<SkbRecord> {
        let mut records = Vec::new();
        wait::until("the reader saw the packets", || {
            records.extend(self.records_so_far());
            (records.len() >= count).then_some(())
        });
        assert_eq!(records.len(), count, "more packets than expected");
        records
    }

    pub(crate) fn record(&mut self) -> SkbRecord {
        self.records(1).remove(0)
    }

    pub(crate) fn records_so_far(&mut self) -> Vec<SkbRecord> {
        drain(&mut self.records)
    }
}

/// Records the XDP tracepoints of the whole machine.
pub(crate) struct Tracer {
    // Detaches on drop.
    _ebpf: Ebpf,
    events: RingBuf<MapData>,
    kept: Vec<TraceEvent>,
}

impl Tracer {
    pub(crate) fn start() -> Self {
        let mut ebpf = load();
        for (name, tracepoint) in [
            ("redirect_err", "xdp_redirect_err"),
            ("devmap_xmit", "xdp_devmap_xmit"),
            ("exception", "xdp_exception"),
        ] {
            let program: &mut RawTracePoint = ebpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
            program.attach(tracepoint).unwrap();
        }
        Self {
            events: ebpf.take_map("EVENTS").unwrap().try_into().unwrap(),
            _ebpf: ebpf,
            kept: Vec::new(),
        }
    }

    /// Returns the events so far about frames from an interface.
    pub(crate) fn events(&mut self, from: u32) -> Vec<TraceEvent> {
        self.kept(|event| event.from == from)
    }

    /// Returns the events so far about frames to an interface.
    pub(crate) fn events_to(&mut self, to: u32) -> Vec<TraceEvent> {
        self.kept(|event| event.to == to)
    }

    fn kept(&mut self, wanted: impl Fn(&TraceEvent) -> bool) -> Vec<TraceEvent> {
        self.kept.extend(drain::<TraceEvent>(&mut self.events));
        self.kept.iter().copied().filter(wanted).collect()
    }

    pub(crate) fn events_after(&mut self, from: u32, count: usize) -> Vec<TraceEvent> {
        wait::until("the tracepoints fired", || {
            Some(self.events(from)).filter(|events| events.len() >= count)
        })
    }
}

fn load() -> Ebpf {
    // Rust has no CO-RE relocations: the loader sets the offset.
    let offset = btf::member_offset("net_device", "ifindex");
    EbpfLoader::new()
        .override_global("IFINDEX_OFFSET", &offset, true)
        .override_global("OWN_INDEXES", &crate::fixture::own_indexes(), true)
        .load(OBJECT)
        .unwrap()
}

fn xdp(ebpf: &mut Ebpf) -> &mut Xdp {
    ebpf.program_mut("act").unwrap().try_into().unwrap()
}

fn classifier(ebpf: &mut Ebpf) -> &mut SchedClassifier {
    ebpf.program_mut("reader").unwrap().try_into().unwrap()
}

fn drain<T: Copy>(ring: &mut RingBuf<MapData>) -> Vec<T> {
    let mut all = Vec::new();
    while let Some(item) = ring.next() {
        assert_eq!(item.len(), size_of::<T>());
        // SAFETY: the programs write values of this type into the ring; the shared types accept every bit
        // pattern.
        all.push(unsafe { item.as_ptr().cast::<T>().read_unaligned() });
    }
    all
}

/// Returns the errno in the causes of an aya error.
pub(crate) fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.raw_os_error();
        }
        cause = error.source();
    }
    None
}
