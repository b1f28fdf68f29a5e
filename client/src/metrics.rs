//! Metrics as text for Prometheus.

use prometheus_client::{encoding::text, registry::Registry};

/// Values of the label `result`, in this order: success, error.
pub const RESULTS: [&str; 2] = ["success", "error"];

/// Returns the value of the label `result`.
pub const fn result(success: bool) -> &'static str {
    let [success_label, error_label] = RESULTS;
    if success { success_label } else { error_label }
}

/// The format of a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// The Prometheus text format 0.0.4.
    Classic,
}

impl Format {
    /// Selects the format for a client with this `Accept` header.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Classic
        }
    }

    /// Returns the media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Encodes all metrics of a registry.
#[expect(
    clippy::missing_panics_doc,
    reason = "it cannot: writing to a string does not fail"
)]
pub fn encode(registry: &Registry, format: Format) -> String {
    let mut text = String::new();
    text::encode(&mut text, registry).expect("writing to a string does not fail");
    match format {
        Format::OpenMetrics => text,
        Format::Classic => classic(&text),
    }
}

/// Converts to the classic format. `OpenMetrics` names a counter without `_total`, the classic format names
/// the series.
fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len() + 1024);
    let mut help: Option<&str> = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = Some(rest);
        } else if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap_or((described, "unknown"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take().and_then(|help| help.split_once(' ')) {
                text.extend(["# HELP ", name, suffix, " ", help, "\n"]);
            }
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if line != "# EOF" {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn each_format_describes_a_counter_in_its_own_way() {
        let mut registry = Registry::with_prefix("xdp");
        registry.register("writes", "Writes", Counter::<u64>::default());
        let open = encode(
            &registry,
            Format::accepted("application/openmetrics-text;version=1.0.0"),
        );
        assert_eq!(
            open,
            "# HELP xdp_writes Writes.\n# TYPE xdp_writes counter\nxdp_writes_total 0\n# EOF\n"
        );
        let classic = encode(&registry, Format::accepted("text/plain"));
        assert_eq!(
            classic,
            "# HELP xdp_writes_total Writes.\n# TYPE xdp_writes_total counter\nxdp_writes_total 0\n"
        );
    }

    #[test]
    fn results_are_success_and_error() {
        assert_eq!([result(true), result(false)], RESULTS);
    }
}
