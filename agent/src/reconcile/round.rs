//! One round: from what is wanted and what is there to what is in force.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{Span, field::Empty, info, info_span, warn};
use xdp_client::error_chain;
use xdp_crds::XdpNodeStateStatus;
use xdp_plan::{
    compile::Compiler,
    diff::Differ,
    node_state::{
        TABLES, node_state, {self},
    },
    report::Problem,
};

use crate::{
    datapath::Datapath,
    node::{netns::Namespaces, nic::NicSelector},
    reconcile::{
        flows::{Flows, carry, finish_migration},
        interfaces::Interfaces,
        nics::{
            NicNeeds, Nics, ReplyPath, {self},
        },
        problems::Told,
        tables::{Tables, Tools, program},
    },
    report::{explain::ProgrammedRules, metrics::AgentMetrics, serve::AgentHealth},
    source::{ObjectSource, Objects},
};

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// Everything that can be in force is.
    Settled,
    /// Something failed that may succeed later.
    Incomplete,
}

/// Where a round looks for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Only policies or pods have changed; if the round before was settled, interfaces are as it found them.
    AtObjects,
    /// At everything.
    Everywhere,
}

/// Who hears of rounds.
#[derive(Clone, Default)]
pub(super) struct Listeners {
    pub(super) health: Arc<AgentHealth>,
    pub(super) metrics: Arc<AgentMetrics>,
    /// What `explain` is told.
    pub(super) known: Arc<ProgrammedRules>,
}

/// What the loop keeps between rounds.
pub(super) struct Agent {
    datapath: Datapath,
    source: ObjectSource,
    selector: NicSelector,
    namespaces: Namespaces,
    compiler: Compiler,
    differ: Differ,
    flows: Flows,
    /// NICs that refuse the program of the reply path.
    ways: Vec<Problem>,
    /// What was found out about interfaces, as long as nothing says that it may be otherwise.
    interfaces: Interfaces,
    nics: Option<Nics>,
    released: bool,
    told: Told,
    listeners: Listeners,
    /// When the oldest change came that is not in force yet.
    waiting_since: Option<Instant>,
    rounds: u64,
}

impl Agent {
    pub(super) fn new(
        datapath: Datapath,
        source: ObjectSource,
        selector: NicSelector,
        listeners: Listeners,
    ) -> Self {
        Self {
            datapath,
            source,
            selector,
            namespaces: Namespaces::default(),
            compiler: Compiler::default(),
            differ: Differ::default(),
            flows: Flows::default(),
            ways: Vec::new(),
            interfaces: Interfaces::default(),
            nics: None,
            released: false,
            told: Told::default(),
            listeners,
            waiting_since: None,
            rounds: 0,
        }
    }

    /// Brings the tables, then the NICs, in line with what is wanted.
    pub(super) fn round(&mut self, look: Look) -> Round {
        let started = Instant::now();
        self.rounds += 1;
        let number = self.rounds;
        let span = info_span!("round", number, policies = Empty, pods = Empty, changes = Empty);
        let _entered = span.entered();
        if look == Look::Everywhere {
            self.forget();
        }
        let (problems, since) = self.source.reload(look == Look::Everywhere);
        self.waiting_since = self.waiting_since.or(since);
        let mut problems: BTreeSet<Problem> = problems.into_iter().collect();
        let objects = self.source.objects();
        let settled = if let Some(objects) = &objects {
            self.put_programmed(objects, &mut problems)
        } else {
            self.tell(&problems, started.elapsed());
            true
        };
        let Listeners { health, metrics, .. } = &self.listeners;
        metrics.reconciled(settled, started.elapsed());
        metrics.problems(problems.len());
        health.reconciled(objects.is_some());
        if settled {
            Round::Settled
        } else {
            self.forget();
            Round::Incomplete
        }
    }

    fn forget(&mut self) {
        self.interfaces = Interfaces::default();
        self.nics = None;
    }

