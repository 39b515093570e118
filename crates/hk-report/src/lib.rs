//! From a recording to one plain [`Report`], and from there to what people and programs read.
//!
//! ```text
//! Recording ──► assemble ──► Report ──► text, HTML             for people
//!                  ▲                └──► JSON, SARIF, JUnit,
//!             Symbolizer                 GitHub's commands      for programs
//! ```
//!
//! The recording may be torn anywhere, as the processes that wrote it may have died anywhere: the reader
//! believes no length, count or offset before it has checked it. One bug is one finding: bad calls of the
//! same kind with the same symbolised stacks are one, with a count. The text says nothing that is not
//! known, and tells facts from inference.

mod access;
mod assemble;
mod baseline;
mod builds;
mod coverage;
mod culprit;
mod finding;
mod fold;
mod github;
mod html;
mod identity;
mod json;
mod judge;
mod junit;
mod kinds;
mod location;
mod markup;
mod merge;
mod model;
mod moments;
mod names;
mod recording;
mod sarif;
mod scan;
mod sentence;
mod source;
mod status;
mod style;
mod suppress;
mod tail;
mod text;
mod units;

pub use assemble::{Exit, RunFacts, assemble};
pub use baseline::{Baseline, KnownFinding};
pub use builds::build_ids;
pub use finding::{finding, stack_frames};
pub use fold::{file_name, is_library, own_frame};
pub use github::to_github;
pub use html::to_html;
pub use identity::{BugKey, Bugs, Ids, Trapped, bug_key};
pub use json::{JSON_SCHEMA, from_json, to_json};
pub use judge::{Judge, Judgement};
pub use junit::to_junit;
pub use merge::merge;
pub use model::{
    Access, Address, Block, Certainty, Culprit, Event, Figure, Figures, Finding, FreeSite, Life, Missing,
    NotCovered, Note, Population, Process, ProcessRef, Region, Report, SCHEMA, SCHEMA_VERSION, StackFrame,
    Summary, ThreadRef,
};
pub use recording::{Body, Record, Recording, RecordingError, Records};
pub use sarif::to_sarif;
pub use scan::scan_report;
pub use sentence::first_sentence;
pub use style::Style;
pub use suppress::{Date, Suppression, by_id, parse_suppressions};
pub use tail::Tail;
pub use text::{LINE_PREFIX, View, clean, finding_text, judgement_text, report_text, summary_text};
pub use units::{bytes, count, duration};
