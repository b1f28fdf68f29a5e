//! Who leads: one of the operators, by a Lease. Only the leader writes; the others keep their caches warm.
//!
//! As client-go does it: nobody compares clocks of different machines. A follower takes the Lease over when it has not
//! seen it change for as long as its holder asked for; a leader stops leading when it could not renew for a shorter time.
//!
//! ```text
//! follower ──the Lease is free, or has stood still──▶ leader ──SIGTERM──▶ gives it back, ends
//!     ▲                                              │    │
//!     └──────the API server gives no answer──────────┘    └──somebody else holds it──▶ ends
//! ```
//!
//! A leader that cannot reach the API server becomes a follower in the same process: nothing is gained by starting it
//! again and again while the server is away. If it finds the Lease with somebody else afterwards, it ends.

mod lease;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub use lease::{Candidate, Lost};

/// How long a holder may stay silent before others take over.
pub const LEASE: Duration = Duration::from_secs(15);
/// How long a leader leads without having renewed.
pub const RENEW: Duration = Duration::from_secs(10);
/// From one look at the Lease to the next.
pub const RETRY: Duration = Duration::from_secs(2);

/// What matters of a Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty: nobody.
    pub holder: String,
    /// How long the holder may stay silent.
    pub duration: Duration,
    /// Anything that changes with each renewal.
    pub version: String,
}

/// What to do with a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// There is none: make it.
    Create,
    /// Nobody holds it, or its holder is gone: take it.
    Take,
    /// It is ours: renew it.
    Renew,
    /// It is somebody else's.
    Wait,
}

/// Remembers since when a Lease stands still, by this machine's clock.
#[derive(Debug, Default)]
pub struct Observer {
    seen: Option<(Record, Instant)>,
}

impl Observer {
    /// Decides what `me` does with the Lease as it is now.
    pub fn decide(&mut self, me: &str, lease: Option<Record>, now: Instant) -> Action {
        let Some(lease) = lease else {
            self.seen = None;
            return Action::Create;
        };
        let since = match &self.seen {
            Some((record, since)) if *record == lease => *since,
            _ => now,
        };
        let action = if lease.holder == me {
            Action::Renew
        } else if lease.holder.is_empty() || now >= since + lease.duration {
            Action::Take
        } else {
            Action::Wait
        };
        self.seen = Some((lease, since));
        action
    }
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The Lease is ours, asked for at this time.
    Held(Instant),
    /// Somebody else has it.
    Other(String),
    /// No answer, or one that leaves it open.
    Unknown,
}

/// Where this process stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has never led.
    Follower,
    /// It leads, having renewed at this time.
    Leader(Instant),
    /// It has led, and could not renew in time.
    Suspended,
    /// It has led, and now somebody else does: it must end.
    Deposed(String),
}

impl Standing {
    /// Where it stands after an attempt.
    #[must_use]
    pub fn after(self, outcome: Outcome, now: Instant) -> Self {
        match (self, outcome) {
            (Self::Deposed(holder), _) => Self::Deposed(holder),
            (_, Outcome::Held(asked)) => Self::Leader(asked),
            (Self::Follower, _) => Self::Follower,
            (_, Outcome::Other(holder)) => Self::Deposed(holder),
            (Self::Leader(renewed), Outcome::Unknown) if now < renewed + RENEW => Self::Leader(renewed),
            (_, Outcome::Unknown) => Self::Suspended,
        }
    }

    /// Whether it may write.
    pub fn leads(&self) -> bool {
        matches!(self, Self::Leader(_))
    }

    /// Until when an attempt may take: a leader must know in time that it is none any more.
    pub fn deadline(&self, now: Instant) -> Instant {
        match self {
            Self::Leader(renewed) => (*renewed + RENEW).min(now + RENEW / 2),
            Self::Follower | Self::Suspended | Self::Deposed(_) => now + RENEW / 2,
        }
    }
}
