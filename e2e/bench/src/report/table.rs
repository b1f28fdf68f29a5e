//! Tables for terminals and for the page.
#![expect(clippy::format_push_string, reason = "a table is built once")]

use comfy_table::{ContentArrangement, TableComponent, presets::UTF8_HORIZONTAL_ONLY};

use super::{ReportTable, Section};

impl ReportTable {
    /// Formats the table for a terminal.
    pub fn text(&self) -> String {
        let mut table = comfy_table::Table::new();
        table
            .load_preset(UTF8_HORIZONTAL_ONLY)
            .remove_style(TableComponent::HorizontalLines)
            .remove_style(TableComponent::MiddleIntersections)
            .remove_style(TableComponent::TopBorder)
            .remove_style(TableComponent::TopBorderIntersections)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(&self.columns)
            .add_rows(&self.rows);
        format!("{}\n{table}", self.title)
    }

    /// Formats the table as Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|{}\n", "---|".repeat(self.columns.len()));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("**{}**\n\n{}{rule}{rows}", self.title, line(&self.columns))
    }
}

impl Section {
    /// Formats the section for a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("\n{}  {}  ({:.0} s)\n", self.id, self.title, self.seconds);
        if let Some(reason) = &self.skipped {
            return format!("{text}SKIP: {reason}\n");
        }
        for table in &self.tables {
            text += &format!("\n{}\n", table.text());
        }
        for note in &self.notes {
            text += &format!("  · {note}\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_same_cells_in_a_terminal_and_on_the_page() {
        let mut section = Section::new("B0", "the floor");
        section.table(
            "floor",
            &["program", "ns"],
            vec![vec!["drop".into(), "30".into()]],
        );
        let text = section.text();
        assert!(text.contains("floor") && text.contains("drop"), "{text}");
        assert_eq!(
            section.tables[0].markdown(),
            "**floor**\n\n| program | ns |\n|---|---|\n| drop | 30 |\n"
        );
    }

    #[test]
    fn a_skipped_benchmark_shows_the_reason() {
        let text = Section::skip("B9", "scale-out", "no fake API server").text();
        assert!(text.contains("SKIP: no fake API server"), "{text}");
    }
}
