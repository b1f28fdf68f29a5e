//! Records which datagrams of one sender arrived.

use std::ops::Range;

/// The datagrams of one [`UdpSender`](crate::UdpSender) that arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UdpStream {
    /// Datagrams, duplicates not counted.
    pub distinct: u64,
    /// Datagrams that had arrived before.
    pub duplicates: u64,
    /// Datagrams that arrived after a later one.
    pub reordered: u64,
    /// One bit per number.
    seen: Vec<u64>,
    highest: Option<u64>,
}

impl UdpStream {
    pub(super) fn arrived(&mut self, number: u64) {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            self.duplicates += 1;
            return;
        }
        self.seen[word] |= bit;
        self.distinct += 1;
        self.reordered += u64::from(self.highest.is_some_and(|highest| number < highest));
        self.highest = self.highest.max(Some(number));
    }

    /// Returns whether this number arrived.
    pub fn has(&self, number: u64) -> bool {
        let word = self.seen.get((number / 64) as usize);
        word.is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// Returns the numbers below `sent` that did not arrive, as ranges.
    pub fn missing(&self, sent: u64) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for number in (0..sent).filter(|number| !self.has(*number)) {
            match ranges.last_mut() {
                Some(range) if range.end == number => range.end += 1,
                _ => ranges.push(number..number + 1),
            }
        }
        ranges
    }

    /// Returns how many of `sent` datagrams did not arrive.
    pub fn lost(&self, sent: u64) -> u64 {
        self.missing(sent)
            .iter()
            .map(|range| range.end - range.start)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(numbers: &[u64]) -> UdpStream {
        let mut stream = UdpStream::default();
        for number in numbers {
            stream.arrived(*number);
        }
        stream
    }

    #[test]
    fn gaps_count_as_lost() {
        let stream = stream(&[0, 1, 4, 130]);
        assert_eq!(stream.missing(132), [2..4, 5..130, 131..132]);
        assert_eq!(stream.lost(132), 128);
    }

    #[test]
    fn a_duplicate_is_neither_new_nor_reordered() {
        let stream = stream(&[0, 1, 0]);
        assert_eq!((stream.distinct, stream.duplicates, stream.reordered), (2, 1, 0));
    }

    #[test]
    fn a_datagram_after_a_later_one_is_reordered_and_not_lost() {
        let stream = stream(&[0, 2, 1, 3]);
        assert_eq!((stream.reordered, stream.lost(4)), (1, 0));
    }
}
