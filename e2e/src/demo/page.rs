//! Output: headings, indentation, and colours on a terminal.

use std::{
    env,
    io::{IsTerminal as _, Write as _, stdout},
};

/// The width of headings, in columns.
const WIDTH: usize = 92;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const BLUE: &str = "34";

/// Standard output.
pub(super) struct Page {
    colours: bool,
}

impl Page {
    pub(super) fn new() -> Self {
        Self {
            colours: stdout().is_terminal() && env::var_os("NO_COLOR").is_none(),
        }
    }

    pub(super) fn heading(&self, title: &str) {
        let rule = "─".repeat(WIDTH.saturating_sub(title.chars().count() + 4));
        print(&format!(
            "\n{} {}\n",
            self.paint(BOLD, &format!("── {title}")),
            self.paint(DIM, &rule)
        ));
    }

    pub(super) fn line(&self, text: &str) {
        let text = text.replace('✓', &self.paint(GREEN, "✓"));
        print(format!("  {}", text.replace('✗', &self.paint(RED, "✗"))).trim_end());
    }

    pub(super) fn lines<S: AsRef<str>>(&self, lines: &[S]) {
        for line in lines {
            self.line(line.as_ref());
        }
    }

    pub(super) fn text(&self, text: &str) {
        text.lines().for_each(|line| self.line(line));
    }

    /// Prints YAML, with comments dimmed.
    pub(super) fn yaml(&self, text: &str) {
        for line in text.lines() {
            if line.starts_with('#') || line == "---" {
                self.line(&self.paint(DIM, line));
            } else if let Some((key, value)) = line.split_once(':') {
                self.line(&format!("{}:{value}", self.paint(BLUE, key)));
            } else {
                self.line(line);
            }
        }
    }

    /// Prints the last lines.
    pub(super) fn verdict(&self, good: bool, text: &str) {
        let text = if good {
            self.paint(GREEN, &format!("✓ {text}"))
        } else {
            self.paint(RED, "✗ Some results are not as expected: see the lines marked ✗.")
        };
        print(&format!(
            "\n{text}\n  Not verified on hardware: a veth with native XDP took the place of the NIC."
        ));
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Ignores a closed pipe (`| head`): the demo has to clean up.
fn print(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}
