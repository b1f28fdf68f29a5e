//! The page with all results.
#![expect(clippy::format_push_string, reason = "the page is built once")]

use std::fmt::Write as _;

use super::{Section, evaluate, targets::targets_table};

/// Returns the page. `explained` is the text of `missed.md`, which explains missed targets under headings
/// such as `## T7`.
pub fn page(sections: &[Section], explained: &str) -> String {
    let mut text = INTRODUCTION.to_owned();
    if let Some(first) = sections.first() {
        text += "\n## Where it ran\n\n";
        for line in first.environment.lines() {
            text += &format!("- {line}\n");
        }
    }
    text += "\n## Targets\n\n";
    let mut rows = evaluate(sections);
    for row in rows.iter_mut().filter(|row| row.missed) {
        row.verdict = row.verdict.replace("missed", &missed(row.id, explained));
    }
    let table = targets_table(&rows).markdown();
    text += table.split_once("\n\n").map_or("", |(_, rows)| rows);
    for section in sections {
        text += &chapter(section);
    }
    text
}

/// Links to the explanation of a missed target.
fn missed(id: &str, explained: &str) -> String {
    let heading = format!("## {id}");
    if explained.lines().any(|line| line == heading) {
        format!("[**missed**](missed.md#{})", id.to_lowercase())
    } else {
        "**missed**, not explained".to_owned()
    }
}

fn chapter(section: &Section) -> String {
    let environment = &section.environment;
    let quick = if environment.quick {
        ", quick run: too few trials"
    } else {
        ""
    };
    let mut text = format!("\n## {}: {}\n\n", section.id, section.title);
    if let Some(reason) = &section.skipped {
        return format!("{text}SKIP: {reason}\n");
    }
    for table in &section.tables {
        text += &format!("{}\n", table.markdown());
    }
    for plot in &section.plots {
        text += &format!("![{}]({}.svg)\n\n", plot.title, plot.name);
    }
    for note in &section.notes {
        text += &format!("- {note}\n");
    }
    let _ = write!(
        text,
        "\n<sub>{}, {:.0} s, steal {:.2} %, A/A spread {:.1} %{quick}; [every trial](data/{}.json)</sub>\n",
        environment.when, section.seconds, environment.steal, environment.aa_spread, section.id
    );
    text
}

const INTRODUCTION: &str = "# Benchmarks

These benchmarks measure the cost of a packet and of a change, compared with the alternatives. `make bench`
writes this page; `make bench ONLY=B2,B4` repeats some benchmarks and keeps the other results. It needs root
and no NIC, and runs in network namespaces of its own.

**Read ratios, not times.** Times are only valid for the machine below. The contestants of a benchmark take
turns in passes, each pass in another order, and a ratio is computed within a pass; tables show minimum /
median / maximum of all passes. A difference below twice the A/A spread, which is the difference of a
program from itself, counts as no difference. Packets are counted at the receiver. A program is timed only
after its verdicts on the same flows agree with a list of rules in the suite. The results of one benchmark
are from one run; the page states the time of each run, and the run that decides each target.

**Not verified on hardware.** Packets come from the kernel's injector (`BPF_F_TEST_XDP_LIVE_FRAMES`) or
through veth pairs; no number here is from a NIC. `make bench-nic NIC=…` measures on a machine that has one.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_links_what_was_missed_to_its_explanation() {
        let mut section = Section::new("B2", "scaling");
        section.fact("flatness", 1.5);
        let text = page(std::slice::from_ref(&section), "## T2\n\nThe caches end here.\n");
        assert!(text.contains("| [**missed**](missed.md#t2) |"), "{text}");
        let text = page(&[section], "");
        assert!(text.contains("| **missed**, not explained |"), "{text}");
        assert!(text.contains("not verified on hardware"), "{text}");
    }
}
