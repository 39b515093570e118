//! Builds what the later suites test, and looks at what the library imports.

use crate::artefacts::Artefacts;
use crate::context::Context;
use crate::outcome::Verdict;
use crate::process::Run;
use crate::tidy::imports;
use std::time::Duration;

/// Builds the command once, on the budget of the first suite that needs it.
pub fn ensure(context: &mut Context) -> Verdict {
    if context.artefacts.is_none() {
        context.artefacts = Some(Artefacts::build(context)?);
    }
    Ok(())
}

/// The build itself, and the library's imports and exports.
pub fn suite(context: &mut Context) {
    let built = ensure(context);
    let is_built = built.is_ok();
    context.record("the command is built and gives its library", built);
    if !is_built {
        return;
    }
    context.test("the library imports no allocator", |c| {
        imports::check_imports(&symbols(c, "--undefined-only")?)
    });
    context.test("the library exports the malloc family", |c| {
        imports::check_exports(&symbols(c, "--defined-only")?)
    });
}

fn symbols(context: &Context, which: &str) -> Result<String, String> {
    let library = &context.artefacts()?.library;
    Ok(Run::new("nm", Duration::from_secs(20)).args(["-D", which]).arg(library).succeeds()?.stdout)
}
