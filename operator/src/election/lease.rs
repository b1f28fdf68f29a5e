//! The Lease in the API.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::watch, time};
use tracing::{debug, info, warn};
use xdp_client::backoff::jitter;

use super::{Action, LEASE, Observer, Outcome, RETRY, Record, Standing};
use crate::MANAGER;

/// The Lease is somebody else's now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{holder}` leads now, this process no longer; it ends, and starts anew as a follower")]
pub struct Lost {
    /// Who has it.
    pub holder: String,
}

/// Somebody who would lead.
pub struct Candidate {
    leases: Api<Lease>,
    me: String,
    observer: Observer,
    /// The Lease as it was last seen.
    lease: Option<Lease>,
}

impl Candidate {
    /// A candidate under a name that no other process has.
    pub fn new(client: Client, namespace: &str, me: impl Into<String>) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            me: me.into(),
            observer: Observer::default(),
            lease: None,
        }
    }

    /// Stands for election until it has lost the Lease. `leads` says at any time whether this process leads.
    pub async fn stand(&mut self, leads: &watch::Sender<bool>) -> Lost {
        let mut standing = Standing::Follower;
        loop {
            let started = Instant::now();
            let deadline = standing.deadline(started);
            let outcome = time::timeout_at(deadline.into(), self.attempt()).await;
            let outcome = outcome.unwrap_or(Outcome::Unknown);
            let before = standing.leads();
            standing = standing.after(outcome, Instant::now());
            leads.send_if_modified(|led| std::mem::replace(led, standing.leads()) != standing.leads());
            match &standing {
                Standing::Leader(_) if !before => info!(identity = self.me, "leads"),
                Standing::Suspended if before => warn!("leads no longer: the lease could not be renewed"),
                Standing::Deposed(holder) => {
                    return Lost {
                        holder: holder.clone(),
                    };
                }
                Standing::Follower | Standing::Leader(_) | Standing::Suspended => {}
            }
            let pause = RETRY.mul_f32(1.0 + jitter() / 5.0);
            let next = standing.deadline(Instant::now()).min(Instant::now() + pause);
            // A leader whose time is up while it waits must not wait for long.
            time::sleep_until(next.max(started + Duration::from_millis(100)).into()).await;
        }
    }

    /// Gives the Lease back, so that another can take it at once.
    pub async fn release(&mut self) {
        let Some(lease) = self.lease.clone().filter(|lease| record(lease).holder == self.me) else {
            return;
        };
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..lease.spec.clone().unwrap_or_default()
        };
        let lease = Lease {
            spec: Some(spec),
            ..lease
        };
        match time::timeout(RETRY, self.replace(&lease)).await {
            Ok(Ok(_)) => info!("lease released"),
            Ok(Err(error)) => warn!(%error, "lease not released; it expires by itself"),
            Err(_) => warn!("lease not released in time; it expires by itself"),
        }
    }

    async fn attempt(&mut self) -> Outcome {
        match self.try_once().await {
            Ok(outcome) => outcome,
            Err(error) => {
                debug!(%error, "the lease could not be read or written");
                Outcome::Unknown
            }
        }
    }

    async fn try_once(&mut self) -> Result<Outcome, kube::Error> {
        self.lease = self.leases.get_opt(MANAGER).await?;
        let seen = self.lease.as_ref().map(record);
        let holder = seen
            .as_ref()
            .map(|record| record.holder.clone())
            .unwrap_or_default();
        let asked = Instant::now();
        let action = self.observer.decide(&self.me, seen, asked);
        let lease = match action {
            Action::Wait => return Ok(Outcome::Other(holder)),
            Action::Create => self.leases.create(&params(), &self.taken(None)).await?,
            Action::Take | Action::Renew => {
                let lease = self.taken(Some(action));
                self.replace(&lease).await?
            }
        };
        self.lease = Some(lease);
        Ok(Outcome::Held(asked))
    }

    /// With the version that it had: if somebody else has written since, the API server refuses.
    async fn replace(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        self.leases.replace(MANAGER, &params(), lease).await
    }

    /// The Lease as ours.
    fn taken(&self, action: Option<Action>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = self.lease.clone().unwrap_or_default();
        let old = before.spec.unwrap_or_default();
        let mut spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: Some(LEASE.as_secs() as i32),
            renew_time: Some(now.clone()),
            ..old
        };
        if action != Some(Action::Renew) {
            spec.acquire_time = Some(now);
            spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count.saturating_add(1)));
        }
        let metadata = ObjectMeta {
            name: Some(MANAGER.to_owned()),
            ..before.metadata
        };
        Lease {
            metadata,
            spec: Some(spec),
        }
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec
        .and_then(|spec| spec.lease_duration_seconds)
        .unwrap_or_default();
    Record {
        holder: spec
            .and_then(|spec| spec.holder_identity.clone())
            .unwrap_or_default(),
        duration: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}
