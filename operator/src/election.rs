//! Leader election of the operator's replicas, by a Lease. Only the leader writes; the others keep their
//! stores current.
//!
//! It works as in client-go, without comparing clocks of different machines. A follower acquires the Lease if
//! the Lease is free, or has not changed for its duration. A leader that cannot renew the Lease stops leading
//! after a shorter time.
//!
//! ```text
//! follower ──the Lease is free or expired──▶ leader ──SIGTERM──▶ releases the Lease, exits
//!     ▲                                     │    │
//!     └───the API server does not answer────┘    └──another process holds the Lease──▶ exits
//! ```
//!
//! A leader that cannot reach the API server becomes a follower in the same process, because a restart would
//! not help. If another process holds the Lease afterwards, it exits.

mod lease;
#[cfg(test)]
mod tests;
mod thread;

use std::time::{Duration, Instant};

pub use lease::{Candidate, LostLeadership};
pub use thread::Campaign;

/// The duration of the Lease: others acquire it if its holder has not renewed it for this long.
pub const LEASE: Duration = Duration::from_secs(15);
/// A leader that has not renewed the Lease for this long stops leading.
pub const RENEW: Duration = Duration::from_secs(10);
/// Time between two attempts.
pub const RETRY: Duration = Duration::from_secs(2);

/// What the election needs of a Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The holder; empty if the Lease is free.
    pub holder: String,
    /// The duration of the Lease.
    pub duration: Duration,
    /// A value that changes with each renewal.
    pub version: String,
}

/// What to do with a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAction {
    /// Create it: the Lease is absent.
    Create,
    /// Acquire it: the Lease is free or expired.
    Acquire,
    /// Renew it: this process holds the Lease.
    Renew,
    /// Wait: another process holds the Lease.
    Wait,
}

/// Remembers, by this machine's clock, since when a Lease is unchanged.
#[derive(Debug, Default)]
pub struct LeaseObserver {
    seen: Option<(LeaseRecord, Instant)>,
}

impl LeaseObserver {
    /// Decides what the process `me` does with a Lease.
    pub fn decide(&mut self, me: &str, lease: Option<LeaseRecord>, now: Instant) -> LeaseAction {
        let Some(lease) = lease else {
            self.seen = None;
            return LeaseAction::Create;
        };
        let since = match &self.seen {
            Some((record, since)) if *record == lease => *since,
            _ => now,
        };
        let action = if lease.holder == me {
            LeaseAction::Renew
        } else if lease.holder.is_empty() || now >= since + lease.duration {
            LeaseAction::Acquire
        } else {
            LeaseAction::Wait
        };
        self.seen = Some((lease, since));
        action
    }
}

/// The result of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// This process holds the Lease. The request was sent at this time.
    Held(Instant),
    /// Another process holds the Lease.
    Other(String),
    /// The API server did not answer, or refused the request.
    Unknown,
}

/// The role of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The process has never led.
    Follower,
    /// The process leads. It last renewed the Lease at this time.
    Leader(Instant),
    /// The process has led, and could not renew the Lease in time.
    Suspended,
    /// The process has led, and another one leads now: it must exit.
    LostLeadership(String),
}

impl Role {
    /// Returns the role after an attempt.
    #[must_use]
    pub fn after(self, outcome: Attempt, now: Instant) -> Self {
        match (self, outcome) {
            (Self::LostLeadership(holder), _) => Self::LostLeadership(holder),
            (_, Attempt::Held(asked)) => Self::Leader(asked),
            (Self::Follower, _) => Self::Follower,
            (_, Attempt::Other(holder)) => Self::LostLeadership(holder),
            (Self::Leader(renewed), Attempt::Unknown) if now < renewed + RENEW => Self::Leader(renewed),
            (_, Attempt::Unknown) => Self::Suspended,
        }
    }

    /// Returns whether the process may write.
    pub fn leads(&self) -> bool {
        matches!(self, Self::Leader(_))
    }

    /// Returns the deadline of an attempt. A leader must stop leading in time.
    pub fn deadline(&self, now: Instant) -> Instant {
        match self {
            Self::Leader(renewed) => (*renewed + RENEW).min(now + RENEW / 2),
            Self::Follower | Self::Suspended | Self::LostLeadership(_) => now + RENEW / 2,
        }
    }
}
