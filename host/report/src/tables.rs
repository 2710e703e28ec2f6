//! The data of the page's plots and tables as CSV (RFC 4180), for spreadsheets and notebooks.

use crate::graph;
use crate::jobs;
use crate::reasons;
use crate::state;
use crate::subject::Subject;
use crate::text;
use crate::view::fidelity::depth_rows;
use std::borrow::Cow;

/// A table: its file's name and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Name of the file.
    pub name: &'static str,
    /// What is in it, for people.
    pub title: &'static str,
    /// The CSV.
    pub csv: String,
}

/// All tables of a model or a run.
pub fn tables(subject: &Subject) -> Vec<Table> {
    let mut all = vec![slices(subject)];
    let jobs = jobs::all(subject);
    if !jobs.is_empty() {
        all.push(timeline(&jobs));
    }
    if !reasons::not_proven(subject).is_empty() {
        all.push(not_proven(subject));
    }
    if subject.run.is_some() {
        all.push(depth(subject));
    }
    if subject.comparison.is_some() {
        all.push(values(subject, usize::MAX));
    }
    all
}

/// A text that a spreadsheet would take for a formula gets a `'` before it, which shows it as
/// text: names in models are written by others.
fn cell(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

fn number(v: Option<f64>) -> String {
    v.map(|v| v.to_string()).unwrap_or_default()
}

/// Rows, with the quoting of crate `csv-core`.
struct Writer {
    csv: csv_core::Writer,
    bytes: Vec<u8>,
}

impl Writer {
    fn new(header: &[&str]) -> Self {
        let mut w = Self {
            csv: csv_core::Writer::new(),
            bytes: Vec::new(),
        };
        w.cells(header.iter().copied());
        w
    }

    fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.cells(cells.iter().map(String::as_str));
    }

    fn cells<'a>(&mut self, cells: impl Iterator<Item = &'a str>) {
        for (k, cell) in cells.enumerate() {
            if k > 0 {
                self.put(1, |csv, room| csv.delimiter(room).1);
            }
            // Each byte can become two, and quotes come around.
            self.put(2 * cell.len() + 4, |csv, room| {
                csv.field(cell.as_bytes(), room).2
            });
        }
        self.put(4, |csv, room| csv.terminator(room).1);
    }

    /// Lets the writer write into so much room, which is always enough.
    fn put(&mut self, room: usize, write: impl FnOnce(&mut csv_core::Writer, &mut [u8]) -> usize) {
        let at = self.bytes.len();
        // What is written before a cell (a quote) comes on top.
        self.bytes.resize(at + room + 2, 0);
        let written = write(&mut self.csv, &mut self.bytes[at..]);
        self.bytes.truncate(at + written);
    }

    fn finish(self, name: &'static str, title: &'static str) -> Table {
        Table {
            name,
            title,
            csv: String::from_utf8_lossy(&self.bytes).into_owned(),
        }
    }
}

fn slices(subject: &Subject) -> Table {
    let mut w = Writer::new(&[
        "slice",
        "operators",
        "backend",
        "state",
        "parameters",
        "multiply_accumulates",
        "own_error",
    ]);
    for s in &subject.slices {
        let run = subject.slice_run(s.index);
        w.row([
            s.index.to_string(),
            cell(&graph::operators(s)).into_owned(),
            cell(subject.backend(s).unwrap_or_default()).into_owned(),
            state::of(subject, s).word().to_owned(),
            s.parameters.to_string(),
            s.macs.to_string(),
            number(run.and_then(|r| r.fidelity.as_ref()?.error)),
        ]);
    }
    w.finish("slices.csv", "all slices")
}

fn timeline(jobs: &[jobs::Job]) -> Table {
    let mut w = Writer::new(&[
        "stage",
        "slice",
        "backend",
        "started_at",
        "started",
        "seconds",
        "cpu_seconds",
        "peak_bytes",
        "file_bytes",
        "success",
    ]);
    for j in jobs {
        let start = j.usage.started_at;
        w.row([
            j.stage.word().to_owned(),
            j.slice.to_string(),
            cell(&j.backend).into_owned(),
            number(start),
            start.and_then(text::moment).unwrap_or_default(),
            j.usage.seconds.to_string(),
            j.usage.cpu_seconds.to_string(),
            j.usage.peak_bytes.to_string(),
            j.bytes.to_string(),
            j.success.to_string(),
        ]);
    }
    w.finish("timeline.csv", "jobs with times and memory")
}

fn not_proven(subject: &Subject) -> Table {
    let mut w = Writer::new(&[
        "backend",
        "operators",
        "reason",
        "would_change_it",
        "slices",
        "multiply_accumulates",
    ]);
    for g in reasons::not_proven(subject) {
        let slices: Vec<String> = g.slices.iter().map(usize::to_string).collect();
        w.row([
            cell(g.backend.as_deref().unwrap_or_default()).into_owned(),
            cell(&g.operators.join(" ")).into_owned(),
            cell(&g.reason).into_owned(),
            cell(&g.remedy).into_owned(),
            slices.join(" "),
            g.macs.to_string(),
        ]);
    }
    w.finish("not-proven.csv", "reasons why slices are not proven")
}

/// The errors along the depth.
pub fn depth(subject: &Subject) -> Table {
    let mut w = Writer::new(&["slice", "own_error", "chain_error", "budget"]);
    for row in depth_rows(subject) {
        w.row([
            row.slice.to_string(),
            number(row.own),
            number(row.chain),
            number(row.budget),
        ]);
    }
    w.finish("error-by-depth.csv", "errors along the depth")
}

/// Values of float model and run, at most about so many rows.
pub fn values(subject: &Subject, most: usize) -> Table {
    let mut w = Writer::new(&["slice", "tensor", "element", "float_value", "run_value"]);
    let tensors = || subject.comparison.iter().flat_map(|c| &c.tensors);
    let rows: usize = tensors().map(|t| t.sample.len()).sum();
    let step = rows.div_ceil(most.max(1)).max(1);
    let pairs = tensors().flat_map(|t| t.sample.iter().map(move |e| (t, e)));
    for (t, e) in pairs.step_by(step) {
        w.row([
            t.slice.to_string(),
            cell(&t.tensor).into_owned(),
            e.element.to_string(),
            number(e.expected),
            number(e.found),
        ]);
    }
    w.finish("values.csv", "values of the float model and of the run")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsperse_documents::SliceMetadata;

    #[test]
    fn foreign_text_is_one_cell_and_no_formula() {
        let hostile = "=HYPERLINK(\"http://x\"),\n\"y\"";
        let subject = Subject {
            slices: vec![SliceMetadata {
                backend: Some(hostile.to_owned()),
                operators: [("@SUM(A1)".to_owned(), 1)].into(),
                ..SliceMetadata::default()
            }],
            ..Subject::default()
        };
        let table = &tables(&subject)[0];
        assert_eq!(
            table.csv,
            "slice,operators,backend,state,parameters,multiply_accumulates,own_error\n\
             0,'@SUM(A1),\"'=HYPERLINK(\"\"http://x\"\"),\n\"\"y\"\"\",can only be run,0,0,\n"
        );
    }

    #[test]
    fn a_cell_of_quotes_alone_has_room() {
        let mut w = Writer::new(&["\"\"\"", ""]);
        w.row([String::new(), "\"".repeat(50)]);
        let csv = w.finish("x", "x").csv;
        assert_eq!(
            csv,
            format!("\"{}\",\n,\"{}\"\n", "\"".repeat(6), "\"".repeat(100))
        );
    }
}
