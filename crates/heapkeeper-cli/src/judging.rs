//! Reads what findings are measured against: the baseline and the suppressions.

use crate::Failure;
use crate::lines::Sink;
use hk_report::{Baseline, Date, Judge, parse_suppressions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Reads the files. A baseline that is not there yet is empty, and is said to be.
pub fn judge(baseline: Option<&Path>, suppressions: &[PathBuf], sink: &Sink) -> Result<Judge, Failure> {
    let baseline = baseline.map(|path| read_baseline(path, sink)).transpose()?;
    let mut all = Vec::new();
    for path in suppressions {
        let name = path.display();
        let bytes = std::fs::read(path)
            .map_err(|error| Failure::new(format!("cannot read the suppressions {name}: {error}")))?;
        let text = String::from_utf8_lossy(&bytes);
        all.extend(parse_suppressions(&name.to_string(), &text).map_err(Failure::new)?);
    }
    Ok(Judge::new(all, baseline, Date::today()))
}

fn read_baseline(path: &Path, sink: &Sink) -> Result<Baseline, Failure> {
    let name = path.display();
    match std::fs::read_to_string(path) {
        Ok(text) => Baseline::parse(&text).map_err(|what| {
            Failure::new(format!(
                "the baseline {name} is damaged: {what}; restore it, or remove it and write it anew with --update-baseline"
            ))
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            sink.line(&format!("there is no baseline {name} yet: every finding is new"));
            Ok(Baseline::of(&[]))
        }
        Err(error) => Err(Failure::new(format!("cannot read the baseline {name}: {error}"))),
    }
}
