//! The results of reviews, by token.
//!
//! Without a cache, each scrape would cost the API server two requests. As in Kubernetes' own servers,
//! a right that is taken away is noticed when the result expires.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use ring::digest::{SHA256, digest};

/// How long a token that may read the metrics is not reviewed again.
pub(super) const ALLOWED: Duration = Duration::from_mins(1);
/// How long a token that may not is not reviewed again: a new role binding acts after this time.
pub(super) const REFUSED: Duration = Duration::from_secs(10);
/// How long a token that was allowed stays so while the API server does not answer: metrics are wanted most
/// during an outage.
pub(super) const OUTAGE: Duration = Duration::from_mins(10);
/// Results that are kept. A cluster has a few scrapers.
const MOST: usize = 256;

/// The digest of a token: tokens themselves do not stay in memory, and cannot be guessed by the time of
/// a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(super) fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }
}

/// The result of a review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The user of the token may read the metrics.
    Allowed,
    /// This user may not.
    Forbidden(String),
    /// The token is invalid.
    Unauthenticated,
}

impl Verdict {
    const fn lifetime(&self) -> Duration {
        match self {
            Self::Allowed => ALLOWED,
            Self::Forbidden(_) | Self::Unauthenticated => REFUSED,
        }
    }
}

/// What the cache knows of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cached {
    /// No review is needed.
    Fresh(Verdict),
    /// The token was allowed, and a review is due.
    WasAllowed,
    /// The token must be reviewed.
    Unknown,
}

/// A bounded cache.
#[derive(Debug, Default)]
pub(super) struct ReviewCache(BTreeMap<TokenDigest, (Verdict, Instant)>);

impl ReviewCache {
    pub(super) fn look_up(&self, token: TokenDigest, now: Instant) -> Cached {
        let Some((verdict, reviewed)) = self.0.get(&token) else {
            return Cached::Unknown;
        };
        let age = now.saturating_duration_since(*reviewed);
        if age <= verdict.lifetime() {
            Cached::Fresh(verdict.clone())
        } else if *verdict == Verdict::Allowed && age <= OUTAGE {
            Cached::WasAllowed
        } else {
            Cached::Unknown
        }
    }

    /// Forgets a result.
    pub(super) fn remove(&mut self, token: TokenDigest) {
        self.0.remove(&token);
    }

    /// Stores a result. A full cache forgets a refused token first, then the result that is oldest.
    pub(super) fn insert(&mut self, token: TokenDigest, verdict: Verdict, now: Instant) {
        self.0.remove(&token);
        if self.0.len() >= MOST {
            let oldest = self.0.iter().min_by_key(|(_, (verdict, reviewed))| {
                let allowed =
                    *verdict == Verdict::Allowed && now.saturating_duration_since(*reviewed) <= OUTAGE;
                (allowed, *reviewed)
            });
            if let Some((&oldest, _)) = oldest {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(token, (verdict, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_result_is_cached_for_a_short_time_which_is_shorter_for_a_refusal() {
        let (mut cache, start) = (ReviewCache::default(), Instant::now());
        let forbidden = Verdict::Forbidden("prometheus".to_owned());
        for (name, verdict, lifetime) in [
            ("a", Verdict::Allowed, ALLOWED),
            ("b", forbidden, REFUSED),
            ("c", Verdict::Unauthenticated, REFUSED),
        ] {
            let token = TokenDigest::of(name);
            assert_eq!(cache.look_up(token, start), Cached::Unknown);
            cache.insert(token, verdict.clone(), start);
            assert_eq!(
                cache.look_up(token, start + lifetime),
                Cached::Fresh(verdict.clone())
            );
            let expired = cache.look_up(token, start + lifetime + SECOND);
            assert_ne!(expired, Cached::Fresh(verdict));
        }
    }

    #[test]
    fn only_a_token_that_was_allowed_is_remembered_for_an_outage_and_not_for_ever() {
        let (mut cache, start) = (ReviewCache::default(), Instant::now());
        let [allowed, refused] = ["a", "b"].map(TokenDigest::of);
        cache.insert(allowed, Verdict::Allowed, start);
        cache.insert(refused, Verdict::Unauthenticated, start);
        assert_eq!(cache.look_up(allowed, start + OUTAGE), Cached::WasAllowed);
        assert_eq!(cache.look_up(allowed, start + OUTAGE + SECOND), Cached::Unknown);
        assert_eq!(cache.look_up(refused, start + REFUSED + SECOND), Cached::Unknown);
    }

    #[test]
    fn invalid_tokens_do_not_displace_those_that_are_allowed() {
        let (mut cache, start) = (ReviewCache::default(), Instant::now());
        let allowed = TokenDigest::of("prometheus");
        cache.insert(allowed, Verdict::Allowed, start);
        for number in 0..10_000 {
            let token = TokenDigest::of(&number.to_string());
            cache.insert(token, Verdict::Unauthenticated, start + SECOND);
        }
        assert_eq!(cache.0.len(), MOST);
        assert_eq!(cache.look_up(allowed, start), Cached::Fresh(Verdict::Allowed));
    }
}
