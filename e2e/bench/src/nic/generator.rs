//! Sends to the lab's veth pair, to try the benchmark without a NIC.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::Result;
use xdp_lab::bpf;

use crate::{
    instruments::{FrameSet, Instruments},
    sys,
    testbed::Testbed,
    workload::Workload,
};

/// A sender that runs until it is dropped.
pub(super) struct Generator {
    done: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
}

impl Generator {
    /// Sends one flow to the first pod, from the client's end of the wire: the kernel redirects injected
    /// frames to it.
    pub(super) fn start(testbed: &Testbed<'_>, workload: &Workload) -> Result<Self> {
        let mut instruments = Instruments::load(false)?;
        let (client, wire) = (testbed.plain_nic.client.clone(), &testbed.plain_nic.wire);
        let index = client.interface(wire)?.index;
        instruments.add_device(&client, 0, index)?;
        instruments.set_frames(FrameSet(0), &[testbed.frame(workload, &workload.probe(0))])?;
        instruments.prepare(&instruments.program("redirect_one")?, FrameSet(0), u64::MAX)?;
        let (feeder, done) = (instruments.program("feed")?, Arc::new(AtomicBool::new(false)));
        let over = Arc::clone(&done);
        let sender = thread::spawn(move || {
            let _keep = instruments;
            // An error ends the sender; then the measurement shows no packets.
            let _ = client.run(|| {
                sys::pin_to(0)?;
                while !over.load(Ordering::Relaxed) {
                    bpf::run_live(&feeder, &[0; 64], 100_000, index)?;
                }
                std::io::Result::Ok(())
            });
        });
        Ok(Self {
            done,
            sender: Some(sender),
        })
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            // A thread that panicked has printed its message.
            let _ = sender.join();
        }
    }
}
