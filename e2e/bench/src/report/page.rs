//! The page: everything on one, plots beside their tables.
#![expect(clippy::format_push_string, reason = "a page is put together once")]

use std::fmt::Write as _;

use super::{Section, evaluate, targets::targets_table};

/// Returns the page. `explained` is the text of `missed.md`, which explains missed targets under headings such as `## T7`.
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

What a packet and a change cost, beside what you would have otherwise. `make bench` writes this page; `make bench
ONLY=B2,B4` measures some of it again and leaves the rest. It needs root and no NIC, and works in network namespaces of
its own.

**Read ratios, not times.** A time is what a ratio meant on the machine below. Contestants take turns within one run, each
pass in another order, and a ratio is taken within a pass; shown are minimum / median / maximum of the passes. A
difference below twice what a program differs from itself (the A/A spread) is called none. Packets are counted where they
arrive, and a program is timed only after its verdicts on the same flows have agreed with a list walked by the suite.
What one benchmark shows is of one run; each says when that was, and each target which run decides it.

**Not verified on hardware.** Packets come from the kernel's own injector (`BPF_F_TEST_XDP_LIVE_FRAMES`) or through veth
pairs; no number here is a NIC's. `make bench-nic NIC=…` measures on a machine that has one.
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
