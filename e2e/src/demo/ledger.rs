//! The same packets as four parties counted them.

use std::collections::BTreeMap;

use comfy_table::{Cell, CellAlignment, Table, TableComponent, presets};

use crate::Status;

/// How a rule can decide: fields of the status.
const FIELDS: [&str; 7] = [
    "redirected",
    "passed",
    "dropped",
    "rejected",
    "limited",
    "audited",
    "fellBack",
];

pub(super) const NOTES: &[&str] = &[
    "",
    "client  datagrams its socket sent; TCP: segments its kernel sent (OutSegs + RetransSegs)",
    "NIC     the rule's counter in the XDP program, by `xdp-agent status -o json`",
    "reader  packets whose metadata the program on the pod's eth0 made a mark of",
    "pod     datagrams its socket received; TCP: segments its kernel received (InSegs)",
    "mark    SO_RCVMARK of every datagram; TCP: SO_MARK of every accepted connection",
    "✓       the rule decided about each packet sent, and as wanted; each arrived once, or none",
    "        if dropped, rejected or above the limit; the reader saw each redirected one and no",
    "        other; all marks are as wanted",
];

/// What is to become of a row's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The rule that decides.
    pub(super) rule: &'static str,
    /// The field that counts it.
    pub(super) field: &'static str,
    /// What the pod's sockets see.
    pub(super) mark: u32,
    /// Whether there are more than the rule's limit lets through.
    pub(super) limited: bool,
}

/// What a rule counted, by field.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    decided: BTreeMap<&'static str, u64>,
    delivered: u64,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) who: String,
    pub(super) wanted: Wanted,
    pub(super) sent: u64,
    pub(super) counted: Counted,
    pub(super) received: u64,
    pub(super) marks: BTreeMap<u32, u64>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger(Vec<Row>);

impl Counted {
    pub(super) fn of(status: &Status, rule: &str) -> Self {
        Self {
            decided: FIELDS
                .iter()
                .map(|field| (*field, status.packets(rule, field)))
                .collect(),
            delivered: status.packets(rule, "delivered"),
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
        let counted = FIELDS.map(|field| (field, self.packets(field)));
        let used: Vec<String> = counted
            .into_iter()
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

impl Row {
    pub(super) fn agrees(&self) -> bool {
        let decided = self.counted.packets(self.wanted.field);
        let limited = self.counted.limited();
        let redirected = self.wanted.field == "redirected";
        let dropped = matches!(self.wanted.field, "dropped" | "rejected");
        self.sent > 0
            && decided + limited == self.sent
            && self.counted.decided.values().sum::<u64>() == self.sent
            && (limited > 0) == self.wanted.limited
            && self.counted.delivered == if redirected { decided } else { 0 }
            && self.received == if dropped { 0 } else { decided }
            && self.marks.keys().all(|mark| *mark == self.wanted.mark)
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
            0 if self.wanted.field != "redirected" => "–".to_owned(),
            packets => packets.to_string(),
        };
        vec![
            Cell::new(&self.who),
            Cell::new(self.wanted.rule),
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
