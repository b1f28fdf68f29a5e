//! Targets, and whether the results meet them.

use std::collections::BTreeMap;

use super::{ReportTable, Section, number};

/// A target, and the values that decide it.
struct Target {
    id: &'static str,
    metric: &'static str,
    parts: &'static [Part],
    /// Reason if there is no value.
    unless: &'static str,
}

/// A value and its bound.
struct Part {
    fact: &'static str,
    bound: Bound,
    unit: &'static str,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};

/// A target's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetResult {
    /// Id of the target, such as `T1`.
    pub id: &'static str,
    /// The metric.
    pub metric: &'static str,
    /// The bounds.
    pub target: String,
    /// The measured values.
    pub measured: String,
    /// `met`, `missed`, or the reason why there is no value.
    pub verdict: String,
    /// Whether it was measured and is not met.
    pub missed: bool,
    /// Ids and times of the benchmarks that measured it.
    pub run: String,
}

const fn part(fact: &'static str, bound: Bound, unit: &'static str) -> Part {
    Part { fact, bound, unit }
}

const TARGETS: [Target; 31] = [
    Target {
        id: "T1",
        metric: "classification alone, 25,000 rules, relative to the floor",
        unless: "",
        parts: &[part("net.25000", AtMost(1.3), "×")],
    },
    Target {
        id: "T2",
        metric: "flatness: whole program, 25,000 / 440 rules",
        unless: "",
        parts: &[part("flatness", AtMost(1.3), "×")],
    },
    Target {
        id: "T3",
        metric: "whole program, redirect, 11,000 rules, relative to the floor",
        unless: "",
        parts: &[part("allow.floors.11000", AtMost(3.5), "×")],
    },
    Target {
        id: "T4",
        metric: "whole program, drop, 11,000 rules, relative to the floor",
        unless: "",
        parts: &[part("drop.floors.11000", AtMost(2.2), "×")],
    },
    Target {
        id: "T5",
        metric: "two-LPM program's time / xdp-operator, 11,000 rules",
        unless: "",
        parts: &[part("two_lpm.11000", AtLeast(4.0), "×")],
    },
    Target {
        id: "T6",
        metric: "ingress-node-firewall's object / xdp-operator, 100 rules",
        unless: "skipped: its object file is not part of this repository",
        parts: &[part("inf.100", AtLeast(1.5), "×")],
    },
    Target {
        id: "T7",
        metric: "live, XDP-consuming pods, packets/s relative to the two-instruction redirect, 11,000 rules (one pod, 110 pods)",
        unless: "",
        parts: &[
            part("live.xdp.one", AtLeast(0.75), "×"),
            part("live.xdp.many", AtLeast(0.75), "×"),
        ],
    },
    Target {
        id: "T8",
        metric: "live, ordinary pods, packets/s relative to the two-instruction redirect",
        unless: "",
        parts: &[
            part("live.skb.one", AtLeast(0.87), "×"),
            part("live.skb.many", AtLeast(0.87), "×"),
        ],
    },
    Target {
        id: "T9",
        metric: "ip_forward's time / xdp-operator, delivered, with 0, 100, 1,000 iptables rules",
        unless: "",
        parts: &[
            part("forward.0", AtLeast(1.5), "×"),
            part("forward.100", AtLeast(4.0), "×"),
            part("forward.1000", AtLeast(25.0), "×"),
        ],
    },
    Target {
        id: "T10",
        metric: "packets lost at the receiver, GRO on",
        unless: "",
        parts: &[part("live.lost", AtMost(0.0), "")],
    },
    Target {
        id: "T11",
        metric: "one rule of 25,000 changed → programmed, p99",
        unless: "",
        parts: &[part("change.p99", AtMost(20.0), " ms")],
    },
    Target {
        id: "T12",
        metric: "all 25,000 rules replaced",
        unless: "",
        parts: &[part("resync.25000", AtMost(250.0), " ms")],
    },
    Target {
        id: "T13",
        metric: "API write → programmed on 100 nodes, p99",
        unless: "B9 says why not",
        parts: &[part("cluster.p99", AtMost(1.0), " s")],
    },
    Target {
        id: "T14",
        metric: "API objects an unaffected node reads per change of another node's pod, of a policy for it, of an address set of this policy, and of a policy for it in a namespace with pods on all nodes",
        unless: "B9 says why not",
        parts: &[
            part("cluster.reads.pod", AtMost(0.0), ""),
            part("cluster.reads.policy", AtMost(0.0), ""),
            part("cluster.reads.set", AtMost(0.0), ""),
            part("cluster.reads.shared", AtMost(0.0), ""),
        ],
    },
    Target {
        id: "T15",
        metric: "wrong verdicts while rules change under traffic; changes, packets; wrong ones of a torn updater",
        unless: "",
        parts: &[
            part("flips.wrong", AtMost(0.0), ""),
            part("flips.count", AtLeast(1000.0), ""),
            part("flips.packets", AtLeast(1e7), ""),
            part("flips.torn", AtLeast(1.0), ""),
        ],
    },
    Target {
        id: "T16",
        metric: "memory per rule, 100 rules a pod",
        unless: "",
        parts: &[part("memory.rule.100", AtMost(128.0), " bytes")],
    },
    Target {
        id: "T17",
        metric: "agent, 110 pods and 25,000 rules, resident",
        unless: "",
        parts: &[part("agent.rss", AtMost(64.0), " MB")],
    },
    Target {
        id: "T18",
        metric: "agent's CPU: idle, ten changes a second",
        unless: "",
        parts: &[
            part("agent.idle", AtMost(0.1), " %"),
            part("agent.busy", AtMost(2.0), " %"),
        ],
    },
    Target {
        id: "T19",
        metric: "instructions verified, load time",
        unless: "",
        parts: &[
            part("gates.verified", AtMost(20_000.0), ""),
            part("gates.load", AtMost(50.0), " ms"),
        ],
    },
    Target {
        id: "T20",
        metric: "metadata and mark correct in the pod",
        unless: "",
        parts: &[part("live.right", AtLeast(100.0), " %")],
    },
    Target {
        id: "T21",
        metric: "mlx5: drop, redirect to XDP and to ordinary pods, per core",
        unless: "not verified on hardware: `make bench-nic NIC=…` on such a machine",
        parts: &[part("nic", AtLeast(0.7), "×")],
    },
    Target {
        id: "T22",
        metric: "tracked flows, relative to the same program without flow tables: 4,096, 65,536 flows",
        unless: "",
        parts: &[
            part("reply_path.in.4096", AtMost(1.25), "×"),
            part("reply_path.in.65536", AtMost(2.2), "×"),
        ],
    },
    Target {
        id: "T23",
        metric: "a pod's replies: the stack's time / xdp-operator, with kube-proxy's rules, with 100 more",
        unless: "",
        parts: &[
            part("reply_path.out.0", AtLeast(1.2), "×"),
            part("reply_path.out.100", AtLeast(1.8), "×"),
        ],
    },
    Target {
        id: "T24",
        metric: "TCP into a pod (iperf3) behind kube-proxy's rules and masquerade, relative to the stack on the same NIC",
        unless: "",
        parts: &[part("reply_path.tcp", AtLeast(1.5), "×")],
    },
    Target {
        id: "T25",
        metric: "dropped packets of no connection of the pod, relative to the same program without the question",
        unless: "",
        parts: &[part("own.drop", AtMost(1.1), "×")],
    },
    Target {
        id: "T26",
        metric: "operator, 5,000 nodes, 50,000 pods, 1,000 policies: start to the first address set",
        unless: "",
        parts: &[part("scale.start", AtMost(5.0), " s")],
    },
    Target {
        id: "T27",
        metric: "the same: resident",
        unless: "",
        parts: &[part("scale.rss", AtMost(200.0), " MB")],
    },
    Target {
        id: "T28",
        metric: "the same: a pod's address, CPU, and writes for each distinct set with the pod",
        unless: "",
        parts: &[
            part("scale.pod.cpu", AtMost(20.0), " ms"),
            part("scale.pod.writes", AtMost(1.0), ""),
        ],
    },
    Target {
        id: "T29",
        metric: "the same: a node's report that changes no status, CPU, writes",
        unless: "",
        parts: &[
            part("scale.report.cpu", AtMost(1.0), " ms"),
            part("scale.report.writes", AtMost(0.0), ""),
        ],
    },
    Target {
        id: "T30",
        metric: "the same: longest time between renewals of the lease, slowest answer to a probe",
        unless: "",
        parts: &[
            part("scale.lease", AtMost(5.0), " s"),
            part("scale.probe", AtMost(1.0), " s"),
        ],
    },
    Target {
        id: "T31",
        metric: "the same with all CPUs in use: lease, probe, sets written of those to be written",
        unless: "",
        parts: &[
            part("scale.contended.lease", AtMost(5.0), " s"),
            part("scale.contended.probe", AtMost(1.0), " s"),
            part("scale.contended.written", AtLeast(1.0), "×"),
        ],
    },
];

