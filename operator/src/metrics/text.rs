//! The Prometheus text format 0.0.4, which every tool reads.

use prometheus_client::{encoding::text, registry::Registry};

/// `OpenMetrics` describes a counter by its name without `_total`, the classic format by the name of its series.
pub(super) fn classic(registry: &Registry) -> String {
    let mut open = String::new();
    text::encode(&mut open, registry).expect("a string takes everything");
    let mut classic = String::with_capacity(open.len() + 256);
    let mut help = None;
    for line in open.lines() {
        if let Some(text) = line.strip_prefix("# HELP ") {
            help = text.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|text| text.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take() {
                classic.extend(["# HELP ", name, suffix, " ", help, "\n"]);
            }
            classic.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if line != "# EOF" {
            classic += line;
            classic.push('\n');
        }
    }
    classic
}
