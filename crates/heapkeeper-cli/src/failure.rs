//! How a verb ends that could not do its work.

use std::fmt::Display;
use std::process::ExitCode;

/// Exit code for an error of heapkeeper itself, as env(1) and timeout(1) use it.
pub const OWN_ERROR: u8 = 125;

/// What every verb's `run` gives.
pub type VerbResult = Result<ExitCode, Failure>;

/// One clear line (what, where, what to do) and the exit code.
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// An error of heapkeeper itself: exit code [`OWN_ERROR`]. The message has no prefix and no final dot.
    pub fn new(message: impl Display) -> Self {
        Failure::with_code(message, OWN_ERROR)
    }

    /// The same with another exit code.
    pub fn with_code(message: impl Display, code: u8) -> Self {
        Failure { message: message.to_string(), code }
    }

    /// Prints the line on standard error and gives the exit code.
    pub fn tell(self) -> ExitCode {
        crate::lines::tell(&self.message);
        ExitCode::from(self.code)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}
