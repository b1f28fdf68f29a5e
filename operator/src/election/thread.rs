//! The thread of the election: no list and no change of the cluster is so large that the Lease is renewed
//! late.

use std::thread::{self, JoinHandle};

use anyhow::Context as _;
use tokio::sync::{oneshot, watch};
use xdp_client::connect;

use super::{Candidate, LostLeadership};

/// An election in progress.
#[derive(Debug)]
pub struct Campaign {
    /// Whether this process leads.
    pub leading: watch::Receiver<bool>,
    lost: oneshot::Receiver<anyhow::Result<LostLeadership>>,
    release: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Campaign {
    /// Takes part in the election, on a thread with a connection of its own.
    pub fn start(namespace: String, identity: String) -> anyhow::Result<Self> {
        let (leads, leading) = watch::channel(false);
        let (lose, lost) = oneshot::channel();
        let (release, released) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime of the election; raise the limit of open files")?;
        let campaign = async move {
            let ended = campaign(&namespace, &identity, &leads, released).await;
            if let Some(ended) = ended.transpose() {
                // Fails only while the process ends.
                let _ = lose.send(ended);
            }
        };
        let thread = thread::Builder::new()
            .name("election".to_owned())
            .spawn(move || runtime.block_on(campaign))
            .context("cannot start the thread of the election")?;
        Ok(Self {
            leading,
            lost,
            release,
            thread,
        })
    }

    /// Waits until leadership is lost.
    pub async fn lost(&mut self) -> anyhow::Result<LostLeadership> {
        let lost = (&mut self.lost).await;
        lost.context("the thread of the election has ended")?
    }

    /// Releases the Lease, so that another process can acquire it at once. Nothing may be written after that.
    pub fn release(self) {
        // Fails only if the thread has ended, and with it the election.
        if self.release.send(()).is_ok() {
            let _ = self.thread.join();
        }
    }
}

/// Returns `None` when the Lease is released.
async fn campaign(
    namespace: &str,
    identity: &str,
    leads: &watch::Sender<bool>,
    released: oneshot::Receiver<()>,
) -> anyhow::Result<Option<LostLeadership>> {
    let mut candidate = Candidate::new(connect().await?, namespace, identity);
    let lost = tokio::select! {
        lost = candidate.campaign(leads) => Some(lost),
        _ = released => None,
    };
    if lost.is_none() {
        candidate.release().await;
    }
    Ok(lost)
}
