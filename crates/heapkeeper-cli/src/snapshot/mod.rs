//! What the verbs that look at a whole heap share: where a snapshot comes from, and the names of what is in it.

mod expressions;
mod model;
mod names;
mod page;
mod places;
mod sites;
mod source;
mod table;

pub use model::{Head, SizeModel, blocks_text, bytes_text, figure};
pub use names::Names;
pub use page::{Page, tell};
pub use places::plus;
pub use sites::{NOT_RECORDED, Site};
pub use source::{load, load_twice, take_and_look};
pub use table::{Table, WIDTH, fit, percent, signed};

use clap::ValueHint;
use std::path::PathBuf;

/// The snapshot that a verb looks at, and the form of what it tells.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Write it as JSON to OUT (`-`: standard output) and not as text
    #[arg(long, value_name = "OUT")]
    pub json: Option<PathBuf>,
    /// A snapshot, as `heapkeeper snap PID -o FILE` takes it; or a process, of which one is taken
    #[arg(value_name = "FILE|PID", value_hint = ValueHint::FilePath)]
    pub target: PathBuf,
}
