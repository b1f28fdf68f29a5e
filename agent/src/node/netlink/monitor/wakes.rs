//! Decides when changes are reported: after a burst, and each origin's at a bounded rate.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A burst ends when no event came for this long …
const QUIET: Duration = Duration::from_millis(10);
/// … and is reported after this long even if it goes on.
const LONGEST_BURST: Duration = Duration::from_millis(100);
/// Events of one origin that are reported without a pause.
const AT_ONCE: u32 = 16;
/// The pause between later ones.
const PAUSE: Duration = Duration::from_millis(500);
/// Origins that are remembered. Beyond, those that are quiet are forgotten.
const ORIGINS: usize = 4096;

/// Where an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// A pod's network namespace, by its id.
    Namespace(i32),
    /// An interface of the host, by its index.
    Interface(u32),
    /// The host itself.
    Host,
    /// Events were lost.
    Lost,
}

/// The state of reporting.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    origins: BTreeMap<Origin, Credit>,
    /// The first and the last event that are not reported yet.
    burst: Option<(Instant, Instant)>,
}

/// An origin's credit: it is full at `full`, and each event moves that into the future.
#[derive(Clone, Copy, Debug)]
struct Credit {
    full: Instant,
    /// An event waits for credit.
    waits: bool,
}

impl Credit {
    /// Returns when the next event may be reported.
    fn next(&self) -> Instant {
        self.full.checked_sub(PAUSE * (AT_ONCE - 1)).unwrap_or(self.full)
    }

    fn spend(&mut self, now: Instant) {
        self.full = self.full.max(now) + PAUSE;
        self.waits = false;
    }
}

impl Wakes {
    /// Notes an event.
    pub(super) fn note(&mut self, origin: Origin, now: Instant) {
        if self.origins.len() >= ORIGINS {
            self.origins.retain(|_, credit| credit.waits || credit.full > now);
        }
        let new = Credit {
            full: now,
            waits: false,
        };
        let credit = self.origins.entry(origin).or_insert(new);
        if credit.next() > now {
            credit.waits = true;
            return;
        }
        credit.spend(now);
        let (first, _) = self.burst.unwrap_or((now, now));
        self.burst = Some((first, now));
    }

    /// Returns when [`Wakes::take`] is to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        let burst = self
            .burst
            .map(|(first, last)| (first + LONGEST_BURST).min(last + QUIET));
        let waiting = self.origins.values().filter(|credit| credit.waits);
        waiting.map(Credit::next).chain(burst).min()
    }

    /// Returns whether changes are to be reported now. Events that have waited for credit are reported at
    /// once, or with a burst that ends now.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let ends = |(first, last): (Instant, Instant)| now >= (first + LONGEST_BURST).min(last + QUIET);
        let mut reports = self.burst.is_some_and(ends);
        for credit in self.origins.values_mut() {
            if credit.waits && credit.next() <= now {
                credit.spend(now);
                reports = true;
            }
        }
        if reports {
            self.burst = None;
        }
        reports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: Origin = Origin::Namespace(4);

    /// Lets time pass, with an event of `origin` every millisecond, and returns when changes are reported.
    fn reports(wakes: &mut Wakes, origin: Origin, (begin, end): (u64, u64), start: Instant) -> Vec<u64> {
        let mut reports = Vec::new();
        for millisecond in begin..end {
            let now = start + Duration::from_millis(millisecond);
            wakes.note(origin, now);
            if wakes.take(now) {
                reports.push(millisecond);
            }
        }
        reports
    }

    #[test]
    fn a_burst_is_reported_once_after_it_ends() {
        let (mut wakes, start) = (Wakes::default(), Instant::now());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        wakes.note(POD, start);
        wakes.note(Origin::Host, at(5));
        assert_eq!(wakes.due(), Some(at(15)));
        assert!(!wakes.take(at(14)));
        assert!(wakes.take(at(15)));
        assert_eq!((wakes.due(), wakes.take(at(20))), (None, false));
    }

    #[test]
    fn a_flood_of_one_origin_is_reported_twice_a_second_and_its_last_event_always() {
        let (mut wakes, start) = (Wakes::default(), Instant::now());
        let soon = reports(&mut wakes, POD, (0, 1000), start);
        assert!(soon.len() <= 4, "{soon:?}");
        let later = reports(&mut wakes, POD, (1000, 11_000), start);
        assert!((18..=21).contains(&later.len()), "{later:?}");
        let due = wakes.due().expect("the last event is not lost");
        assert!(due <= start + Duration::from_millis(11_500));
        assert!(wakes.take(due));
        assert_eq!(wakes.due(), None);
    }

    #[test]
    fn a_flood_of_one_origin_delays_no_other() {
        let (mut wakes, start) = (Wakes::default(), Instant::now());
        reports(&mut wakes, POD, (0, 10_000), start);
        let now = start + Duration::from_secs(10);
        wakes.note(Origin::Namespace(5), now);
        assert!(wakes.take(now + QUIET));
    }

    #[test]
    fn quiet_origins_are_forgotten() {
        let (mut wakes, start) = (Wakes::default(), Instant::now());
        for index in 0..2 * ORIGINS as u32 {
            wakes.note(
                Origin::Interface(index),
                start + Duration::from_secs(index.into()),
            );
        }
        assert!(wakes.origins.len() <= ORIGINS, "{}", wakes.origins.len());
    }
}