/// Measured values with their sections, by name.
type Facts<'a> = BTreeMap<&'a str, (f64, &'a Section)>;

/// Compares the results with all targets.
pub fn evaluate(sections: &[Section]) -> Vec<TargetResult> {
    let facts: Facts<'_> = sections
        .iter()
        .flat_map(|section| {
            let facts = section.facts.iter();
            facts.map(move |(name, value)| (name.as_str(), (*value, section)))
        })
        .collect();
    TARGETS.iter().map(|target| target.evaluate(&facts)).collect()
}

/// Formats results as a table.
pub fn targets_table(rows: &[TargetResult]) -> ReportTable {
    ReportTable {
        title: "Targets".to_owned(),
        columns: ["", "metric", "target", "measured", "", "by"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows
            .iter()
            .map(|row| {
                vec![
                    row.id.to_owned(),
                    row.metric.to_owned(),
                    row.target.clone(),
                    row.measured.clone(),
                    row.verdict.clone(),
                    row.run.clone(),
                ]
            })
            .collect(),
    }
}

impl Target {
    fn evaluate(&self, facts: &Facts<'_>) -> TargetResult {
        let found: Vec<Option<(f64, &Section)>> = self
            .parts
            .iter()
            .map(|part| facts.get(part.fact).copied())
            .collect();
        let measured = self.parts.iter().zip(&found).map(|(part, found)| match found {
            Some((value, _)) => format!("{}{}", number(*value), part.unit),
            None => "–".to_owned(),
        });
        let met = self
            .parts
            .iter()
            .zip(&found)
            .all(|(part, found)| found.is_some_and(|(value, _)| part.bound.holds(value)));
        let complete = found.iter().all(Option::is_some);
        let quick = found.iter().flatten().any(|(_, by)| by.environment.quick);
        let mut runs: Vec<String> = found.iter().flatten().map(|(_, by)| by.run()).collect();
        runs.dedup();
        let verdict = match (complete, met) {
            (false, _) if !self.unless.is_empty() => self.unless,
            (false, _) => "not measured in this run",
            (true, true) => "met",
            (true, false) => "missed",
        };
        let bounds = self.parts.iter().map(|part| part.bound.text(part.unit));
        TargetResult {
            id: self.id,
            metric: self.metric,
            target: join(bounds),
            measured: join(measured),
            verdict: format!("{verdict}{}", if complete && quick { " (quick run)" } else { "" }),
            missed: complete && !met,
            run: runs.join("; "),
        }
    }
}

fn join(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join(" · ")
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            AtMost(most) => value <= most,
            AtLeast(least) => value >= least,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            AtMost(most) => format!("≤ {}{unit}", short(most)),
            AtLeast(least) => format!("≥ {}{unit}", short(least)),
        }
    }
}

