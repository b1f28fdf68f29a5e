//! Metrics as text for Prometheus.

use std::fmt::{self, Write};

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

/// Encodes all metrics of a registry. Fails only if `out` does.
pub fn encode(registry: &Registry, format: Format, mut out: &mut dyn Write) -> fmt::Result {
    match format {
        Format::OpenMetrics => text::encode(&mut out, registry),
        Format::Classic => text::encode(&mut ClassicWriter::new(out), registry),
    }
}

/// Converts lines to the classic format while they are written. `OpenMetrics` names a counter without
/// `_total`, the classic format names the series.
struct ClassicWriter<'a> {
    out: &'a mut dyn Write,
    line: String,
    /// Name and text of the help that precedes the type.
    help: Option<String>,
}

impl<'a> ClassicWriter<'a> {
    const fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            line: String::new(),
            help: None,
        }
    }

    fn convert(&mut self) -> fmt::Result {
        let (line, out) = (self.line.as_str(), &mut self.out);
        if let Some(help) = line.strip_prefix("# HELP ") {
            self.help = Some(help.to_owned());
        } else if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap_or((described, "unknown"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = self.help.take().as_deref().and_then(|help| help.split_once(' ')) {
                writeln!(out, "# HELP {name}{suffix} {help}")?;
            }
            writeln!(out, "# TYPE {name}{suffix} {kind}")?;
        } else if line != "# EOF" {
            writeln!(out, "{line}")?;
        }
        self.line.clear();
        Ok(())
    }
}

impl Write for ClassicWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            self.line.push_str(part.trim_end_matches('\n'));
            if part.ends_with('\n') {
                self.convert()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn each_format_describes_a_counter_in_its_own_way() {
        let mut registry = Registry::with_prefix("xdp");
        registry.register("writes", "Writes", Counter::<u64>::default());
        let text = |accept| {
            let mut text = String::new();
            encode(&registry, Format::accepted(accept), &mut text).unwrap();
            text
        };
        assert_eq!(
            text("application/openmetrics-text;version=1.0.0"),
            "# HELP xdp_writes Writes.\n# TYPE xdp_writes counter\nxdp_writes_total 0\n# EOF\n"
        );
        assert_eq!(
            text("text/plain"),
            "# HELP xdp_writes_total Writes.\n# TYPE xdp_writes_total counter\nxdp_writes_total 0\n"
        );
    }

    #[test]
    fn results_are_success_and_error() {
        assert_eq!([result(true), result(false)], RESULTS);
    }
}
