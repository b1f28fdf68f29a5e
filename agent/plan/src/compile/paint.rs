//! Decides about packets from one set of sources. Each rule paints its ports, except those that an earlier
//! rule has painted. A rule has a second action for packets that are not certainly allowed.

use std::sync::Arc;

use xdp_core::tables::{ActionRecord, Class, NO_MATCH};

use super::{
    flat::{COLUMNS, Flat, FlatRule, ICMP, ICMPV6, PATH_MTU_V4, PATH_MTU_V6, Span, TCP, UDP},
    layer::Layer,
};
use crate::{installed::RuleLabel, network_policy::PortCertainty};

/// First port and action number of each interval. Adjacent intervals differ.
pub(super) type Line = Vec<(u16, u16)>;

/// The columns of a class.
pub(super) struct Painted {
    pub(super) columns: [Line; COLUMNS],
    pub(super) portless: u16,
    /// The columns in which some rule drops, as in [`Class::drops`].
    pub(super) drops: u16,
}

/// Paints one class after another, and numbers the rules in the order in which they first decide.
pub(super) struct Painter<'a> {
    rules: &'a [FlatRule],
    /// Intervals of the rules' ports in the columns.
    places: Vec<Vec<Place>>,
    columns: [Column; COLUMNS],
    /// Action numbers by rule: for packets that are certainly allowed, and for the others. Zero: the rule
    /// has no number yet.
    numbers: Vec<[u16; 2]>,
    pub(super) labels: Vec<Arc<RuleLabel>>,
    pub(super) actions: Vec<ActionRecord>,
}

/// The columns, as in [`Class::drops`].
const BITS: [u16; COLUMNS] = [Class::TCP, Class::UDP, Class::SCTP, Class::ICMP, Class::ICMPV6];

/// A range of intervals of a column, by their indexes.
#[derive(Clone, Copy)]
struct Place {
    column: usize,
    from: u32,
    to: u32,
}

/// A column, cut into intervals at the bounds of all rules.
#[derive(Default)]
struct Column {
    /// First ports of the intervals.
    bounds: Vec<u16>,
    /// The rules that painted the intervals.
    owner: Vec<u16>,
    /// Links towards the next unpainted interval, as in a union-find forest.
    next: Vec<u32>,
}