    /// Returns whether nothing failed that may succeed later.
    fn put_programmed(&mut self, objects: &Objects, problems: &mut BTreeSet<Problem>) -> bool {
        let started = Instant::now();
        Span::current().record("policies", objects.policies.len());
        Span::current().record("pods", objects.pods.len());
        problems.extend(objects.problems.iter().cloned());
        let tools = Tools {
            datapath: &mut self.datapath,
            namespaces: &mut self.namespaces,
            compiler: &mut self.compiler,
            differ: &mut self.differ,
            flows: &mut self.flows,
            ways: &self.ways,
            interfaces: &mut self.interfaces,
        };
        let tables = program(tools, objects);
        Span::current().record("changes", tables.changes);
        problems.extend(tables.problems.iter().cloned());
        if tables.read_back.is_ok() && !tables.failures.iter().any(|problem| problem.object == TABLES) {
            self.enforced();
        }
        if let Ok(read) = &tables.read_back {
            self.listeners.known.update(&read.targets, &read.desired.problems);
        }
        let nics = self.nics_for(tables.of_nics);
        self.ways.clone_from(&nics.ways);
        problems.extend(self.finish_migration(&tables));
        let settled = tables.failures.is_empty() && nics.failures.is_empty();
        let of_nics = nics.failures.iter().chain(&nics.notes);
        problems.extend(tables.failures.iter().chain(of_nics).cloned());
        self.tell(problems, started.elapsed());
        self.report(objects, &tables, &nics, problems);
        self.nics = Some(nics);
        settled
    }

    /// Every program has been exchanged: what the old ones have noted meanwhile comes over, too.
    fn finish_migration(&mut self, tables: &Tables) -> Vec<Problem> {
        let Ok(read) = &tables.read_back else {
            return Vec::new();
        };
        if !self.datapath.migrating() {
            return Vec::new();
        }
        let carried = carry(&mut self.datapath);
        let settled = self.flows.settle(&mut self.datapath, &read.installed);
        let ended = finish_migration(&mut self.datapath);
        carried.into_iter().chain(settled).chain(ended).collect()
    }

    fn enforced(&mut self) {
        if let Some(since) = self.waiting_since.take() {
            self.listeners.metrics.enforced(since.elapsed());
        }
    }

    /// The NICs, after the tables: the first packet finds them filled.
    fn nics_for(&mut self, needs: NicNeeds) -> Nics {
        let same = self.interfaces.nics.replace(needs) == Some(needs);
        if let Some(known) = self.nics.take().filter(|_| same) {
            return known;
        }
        let nics = self.attach(needs);
        nics::release_peers(&mut self.datapath, needs.peer);
        nics::release_ways(&mut self.datapath, needs.reply_path != ReplyPath::NotNeeded);
        nics
    }

    fn attach(&mut self, needs: NicNeeds) -> Nics {
        if !self.released {
            if let Err(problem) = nics::release(&self.datapath, &self.selector) {
                return Nics::failed(problem);
            }
            self.released = true;
        }
        nics::attach(&mut self.datapath, &self.selector, needs)
    }

    /// The log first: who reads of a problem in the status finds it there.
    fn tell(&mut self, problems: &BTreeSet<Problem>, took: Duration) {
        let list: Vec<Problem> = problems.iter().cloned().collect();
        if self.told.update(problems.clone()) {
            let milliseconds = took.as_millis() as u64;
            info!(problems = list.len(), milliseconds, "round done");
        }
        if let Err(error) = self.datapath.set_problems(&list) {
            warn!(error = %error_chain(&error), "problems could not be written for `status`");
        }
    }

    fn report(&self, objects: &Objects, tables: &Tables, nics: &Nics, problems: &BTreeSet<Problem>) {
        let read_back = tables.read_back.as_ref();
        let status = node_state(&node_state::Reconciled {
            node_policies: &objects.node_policies,
            pods: &objects.pods,
            tables: read_back
                .map(|read| node_state::TableState {
                    targets: &read.targets,
                    desired: &read.desired,
                    installed: &read.installed,
                    differ: &self.differ,
                })
                .map_err(Clone::clone),
            nics: &nics.states,
            selected: nics.selected.as_ref(),
            problems,
        });
        let programmed = status.policies.iter().filter(|policy| policy.programmed);
        let programmed = programmed.map(|policy| {
            (
                policy.namespace.clone(),
                policy.name.clone(),
                policy.observed_generation,
            )
        });
        self.listeners.metrics.policies(programmed.collect());
        let status = XdpNodeStateStatus {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel_version: crate::node::system::kernel_release(),
            boot_id: crate::node::system::boot_id(),
            ..status
        };
        self.source.publish(status.with_summary());
    }
}
