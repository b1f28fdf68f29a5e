//! Compares installed blocks with compiled ones.

use xdp_core::tables::{ActionRecord, NO_MATCH, PodBlock, PortRef, PortTarget, Ports, SOURCES, SourceRef};

use crate::{compile::Compiled, installed::Blocks};

/// Returns whether the pod's block matches `compiled`. `has_numbers` returns whether the numbers of an
/// installed record are those of the rule at a position.
pub(crate) fn holds(
    blocks: &Blocks,
    pod: &PodBlock,
    compiled: &Compiled,
    has_numbers: impl Fn(usize, &ActionRecord) -> bool,
) -> bool {
    let mut walk = Walk {
        blocks,
        compiled,
        has_numbers,
        actions: Seen::new(compiled.actions.len()),
        leaves: Seen::new(compiled.leaves.len()),
        tops: Seen::new(compiled.tops.len()),
        roots: Seen::new(compiled.roots.len()),
        classes: Seen::new(compiled.classes.len()),
        sources_v4: Seen::new(compiled.sources_v4.len()),
        sources_v6: Seen::new(compiled.sources_v6.len()),
    };
    walk.sources_v4(compiled.root_v4, pod.sources_v4) && walk.sources_v6(compiled.root_v6, pod.sources_v6)
}

struct Walk<'a, F> {
    blocks: &'a Blocks,
    compiled: &'a Compiled,
    has_numbers: F,
    actions: Seen,
    leaves: Seen,
    tops: Seen,
    roots: Seen,
    classes: Seen,
    sources_v4: Seen,
    sources_v6: Seen,
}

/// The installed block that was last found equal, by position of the compiled one.
struct Seen(Vec<u32>);

impl Seen {
    fn new(count: usize) -> Self {
        Self(vec![u32::MAX; count])
    }

    fn has(&self, position: usize, there: u32) -> bool {
        self.0[position] == there
    }

    fn set(&mut self, position: usize, there: u32) {
        self.0[position] = there;
    }
}

impl<F: Fn(usize, &ActionRecord) -> bool> Walk<'_, F> {
    fn sources_v4(&mut self, here: SourceRef, there: SourceRef) -> bool {
        let (here, there) = match (here.get(), there.get()) {
            (Ok(here), Ok(there)) => return self.class(here, there),
            (Err(here), Err(there)) => (here as usize, there),
            _ => return false,
        };
        if self.sources_v4.has(here, there) {
            return true;
        }
        let (compiled, blocks) = (self.compiled, self.blocks);
        let own = &compiled.sources_v4[here];
        let same = blocks.sources_v4.get(there).is_some_and(|block| {
            block.bounds == own.bounds && self.all(&own.targets, &block.targets, Self::sources_v4)
        });
        if same {
            self.sources_v4.set(here, there);
        }
        same
    }

    fn sources_v6(&mut self, here: SourceRef, there: SourceRef) -> bool {
        let (here, there) = match (here.get(), there.get()) {
            (Ok(here), Ok(there)) => return self.class(here, there),
            (Err(here), Err(there)) => (here as usize, there),
            _ => return false,
        };
        if self.sources_v6.has(here, there) {
            return true;
        }
        let (compiled, blocks) = (self.compiled, self.blocks);
        let own = &compiled.sources_v6[here];
        let same = blocks.sources_v6.get(there).is_some_and(|block| {
            block.bounds == own.bounds && self.all(&own.targets, &block.targets, Self::sources_v6)
        });
        if same {
            self.sources_v6.set(here, there);
        }
        same
    }

    fn all(
        &mut self,
        here: &[SourceRef; SOURCES],
        there: &[SourceRef; SOURCES],
        same: fn(&mut Self, SourceRef, SourceRef) -> bool,
    ) -> bool {
        here.iter()
            .zip(there)
            .all(|(here, there)| same(self, *here, *there))
    }

    fn class(&mut self, here: u32, there: u32) -> bool {
        let position = here as usize;
        if self.classes.has(position, there) {
            return true;
        }
        let own = &self.compiled.classes[position];
        let same = self.blocks.classes.get(there).is_some_and(|class| {
            self.action(own.portless, class.portless)
                && self.ports(own.tcp, class.tcp)
                && self.ports(own.udp, class.udp)
                && self.ports(own.sctp, class.sctp)
                && self.ports(own.icmp, class.icmp)
                && self.ports(own.icmpv6, class.icmpv6)
                && own.drops == class.drops
        });
        if same {
            self.classes.set(position, there);
        }
        same
    }

    fn ports(&mut self, here: PortRef, there: PortRef) -> bool {
        match (here.get(), there.get()) {
            (PortTarget::Action(here), PortTarget::Action(there)) => self.action(here, there),
            (PortTarget::Leaf(here), PortTarget::Leaf(there)) => self.leaf(here, there),
            (PortTarget::Top(here), PortTarget::Top(there)) => self.top(here, there),
            (PortTarget::Root(here), PortTarget::Root(there)) => self.root(here, there),
            _ => false,
        }
    }

    fn root(&mut self, here: u16, there: u16) -> bool {
        let (position, there) = (usize::from(here), u32::from(there));
        if self.roots.has(position, there) {
            return true;
        }
        let same = self.block(&self.compiled.roots[position], there, Self::top);
        if same {
            self.roots.set(position, there);
        }
        same
    }

    fn top(&mut self, here: u16, there: u16) -> bool {
        let (position, there) = (usize::from(here), u32::from(there));
        if self.tops.has(position, there) {
            return true;
        }
        let same = self.block(&self.compiled.tops[position], there, Self::leaf);
        if same {
            self.tops.set(position, there);
        }
        same
    }

    fn leaf(&mut self, here: u16, there: u16) -> bool {
        let (position, there) = (usize::from(here), u32::from(there));
        if self.leaves.has(position, there) {
            return true;
        }
        let same = self.block(&self.compiled.leaves[position], there, Self::action);
        if same {
            self.leaves.set(position, there);
        }
        same
    }

    fn block(&mut self, own: &Ports, there: u32, same: fn(&mut Self, u16, u16) -> bool) -> bool {
        self.blocks.ports.get(there).is_some_and(|block| {
            let values = || own.targets.iter().zip(&block.targets);
            own.bounds == block.bounds && values().all(|(here, there)| same(self, *here, *there))
        })
    }

    fn action(&mut self, here: u16, there: u16) -> bool {
        let Some(position) = usize::from(here).checked_sub(1) else {
            return there == NO_MATCH;
        };
        let there = u32::from(there);
        if self.actions.has(position, there) {
            return true;
        }
        let own = &self.compiled.actions[position];
        let same = self.blocks.actions.get(there).is_some_and(|record| {
            let unnumbered = ActionRecord {
                rule: 0,
                namespace: 0,
                ..*record
            };
            unnumbered == *own && (self.has_numbers)(position, record)
        });
        if same {
            self.actions.set(position, there);
        }
        same
    }
}
