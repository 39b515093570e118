//! Rules of the code that no compiler checks.

mod arrows;
pub mod imports;
mod sources;

use crate::context::Context;

/// All rules.
pub fn suite(context: &mut Context) {
    context.test("arrows between crates", |c| arrows::check(&c.root));
    context.test("source files", |c| sources::check(&c.root));
}
