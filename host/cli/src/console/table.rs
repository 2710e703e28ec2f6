//! Plain tables with aligned columns. Cells hold text from outside: each is made harmless.

use super::foreign::field;

/// A table. The first row is the heading.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

impl Table {
    /// A table with a heading. Columns whose number is in `right` are aligned right.
    #[must_use]
    pub fn new(heading: &[&str], right: &[usize]) -> Self {
        Self {
            rows: vec![heading.iter().map(|h| (*h).to_owned()).collect()],
            right: right.to_vec(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        let cells = cells.into_iter().map(|c| field(&c).into_owned());
        self.rows.push(cells.collect());
    }

    /// The table as text; empty columns are left out.
    #[must_use]
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &Vec<String>, c: usize| row.get(c).cloned().unwrap_or_default();
        let kept: Vec<usize> = (0..columns)
            .filter(|c| self.rows.iter().skip(1).any(|r| !cell(r, *c).is_empty()))
            .collect();
        let width = |c: usize| {
            self.rows
                .iter()
                .map(|r| cell(r, c).chars().count())
                .max()
                .unwrap_or(0)
        };
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for c in &kept {
                let text = cell(row, *c);
                let pad = " ".repeat(width(*c).saturating_sub(text.chars().count()));
                if self.right.contains(c) {
                    line.push_str(&pad);
                    line.push_str(&text);
                } else {
                    line.push_str(&text);
                    line.push_str(&pad);
                }
                line.push_str("  ");
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_ones_dropped() {
        let mut table = Table::new(&["slice", "backend", "note"], &[0]);
        table.row(vec!["0".into(), "onnx".into(), String::new()]);
        table.row(vec!["10".into(), "sumcheck".into(), String::new()]);
        assert_eq!(
            table.render(),
            "slice  backend\n    0  onnx\n   10  sumcheck\n"
        );
    }
}