impl<'a> Painter<'a> {
    pub(super) fn new(flat: &'a Flat, layer: Option<&Layer>) -> Self {
        let columns = columns(&flat.rules, layer);
        let places = flat.rules.iter().map(|rule| places(rule, &columns)).collect();
        Self {
            rules: &flat.rules,
            places,
            columns,
            numbers: vec![[NO_MATCH; 2]; flat.rules.len()],
            labels: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// Returns the number of intervals that each class is cut into.
    pub(super) fn intervals(&self) -> usize {
        self.columns.iter().map(|column| column.bounds.len()).sum()
    }

    /// Paints the class of `rules`, which are in order. `certainty`: the ports that are certainly allowed, if
    /// not all are.
    pub(super) fn paint(&mut self, rules: &[u32], certainty: Option<&PortCertainty>) -> Painted {
        let mut left: usize = self.columns.iter_mut().map(Column::clear).sum();
        let mut portless = NO_MATCH;
        for rule in rules.iter().map(|rule| *rule as usize) {
            if self.rules[rule].ports.is_none() && portless == NO_MATCH {
                portless = self.number(rule, certainty.is_none_or(|ports| ports.other == 0));
            }
            for index in 0..self.places[rule].len() {
                left -= self.paint_place(rule, self.places[rule][index], certainty);
            }
            if left == 0 && portless != NO_MATCH {
                break;
            }
        }
        let columns = std::array::from_fn(|column| self.columns[column].line());
        Painted {
            drops: self.drops(&columns, portless),
            columns,
            portless,
        }
    }

    /// Returns the columns in which some rule drops. A rule that earlier rules cover does not count: it
    /// decides about no packet.
    fn drops(&self, columns: &[Line; COLUMNS], portless: u16) -> u16 {
        let is_drop = |number: &u16| match usize::from(*number).checked_sub(1) {
            Some(index) => self.actions[index].drops(),
            None => false,
        };
        let bits = columns.iter().zip(BITS);
        let dropping = bits.filter(|(line, _)| line.iter().any(|(_, number)| is_drop(number)));
        let portless = if is_drop(&portless) { Class::PORTLESS } else { 0 };
        dropping.fold(portless, |drops, (_, bit)| drops | bit)
    }

    /// Number of painted intervals.
    fn paint_place(&mut self, rule: usize, place: Place, certainty: Option<&PortCertainty>) -> usize {
        let mut painted = 0;
        let mut at = self.columns[place.column].free(place.from);
        while at < place.to {
            let first = self.columns[place.column].bounds[at as usize];
            let number = self.number(rule, is_certain(certainty, place.column, first));
            let column = &mut self.columns[place.column];
            column.owner[at as usize] = number;
            column.next[at as usize] = at + 1;
            at = column.free(at + 1);
            painted += 1;
        }
        painted
    }

    fn number(&mut self, rule: usize, is_certain: bool) -> u16 {
        let FlatRule {
            label,
            record,
            is_restricted,
            ..
        } = &self.rules[rule];
        let falls_back = *is_restricted && !is_certain;
        let number = &mut self.numbers[rule][usize::from(falls_back)];
        if *number == NO_MATCH {
            let flag = if falls_back { ActionRecord::NOT_CERTAIN } else { 0 };
            self.labels.push(Arc::clone(label));
            self.actions.push(ActionRecord {
                flags: record.flags | flag,
                ..*record
            });
            *number = self.actions.len() as u16;
        }
        *number
    }
}

/// Whether all packets to the ports of an interval are certainly allowed. Certainty changes at bounds only.
fn is_certain(certainty: Option<&PortCertainty>, column: usize, first: u16) -> bool {
    certainty.is_none_or(|ports| match column {
        TCP => ports.tcp_at(first) == 0,
        UDP => ports.udp_at(first) == 0,
        _ => ports.other == 0,
    })
}

impl Column {
    fn clear(&mut self) -> usize {
        self.owner.fill(NO_MATCH);
        for (place, at) in self.next.iter_mut().zip(0..) {
            *place = at;
        }
        self.bounds.len()
    }

    /// Returns the first unpainted interval from `at` on, or the end. Shortens the links on the path.
    fn free(&mut self, at: u32) -> u32 {
        let mut end = at;
        while self.next[end as usize] != end {
            end = self.next[end as usize];
        }
        let mut at = at;
        while at != end {
            at = std::mem::replace(&mut self.next[at as usize], end);
        }
        end
    }

    fn line(&self) -> Line {
        let mut line: Line = self
            .bounds
            .iter()
            .copied()
            .zip(self.owner.iter().copied())
            .collect();
        line.dedup_by_key(|(_, owner)| *owner);
        line
    }

    /// Returns the interval that starts at `port`, or the end for a bound after the last port.
    fn place(&self, port: u32) -> u32 {
        self.bounds.partition_point(|bound| u32::from(*bound) < port) as u32
    }
}

fn columns(rules: &[FlatRule], layer: Option<&Layer>) -> [Column; COLUMNS] {
    let mut bounds: [Vec<u16>; COLUMNS] = std::array::from_fn(|_| vec![0]);
    for ports in layer.into_iter().flat_map(|layer| &layer.classes) {
        bounds[TCP].extend(ports.tcp.iter().map(|(first, _)| *first));
        bounds[UDP].extend(ports.udp.iter().map(|(first, _)| *first));
    }
    let spans = rules.iter().filter_map(|rule| rule.ports.as_ref()).flatten();
    for span in spans.copied().chain(everything()) {
        bounds[span.column].push(span.first);
        bounds[span.column].extend(span.last.checked_add(1));
    }
    bounds.map(|mut bounds| {
        bounds.sort_unstable();
        bounds.dedup();
        Column {
            owner: vec![NO_MATCH; bounds.len()],
            next: vec![0; bounds.len() + 1],
            bounds,
        }
    })
}

fn places(rule: &FlatRule, columns: &[Column; COLUMNS]) -> Vec<Place> {
    let place = |span: Span| Place {
        column: span.column,
        from: columns[span.column].place(u32::from(span.first)),
        to: columns[span.column].place(u32::from(span.last) + 1),
    };
    match &rule.ports {
        Some(spans) => spans.iter().copied().map(place).collect(),
        None => everything().map(place).collect(),
    }
}

/// Returns what a rule without `ports` matches: all packets except path MTU messages. Only rules that name
/// their protocol match those.
fn everything() -> impl Iterator<Item = Span> {
    let all = (0..ICMP).map(|column| (column, 0, u16::MAX));
    let around = |column, (first, last): (u16, u16)| [(column, 0, first - 1), (column, last + 1, u16::MAX)];
    let spans = all
        .chain(around(ICMP, PATH_MTU_V4))
        .chain(around(ICMPV6, PATH_MTU_V6));
    spans.map(|(column, first, last)| Span { column, first, last })
}
