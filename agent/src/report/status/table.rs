//! The status as tables.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use xdp_plan::facts::Readiness;

use crate::report::status::{
    FlowUsage, NicStatus, NodeStatus, PacketCount, RuleStatus, TableUsage, TargetPodStatus,
};

const WIDTH: u16 = 100;

pub(super) fn render(status: &NodeStatus) -> String {
    let running = if status.agent.running {
        "running"
    } else {
        "stopped"
    };
    let mut sections = vec![format!("agent {running}, pins in {}", status.pin_dir)];
    sections.push(section("NICs", &nics(&status.nics)));
    sections.push(section("Pods", &pods(&status.pods)));
    sections.push(section("Rules (packets)", &rules(&status.rules)));
    sections.extend(optional("Lost after redirect", &failures(&status.pods)));
    sections.extend(optional(
        "Passed without rule evaluation",
        &counted(&status.unparsed),
    ));
    sections.extend(optional(
        "Not for the node: passed without rule evaluation",
        &counted(&status.foreign),
    ));
    sections.extend(optional(
        "Dropped because they cannot be parsed, and a rule that drops could match",
        &counted(&status.unparsed_drops),
    ));
    sections.extend(optional(
        "Fallbacks: passed instead of redirected",
        &counted(&status.fallbacks),
    ));
    sections.extend(optional(
        "Events of rejected and limited packets",
        &counted(&status.events),
    ));
    sections.extend(optional("Flow tables", &flows(&status.flows)));
    sections.extend(optional("Flow events", &counted(&status.flow_events)));
    sections.extend(optional(
        "XDP exceptions: discarded by the kernel",
        &exceptions(status),
    ));
    sections.extend(optional("Tables", &tables(&status.tables)));
    sections.extend(optional("Problems", &problems(status)));
    sections.join("\n\n") + "\n"
}

fn section(title: &str, table: &Table) -> String {
    optional(title, table).unwrap_or_else(|| format!("{title}: none"))
}

fn optional(title: &str, table: &Table) -> Option<String> {
    if table.is_empty() {
        return None;
    }
    let lines: Vec<String> = table
        .trim_fmt()
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    Some(format!("{title}\n{}", lines.join("\n")))
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(header);
    table
}

fn nics(nics: &[NicStatus]) -> Table {
    let mut table = table(&[
        "NIC",
        "DRIVER",
        "BUS",
        "MTU",
        "MODE",
        "PROGRAM",
        "TAG",
        "PEER",
        "REPLY PATH",
    ]);
    for nic in nics {
        let program = if nic.program_id == 0 {
            String::new()
        } else {
            nic.program_id.to_string()
        };
        table.add_row([
            nic.name.as_str(),
            &nic.driver,
            &nic.bus,
            &nic.mtu.to_string(),
            nic.mode.name(),
            &program,
            nic.program_tag.as_str(),
            if nic.peer { "yes" } else { "" },
            if nic.reply_path { "yes" } else { "" },
        ]);
    }
    table
}

fn pods(pods: &[TargetPodStatus]) -> Table {
    let mut table = table(&["POD", "INTERFACE", "ADDRESSES", "PROGRAMMED", "REDIRECT"]);
    for pod in pods {
        let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
        let readiness = match (&pod.readiness, &pod.reply_path) {
            _ if pod.draining => "Draining: existing flows continue until they are idle".to_owned(),
            (Readiness::Ready, Readiness::Ready) => "Ready".to_owned(),
            (Readiness::NotReady { reason, message }, _) | (_, Readiness::NotReady { reason, message }) => {
                format!("{reason:?}: {message}")
            }
        };
        table.add_row([
            format!("{}/{}", pod.namespace, pod.pod),
            pod.interface.clone(),
            addresses.join("\n"),
            if pod.programmed { "yes" } else { "no" }.to_owned(),
            readiness,
        ]);
    }
    table
}

