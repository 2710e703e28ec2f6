//! The page of a model or a run: one self-contained HTML file, its data as CSV, and a trace.
//!
//! Nothing here runs a backend: what is shown was recorded by the stages. A page holds no
//! address of anything outside, and text from files is escaped in one place
//! ([`text::html`]). Where is what decided?
//!
//! - [`subject`]: which documents belong together, and when a verification is of another run;
//! - [`state`], [`reasons`], [`jobs`]: what became of a slice, why it is not proven, who ran
//!   what when;
//! - [`fold`], [`graph`]: repeated blocks, and the drawing of the model;
//! - [`plots`], [`mod@tables`], [`mod@trace`]: plots as SVG, their data as CSV, the trace;
//! - [`view`]: all of that as the words and numbers of the page; the templates in
//!   `src/templates` put them in their places and hold no logic;
//! - [`render`]: templates, style and script in one file, under a content security policy.

pub mod fold;
pub mod graph;
pub mod jobs;
pub mod plots;
pub mod reasons;
pub mod render;
pub mod state;
pub mod subject;
pub mod tables;
pub mod text;
pub mod trace;
pub mod view;

pub use render::{comparison, page};
pub use subject::Subject;
pub use tables::tables;
pub use trace::trace;

use std::path::PathBuf;

/// Result of a report.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This error occurs when slices, a run or a document can't be read.
    #[error(transparent)]
    Store(#[from] dsperse_store::BundleError),
    /// This error occurs when run and slices don't belong together.
    #[error(
        "the run \"{}\" is of another sliced model than the slices \"{}\": its identity is {found}, theirs is {expected}",
        run.display(), slices.display()
    )]
    OtherModel {
        /// The run.
        run: PathBuf,
        /// The identity that it names.
        found: String,
        /// The slices.
        slices: PathBuf,
        /// Their identity.
        expected: String,
    },
    /// This error occurs when the verification report that the user names is of another run.
    #[error("the verification report \"{}\" does not fit the run: {difference}", file.display())]
    OtherRun {
        /// The report.
        file: PathBuf,
        /// How it differs.
        difference: String,
    },
    /// This error occurs when the page's own templates contradict what fills them: a fault of
    /// this program.
    #[error("the page could not be put together: {0}")]
    Template(#[from] minijinja::Error),
}
