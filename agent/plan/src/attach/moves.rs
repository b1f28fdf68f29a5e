//! How often a program may be moved in front of others.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::hook::AttachPoint;

/// Most moves of one program within ten minutes.
pub const MOST_MOVES: usize = 3;
/// The time after which a move is forgotten.
pub(super) const PERIOD: Duration = Duration::from_mins(10);

/// The recent moves. An owner that insists on the first place, too, would otherwise make redirects start and
/// stop for ever, and each start breaks connections.
#[derive(Clone, Debug, Default)]
pub struct Moves(BTreeMap<AttachPoint, Vec<Instant>>);

impl Moves {
    /// Returns whether the program has been moved too often to be moved again.
    pub fn is_exhausted(&self, point: AttachPoint, now: Instant) -> bool {
        let moves = self.0.get(&point);
        moves.is_some_and(|moves| recent(moves, now).count() >= MOST_MOVES)
    }

    /// Notes a move.
    pub fn note(&mut self, point: AttachPoint, now: Instant) {
        for moves in self.0.values_mut() {
            *moves = recent(moves, now).collect();
        }
        self.0.retain(|_, moves| !moves.is_empty());
        self.0.entry(point).or_default().push(now);
    }
}

fn recent(moves: &[Instant], now: Instant) -> impl Iterator<Item = Instant> {
    let is_recent = move |moved: &Instant| now.saturating_duration_since(*moved) < PERIOD;
    moves.iter().copied().filter(is_recent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Hook;

    const POINT: AttachPoint = AttachPoint::new(Hook::PodOut, 7);

    #[test]
    fn a_program_is_moved_only_so_often_within_the_period() {
        let (mut moves, start) = (Moves::default(), Instant::now());
        for second in 0..MOST_MOVES as u64 {
            let now = start + Duration::from_secs(second);
            assert!(!moves.is_exhausted(POINT, now), "{second}");
            moves.note(POINT, now);
        }
        assert!(moves.is_exhausted(POINT, start + Duration::from_mins(9)));
        assert!(!moves.is_exhausted(POINT, start + PERIOD));
        assert!(!moves.is_exhausted(AttachPoint::new(Hook::PodIn, 7), start));
    }
}
