//! `--guard site:…`: where in the program's file the code lies whose blocks are guarded.

use crate::Failure;
use hk_report::clean;
use hk_symbols::{DebugFolders, SiteError, find_site};
use std::ops::Range;
use std::path::Path;

/// Ranges are as many as a function was inlined; the variable that they travel in has a limit.
const RANGES_MAX: usize = 2000;

/// A place in the code, and the addresses that it has.
pub struct Sites {
    text: String,
    ranges: Vec<Range<u64>>,
}

impl Sites {
    /// Looks the site up in the program's debug information and symbols.
    pub fn find(text: &str, program: Option<&Path>) -> Result<Sites, Failure> {
        let error = |what: String| Failure::new(format!("--guard site:{}: {what}", clean(text)));
        let program = program.ok_or_else(|| error("the program was not found".into()))?;
        let name = clean(&program.to_string_lossy());
        match find_site(program, text, &DebugFolders::default()) {
            Ok(ranges) if ranges.len() > RANGES_MAX => Err(error(format!(
                "it is {} places in {name}: name a function or line that is fewer",
                ranges.len()
            ))),
            Ok(ranges) => Ok(Sites { text: text.into(), ranges }),
            Err(SiteError::NoProgram) => Err(error(format!("{name} is no program file with symbols"))),
            Err(SiteError::NoLines) => Err(error(format!(
                "{name} has no debug information with lines: name a function, or build it with -g"
            ))),
            Err(SiteError::Unknown(near)) if near.is_empty() => {
                Err(error(format!("there is no such function or line in {name}")))
            }
            Err(SiteError::Unknown(near)) => {
                let near: Vec<String> = near.iter().map(|name| clean(name)).collect();
                Err(error(format!("there is none in {name}; there is: {}", near.join(", "))))
            }
        }
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// As the setting `guard-sites` has them.
    pub fn ranges(&self) -> String {
        let range = |range: &Range<u64>| format!("{:x}-{:x}", range.start, range.end);
        self.ranges.iter().map(range).collect::<Vec<_>>().join("+")
    }
}
