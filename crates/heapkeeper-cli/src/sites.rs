//! `--guard site:…`: where in the program's file, or in that of one of its libraries, the code lies whose blocks are guarded.

use crate::Failure;
use crate::doctor::library_files;
use hk_report::clean;
use hk_symbols::{DebugFolders, SiteError, find_site};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The library watches so many; a function has as many as it was inlined.
const RANGES_MAX: usize = 64;

/// A place in the code, and the addresses that it has.
pub struct Sites {
    text: String,
    ranges: Vec<Range<u64>>,
    /// The library that they are in; None: the program.
    library: Option<PathBuf>,
}

impl Sites {
    /// Looks the site up in the debug information and symbols of the program, or else of the libraries that it is linked to.
    pub fn find(text: &str, program: Option<&Path>) -> Result<Sites, Failure> {
        let error = |what: String| Failure::new(format!("guard site:{}: {what}", clean(text)));
        let program = program.ok_or_else(|| error("the program was not found".into()))?;
        let name = clean(&program.to_string_lossy());
        let (found, library) = in_program_or_libraries(program, text);
        match found {
            Ok(ranges) if ranges.len() > RANGES_MAX => Err(error(format!(
                "it is {} places in {name}, and {RANGES_MAX} can be watched: name one that calls it",
                ranges.len()
            ))),
            Ok(ranges) => Ok(Sites { text: text.into(), ranges, library }),
            Err(SiteError::NoProgram) => Err(error(format!("{name} is no program file with symbols"))),
            Err(SiteError::NoLines) => Err(error(format!(
                "{name} has no debug information with lines: name a function, or build it with -g"
            ))),
            Err(SiteError::Unknown(near)) if near.is_empty() => {
                Err(error(format!("there is no such function or line in {name} and its libraries")))
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
        let library = self.library.as_deref().and_then(Path::file_name).map_or_else(String::new, |name| {
            let bytes = name.as_encoded_bytes().iter();
            "@".to_owned() + &bytes.map(|&byte| in_setting(byte)).collect::<String>()
        });
        let range = |range: &Range<u64>| format!("{:x}-{:x}{library}", range.start, range.end);
        self.ranges.iter().map(range).collect::<Vec<_>>().join("+")
    }
}

/// A byte of a file name, percent-encoded where it could end a part of the setting.
fn in_setting(byte: u8) -> String {
    match byte {
        b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

/// What is not in the program may be in a library; if it is nowhere, what the program has that is alike is told.
fn in_program_or_libraries(
    program: &Path,
    text: &str,
) -> (Result<Vec<Range<u64>>, SiteError>, Option<PathBuf>) {
    let folders = DebugFolders::default();
    let in_program = find_site(program, text, &folders);
    if in_program.is_ok() {
        return (in_program, None);
    }
    let in_library = |file: PathBuf| Some((Ok(find_site(&file, text, &folders).ok()?), Some(file)));
    library_files(program).into_iter().find_map(in_library).unwrap_or((in_program, None))
}
