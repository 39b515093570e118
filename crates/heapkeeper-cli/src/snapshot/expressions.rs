//! Ways as the program would write them: `conn_table[12]->session->name`.
//!
//! The types of variables and of what pointers lead to tell, if each pointer leads to the start of its block; a snapshot does not say where in the
//! block it leads.

use super::names::Names;
use hk_format::RootKind;
use hk_graph::{Holder, Path, Paths};
use hk_report::clean;
use hk_symbols::{Pointee, PointerPlace};

/// Longer ways are not written: nobody reads them, and there may be one for each of many holders.
const STEPS_MAX: usize = 10_000;
/// Parts that are the same and follow each other are counted from so many on.
const RUN_MIN: usize = 4;

impl Names<'_> {
    /// The pointer that leads to where the way ends; None if types do not tell it all the way.
    pub fn expression(&mut self, path: &Path) -> Option<String> {
        if path.steps.len() > STEPS_MAX {
            return None;
        }
        let words = path.steps.iter().map(|step| (step.block, step.word));
        self.written(path.root, words)
    }

    /// A place that holds a pointer, if by its type it is one.
    pub fn holder_expression(&mut self, paths: &Paths<'_>, holder: Holder) -> Option<String> {
        match holder {
            Holder::Root { place, kind: RootKind::Data, .. } => self.in_variable(place).map(|(text, _)| text),
            Holder::Root { .. } => None,
            Holder::Block { block, word } => {
                paths.nearest(block).filter(|&(_, distance)| distance as usize <= STEPS_MAX)?;
                let path = paths.to(block)?;
                let words = path.steps.iter().map(|step| (step.block, step.word));
                self.written(path.root, words.chain([(block, word)]))
            }
        }
    }

    fn written(&mut self, root: usize, words: impl Iterator<Item = (u32, u32)>) -> Option<String> {
        let root = self.snapshot.roots[root];
        let (variable, mut pointee) = self.in_variable(root.place).filter(|_| root.kind == RootKind::Data)?;
        let mut parts = Vec::new();
        for (block, word) in words {
            let place = self.in_block(pointee?, block, u64::from(word) * 8)?;
            parts.push(place.text);
            pointee = place.pointee;
        }
        Some(clean(&format!("{variable}{}", folded(&parts))))
    }

    /// The variable's name is the symbol's, which has its scopes.
    fn in_variable(&mut self, address: u64) -> Option<(String, Option<Pointee>)> {
        let place = self.typed_variable(address)?;
        let name = self.variable(address)?.name?;
        Some((format!("{name}{}", place.text), place.pointee))
    }

    fn in_block(&self, of: Pointee, block: u32, offset: u64) -> Option<PointerPlace> {
        self.typed_field(of, self.requested_bytes(block), offset)
    }
}

/// The parts one behind the other; a long run of one part once, with how often it is there.
fn folded(parts: &[String]) -> String {
    let runs = parts.chunk_by(|one, other| one == other);
    let written = |run: &[String]| match run.len() {
        RUN_MIN.. => format!("({})×{}", run[0], run.len()),
        _ => run.concat(),
    };
    runs.map(written).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_are_counted() {
        let parts: Vec<String> = ["->head", "->next", "->next", "->next"].map(String::from).to_vec();
        assert_eq!(folded(&parts), "->head->next->next->next");
        let more = [&parts[..], &parts[1..], &["[2]".into()]].concat();
        assert_eq!(folded(&more), "->head(->next)×6[2]");
    }
}