fn short(value: f64) -> String {
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, facts: &[(&str, f64)]) -> TargetResult {
        evaluated(id, facts, false)
    }

    fn evaluated(id: &str, facts: &[(&str, f64)], quick: bool) -> TargetResult {
        let mut section = Section::new("B", "");
        section.environment.quick = quick;
        for (name, value) in facts {
            section.fact(*name, *value);
        }
        evaluate(&[section]).into_iter().find(|row| row.id == id).unwrap()
    }

    #[test]
    fn a_quick_run_is_marked_as_such() {
        assert_eq!(
            evaluated("T2", &[("flatness", 1.3)], true).verdict,
            "met (quick run)"
        );
        assert_eq!(
            evaluated("T2", &[("flatness", 1.4)], true).verdict,
            "missed (quick run)"
        );
    }

    #[test]
    fn a_value_that_is_not_a_number_is_not_measured() {
        let row = row("T2", &[("flatness", f64::NAN)]);
        assert_eq!(
            (row.verdict.as_str(), row.missed),
            ("not measured in this run", false)
        );
    }

    #[test]
    fn a_target_is_met_only_by_all_its_parts() {
        let all = [("forward.0", 1.6), ("forward.100", 5.0), ("forward.1000", 30.0)];
        assert_eq!(row("T9", &all).verdict, "met");
        let one_missed = [("forward.0", 1.6), ("forward.100", 3.9), ("forward.1000", 30.0)];
        assert_eq!(row("T9", &one_missed).verdict, "missed");
        assert_eq!(row("T9", &all[..2]).verdict, "not measured in this run");
    }

    #[test]
    fn bounds_hold_at_the_bound_and_not_beyond() {
        assert_eq!(row("T2", &[("flatness", 1.3)]).verdict, "met");
        assert_eq!(row("T2", &[("flatness", 1.31)]).verdict, "missed");
        assert_eq!(row("T10", &[("live.lost", 1.0)]).verdict, "missed");
    }

    #[test]
    fn every_row_names_its_run() {
        let mut section = Section::new("B2", "");
        "2026-01-02 03:04".clone_into(&mut section.environment.when);
        section.fact("flatness", 1.0);
        let rows = evaluate(&[section]);
        let run = |id: &str| &rows.iter().find(|row| row.id == id).unwrap().run;
        assert_eq!(run("T2"), "B2, 2026-01-02 03:04");
        assert_eq!(run("T1"), "");
    }

    #[test]
    fn hardware_is_not_claimed() {
        assert!(row("T21", &[]).verdict.starts_with("not verified on hardware"));
    }
}
