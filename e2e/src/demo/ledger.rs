//! The table of packets: how many the client, the NIC's program, the reader and the pod counted.

use std::collections::BTreeMap;

use comfy_table::{Cell, CellAlignment, Table, TableComponent, presets};

use crate::{FIELDS, Status};

/// The field that counts deliveries, not decisions.
const DELIVERED: &str = "delivered";

pub(super) const NOTES: &[&str] = &[
    "",
    "CLIENT  datagrams that the client sent; TCP: segments (OutSegs + RetransSegs)",
    "NIC     the rule's counters in the XDP program (`xdp-agent status -o json`)",
    "READER  packets that the tc program on the pod's eth0 received by redirect",
    "POD     datagrams that the pod's socket received; TCP: segments (InSegs)",
    "MARK    the marks of the datagrams (SO_RCVMARK); TCP: of the accepted connections (SO_MARK)",
    "✓       The rule counted each packet once, with the expected action. Packets that were dropped,",
    "        rejected or above the limit did not arrive; each other packet arrived once. The reader",
    "        saw exactly the redirected packets. All marks are as expected.",
];

/// The expected result of a row's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// The rule that matches.
    pub(super) rule: &'static str,
    /// The field of the status that counts the decision.
    pub(super) field: &'static str,
    /// The mark that the pod's sockets see.
    pub(super) mark: u32,
    /// Whether the packets exceed the rule's rate limit.
    pub(super) limited: bool,
}

/// A rule's counters, by field.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    decided: BTreeMap<&'static str, u64>,
    delivered: u64,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) packets: String,
    pub(super) expected: Expected,
    pub(super) sent: u64,
    pub(super) counted: Counted,
    pub(super) received: u64,
    pub(super) marks: BTreeMap<u32, u64>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger(Vec<Row>);

impl Expected {
    pub(super) const fn new(rule: &'static str, field: &'static str, mark: u32) -> Self {
        Self {
            rule,
            field,
            mark,
            limited: false,
        }
    }

    pub(super) const fn limited(self) -> Self {
        Self {
            limited: true,
            ..self
        }
    }
}

impl Counted {
    pub(super) fn of(status: &Status, rule: &str) -> Self {
        Self {
            decided: decisions()
                .map(|field| (field, status.packets(rule, field)))
                .collect(),
            delivered: status.packets(rule, DELIVERED),
        }
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        let earlier = |field| before.decided.get(field).copied().unwrap_or(0);
        Self {
            decided: self
                .decided
                .iter()
                .map(|(field, now)| (*field, now - earlier(field)))
                .collect(),
            delivered: self.delivered - before.delivered,
        }
    }

    pub(super) fn redirected(&self) -> u64 {
        self.packets("redirected")
    }

    pub(super) fn limited(&self) -> u64 {
        self.packets("limited")
    }

    fn packets(&self, field: &str) -> u64 {
        self.decided.get(field).copied().unwrap_or(0)
    }

    fn describe(&self) -> String {
        let used: Vec<String> = decisions()
            .map(|field| (field, self.packets(field)))
            .filter(|(_, packets)| *packets > 0)
            .map(|(field, packets)| format!("{packets:>5} {field}"))
            .collect();
        if used.is_empty() {
            "nothing".to_owned()
        } else {
            used.join("\n")
        }
    }
}

/// The fields that count decisions.
fn decisions() -> impl Iterator<Item = &'static str> {
    FIELDS.into_iter().filter(|field| *field != DELIVERED)
}

impl Row {
    pub(super) fn agrees(&self) -> bool {
        let decided = self.counted.packets(self.expected.field);
        let limited = self.counted.limited();
        let redirected = self.expected.field == "redirected";
        let dropped = matches!(self.expected.field, "dropped" | "rejected");
        self.sent > 0
            && decided + limited == self.sent
            && self.counted.decided.values().sum::<u64>() == self.sent
            && (limited > 0) == self.expected.limited
            && self.counted.delivered == if redirected { decided } else { 0 }
            && self.received == if dropped { 0 } else { decided }
            && self.marks.keys().all(|mark| *mark == self.expected.mark)
            && self.marks.is_empty() == dropped
    }

    fn marks(&self) -> String {
        let mark = |mark: &u64| {
            if *mark == 0 {
                "none".to_owned()
            } else {
                mark.to_string()
            }
        };
        let marks: Vec<String> = self
            .marks
            .keys()
            .map(|number| mark(&u64::from(*number)))
            .collect();
        if marks.is_empty() {
            "–".to_owned()
        } else {
            marks.join(", ")
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let delivered = match self.counted.delivered {
            0 if self.expected.field != "redirected" => "–".to_owned(),
            packets => packets.to_string(),
        };
        vec![
            Cell::new(&self.packets),
            Cell::new(self.expected.rule),
            number(self.sent.to_string()),
            Cell::new(self.counted.describe()),
            number(delivered),
            number(self.received.to_string()),
            number(self.marks()),
            Cell::new(if self.agrees() { "✓" } else { "✗" }),
        ]
    }
}

impl Ledger {
    pub(super) fn add(&mut self, row: Row) {
        self.0.push(row);
    }

    pub(super) fn agrees(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(Row::agrees)
    }

    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_style(TableComponent::HeaderLines, '─')
            .set_style(TableComponent::MiddleHeaderIntersections, '─')
            .set_header(["PACKETS", "RULE", "CLIENT", "NIC", "READER", "POD", "MARK", ""]);
        for row in &self.0 {
            table.add_row(row.cells());
        }
        table.to_string()
    }
}