/// The header of a counter, and how to read it.
type Column = (&'static str, fn(&RuleStatus) -> PacketCount);

const COLUMNS: [Column; 8] = [
    ("REDIRECTED", |rule| rule.redirected),
    ("DELIVERED", |rule| rule.delivered),
    ("PASSED", |rule| rule.passed),
    ("DROPPED", |rule| rule.dropped),
    ("REJECTED", |rule| rule.rejected),
    ("LIMITED", |rule| rule.limited),
    ("AUDITED", |rule| rule.audited),
    ("FALLBACK", |rule| rule.fell_back),
];

/// Builds the table of rules. Counters that are zero for every rule are left out.
fn rules(rules: &[RuleStatus]) -> Table {
    let used = |column: &&Column| rules.iter().any(|rule| column.1(rule).packets > 0);
    let columns: Vec<&Column> = COLUMNS.iter().filter(used).collect();
    let mut header = vec!["ID", "POLICY", "RULE"];
    header.extend(columns.iter().map(|column| column.0));
    let mut table = table(&header);
    for rule in rules {
        let mut row = vec![
            Cell::new(rule.id),
            Cell::new(format!("{}/{}", rule.namespace, rule.policy)),
            Cell::new(&rule.rule),
        ];
        row.extend(columns.iter().map(|column| {
            let packets = column.1(rule).packets;
            Cell::new(packets).set_alignment(CellAlignment::Right)
        }));
        table.add_row(row);
    }
    table
}

fn failures(pods: &[TargetPodStatus]) -> Table {
    let mut table = table(&["POD", "STAGE", "ERRNO", "PACKETS"]);
    for pod in pods {
        for failure in &pod.failures {
            let errno = if failure.errno.is_empty() {
                "none"
            } else {
                &failure.errno
            };
            table.add_row([
                &format!("{}/{}", pod.namespace, pod.pod),
                failure.stage,
                errno,
                &failure.packets.to_string(),
            ]);
        }
    }
    table
}

/// Builds the table of flow tables. Those that were never used are left out.
fn flows(usage: &[FlowUsage]) -> Table {
    let mut table = table(&["TABLE", "FLOWS", "CAPACITY", "EVICTED"]);
    for usage in usage.iter().filter(|usage| usage.used > 0 || usage.evicted > 0) {
        let number = |number: u64| Cell::new(number).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(usage.table),
            number(usage.used),
            number(usage.capacity),
            number(usage.evicted),
        ]);
    }
    table
}

fn counted(counts: &std::collections::BTreeMap<&'static str, u64>) -> Table {
    let mut table = table(&["REASON", "PACKETS"]);
    for (reason, packets) in counts {
        table.add_row([*reason, &packets.to_string()]);
    }
    table
}

/// Builds the table of the other tables. Unused ones are left out.
fn tables(usage: &[TableUsage]) -> Table {
    let mut table = table(&["TABLE", "USED", "CAPACITY"]);
    for usage in usage.iter().filter(|usage| usage.used > 0) {
        let number = |number: u64| Cell::new(number).set_alignment(CellAlignment::Right);
        table.add_row([Cell::new(usage.table), number(usage.used), number(usage.capacity)]);
    }
    table
}

fn exceptions(status: &NodeStatus) -> Table {
    let mut table = table(&["NIC", "ACTION", "PACKETS"]);
    for exception in &status.exceptions {
        table.add_row([&exception.nic, &exception.action, &exception.packets.to_string()]);
    }
    table
}

fn problems(status: &NodeStatus) -> Table {
    let mut table = table(&["OBJECT", "REASON", "MESSAGE", "REMEDY"]);
    for nic in &status.nics {
        for problem in &nic.problems {
            let object = format!("NIC {}", nic.name);
            table.add_row([&object, &problem.reason, &problem.message, &problem.remedy]);
        }
    }
    for problem in &status.problems {
        table.add_row([
            &problem.object,
            &problem.reason,
            &problem.message,
            &problem.remedy,
        ]);
    }
    table
}
