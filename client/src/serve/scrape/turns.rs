//! Which scrapes run at the same time.

use std::collections::BTreeSet;

use crate::serve::places::Network;

/// Concurrent scrapes: a cluster has one Prometheus, or two.
pub(in crate::serve) const SCRAPES: usize = 2;

/// The networks whose scrapes run. Each has one at a time, so that one slow client leaves the others a turn.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeSet<Network>);

impl Turns {
    /// Starts a scrape, if it may run.
    pub(super) fn start(&mut self, network: Network) -> bool {
        self.0.len() < SCRAPES && self.0.insert(network)
    }

    /// Ends the scrape of a network.
    pub(super) fn end(&mut self, network: Network) {
        self.0.remove(&network);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn network(last: u8) -> Network {
        Network::V4(Ipv4Addr::new(10, 0, 0, last))
    }

    #[test]
    fn a_client_with_a_slow_scrape_leaves_a_turn_to_others() {
        let mut turns = Turns::default();
        assert!(turns.start(network(1)));
        assert!(!turns.start(network(1)));
        assert!(turns.start(network(2)));
        assert!(!turns.start(network(3)), "two at the same time");
        turns.end(network(1));
        assert!(turns.start(network(3)));
    }
}
