//! The Lease in the API, and the attempts to hold it.

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

use super::{Attempt, LEASE, LeaseAction, LeaseObserver, LeaseRecord, RETRY, Role};
use crate::MANAGER;

/// Another process holds the Lease now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lost leadership to `{holder}`; restart to follow")]
pub struct LostLeadership {
    /// The new holder.
    pub holder: String,
}

/// A process that takes part in the election.
pub struct Candidate {
    leases: Api<Lease>,
    me: String,
    observer: LeaseObserver,
    /// The last known Lease.
    lease: Option<Lease>,
}

impl Candidate {
    /// Creates a candidate with a unique identity.
    pub fn new(client: Client, namespace: &str, me: impl Into<String>) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            me: me.into(),
            observer: LeaseObserver::default(),
            lease: None,
        }
    }

    /// Takes part in the election until leadership is lost. Sets `leads` to whether this process leads.
    pub async fn campaign(&mut self, leads: &watch::Sender<bool>) -> LostLeadership {
        let mut role = Role::Follower;
        loop {
            let started = Instant::now();
            let deadline = role.deadline(started);
            let outcome = time::timeout_at(deadline.into(), self.attempt()).await;
            let outcome = outcome.unwrap_or(Attempt::Unknown);
            let before = role.leads();
            role = role.after(outcome, Instant::now());
            leads.send_if_modified(|led| std::mem::replace(led, role.leads()) != role.leads());
            match &role {
                Role::Leader(_) if !before => info!(identity = self.me, "became leader"),
                Role::Suspended if before => warn!("stopped leading: cannot renew the lease"),
                Role::LostLeadership(holder) => {
                    return LostLeadership {
                        holder: holder.clone(),
                    };
                }
                Role::Follower | Role::Leader(_) | Role::Suspended => {}
            }
            let pause = RETRY.mul_f32(1.0 + jitter() / 5.0);
            let next = role.deadline(Instant::now()).min(Instant::now() + pause);
            // The deadline of a leader may be very near, or past.
            time::sleep_until(next.max(started + Duration::from_millis(100)).into()).await;
        }
    }

    /// Releases the Lease, so that another process can acquire it at once.
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
            Ok(Ok(_)) => info!("released the lease"),
            Ok(Err(error)) => warn!(%error, "cannot release the lease; it will expire"),
            Err(_) => warn!("cannot release the lease in time; it will expire"),
        }
    }

    async fn attempt(&mut self) -> Attempt {
        match self.try_once().await {
            Ok(outcome) => outcome,
            Err(error) => {
                debug!(%error, "cannot read or write the lease");
                Attempt::Unknown
            }
        }
    }

    async fn try_once(&mut self) -> Result<Attempt, kube::Error> {
        self.lease = self.leases.get_opt(MANAGER).await?;
        let seen = self.lease.as_ref().map(record);
        let holder = seen
            .as_ref()
            .map(|record| record.holder.clone())
            .unwrap_or_default();
        let asked = Instant::now();
        let action = self.observer.decide(&self.me, seen, asked);
        let lease = match action {
            LeaseAction::Wait => return Ok(Attempt::Other(holder)),
            LeaseAction::Create => self.leases.create(&params(), &self.held(None)).await?,
            LeaseAction::Acquire | LeaseAction::Renew => {
                let lease = self.held(Some(action));
                self.replace(&lease).await?
            }
        };
        self.lease = Some(lease);
        Ok(Attempt::Held(asked))
    }

    /// Replaces the Lease with its version: the API server refuses if another process has written it since.
    async fn replace(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        self.leases.replace(MANAGER, &params(), lease).await
    }

    /// Returns the Lease, held by this process.
    fn held(&self, action: Option<LeaseAction>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = self.lease.clone().unwrap_or_default();
        let old = before.spec.unwrap_or_default();
        let mut spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: Some(LEASE.as_secs() as i32),
            renew_time: Some(now.clone()),
            ..old
        };
        if action != Some(LeaseAction::Renew) {
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

fn record(lease: &Lease) -> LeaseRecord {
    let spec = lease.spec.as_ref();
    let seconds = spec
        .and_then(|spec| spec.lease_duration_seconds)
        .unwrap_or_default();
    LeaseRecord {
        holder: spec
            .and_then(|spec| spec.holder_identity.clone())
            .unwrap_or_default(),
        duration: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}
