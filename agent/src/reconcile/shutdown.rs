//! SIGTERM and SIGINT as events.

use std::{io, sync::mpsc::Sender, thread};

use anyhow::Context as _;
use nix::sys::signal::{SigSet, Signal};

use crate::reconcile::Event;

/// Blocks both signals for this thread and those it starts from now on, and sends [`Event::Stop`] on the
/// first.
pub(super) fn shutdown_signal(sender: Sender<Event>) -> anyhow::Result<()> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    signals
        .thread_block()
        .map_err(io::Error::from)
        .context("signals cannot be blocked")?;
    let wait = move || {
        if signals.wait().is_ok() {
            // A receiver that is gone means that the loop has ended already.
            let _ = sender.send(Event::Stop);
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .context("thread cannot be started")?;
    Ok(())
}
