//! `heapkeeper who`: who holds a block, or the blocks of an allocation site.

mod answer;
mod text;

use crate::snapshot::{Names, Options, load, tell};
use crate::{Failure, VerbResult};
use answer::{at_address, at_site};
use hk_report::clean;

const AFTER_HELP: &str = "\
ADDR is an address in hexadecimal digits, which may lie inside a block. SITE is a part of a function's name or of \
FILE:LINE: blocks are meant that were allocated there, or by what was called from there.";

/// Options of `heapkeeper who`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// The block, by an address in it, or an allocation site
    #[arg(value_name = "ADDR|SITE")]
    what: String,
}

/// Reads the snapshot, and tells.
pub fn run(args: &Args) -> VerbResult {
    let snapshot = load(&args.options.target)?;
    let mut names = Names::new(&snapshot);
    let answer = match address(&args.what) {
        Some(address) => at_address(&mut names, address)?,
        None => at_site(&mut names, &args.what)?,
    };
    tell("who", args.options.json.as_deref(), &answer, |page| text::push(page, &answer, &names))
}

/// `0x7f00…`, or hexadecimal digits alone if they are as many as an address of a block has.
fn address(what: &str) -> Option<u64> {
    const DIGITS_MIN: usize = 8;
    match what.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None if what.len() >= DIGITS_MIN => u64::from_str_radix(what, 16).ok(),
        None => None,
    }
}

fn none(what: &str, why: &str) -> Failure {
    Failure::new(format!("{}: {why}", clean(what)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_sites_are_told_apart() {
        assert_eq!(address("0x7f0000001040"), Some(0x7f00_0000_1040));
        assert_eq!(address("7f0000001040"), Some(0x7f00_0000_1040));
        assert_eq!(address("face"), None);
        assert_eq!(address("0xnothing"), None);
        assert_eq!(address("make_conn"), None);
    }
}
