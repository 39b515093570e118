//! What each kind of finding means, for readers who meet it for the first time.

use crate::sentence::title;

/// The Common Weakness Enumeration's page for a number.
pub(crate) fn cwe_page(cwe: u32) -> String {
    format!("https://cwe.mitre.org/data/definitions/{cwe}.html")
}

/// A kind, as formats that know rules want it described.
pub(crate) struct KindFacts {
    /// The word that stands in [`crate::Finding::kind`].
    pub(crate) kind: &'static str,
    /// Number in the Common Weakness Enumeration.
    pub(crate) cwe: u32,
    /// That entry's name.
    pub(crate) cwe_name: &'static str,
    /// What the program does wrong, and why it matters.
    pub(crate) meaning: &'static str,
}

impl KindFacts {
    /// `Double free`.
    pub(crate) fn title(&self) -> String {
        capitalised(title(self.kind))
    }
}

/// All kinds. The order is that of the rules in SARIF, whose indices results refer to: new ones go to the
/// end.
pub(crate) const KINDS: [KindFacts; 11] = [
    KindFacts {
        kind: "double-free",
        cwe: 415,
        cwe_name: "Double Free",
        meaning: "A block is freed that is free already. If its memory was handed out again in between, the \
                  second free takes it away from its new owner.",
    },
    KindFacts {
        kind: "use-after-free",
        cwe: 416,
        cwe_name: "Use After Free",
        meaning: "A block is read or written after it was freed. Its memory may belong to somebody \
                  else by then.",
    },
    KindFacts {
        kind: "not-of-heap",
        cwe: 590,
        cwe_name: "Free of Memory not on the Heap",
        meaning: "An address is freed that no allocation gave: of a stack, of static data, of a mapping, or \
                  of another allocator.",
    },
    KindFacts {
        kind: "not-block-start",
        cwe: 761,
        cwe_name: "Free of Pointer not at Start of Buffer",
        meaning: "An address inside a block is freed. Only the start of a block can be.",
    },
    KindFacts {
        kind: "overrun-write",
        cwe: 122,
        cwe_name: "Heap-based Buffer Overflow",
        meaning: "A write goes past the end of a block, over whatever lies behind it.",
    },
    KindFacts {
        kind: "underrun-write",
        cwe: 124,
        cwe_name: "Buffer Underwrite ('Buffer Underflow')",
        meaning: "A write goes before the start of a block, over whatever lies in front of it.",
    },
    KindFacts {
        kind: "overrun-read",
        cwe: 126,
        cwe_name: "Buffer Over-read",
        meaning: "A read goes past the end of a block and gives what happens to lie there.",
    },
    KindFacts {
        kind: "underrun-read",
        cwe: 127,
        cwe_name: "Buffer Under-read",
        meaning: "A read goes before the start of a block and gives what happens to lie there.",
    },
    KindFacts {
        kind: "mismatched-deallocation",
        cwe: 762,
        cwe_name: "Mismatched Memory Management Routines",
        meaning: "A block is freed by another family of functions than it was allocated by, such as new \
                  and free.",
    },
    KindFacts {
        kind: "wrong-layout",
        cwe: 762,
        cwe_name: "Mismatched Memory Management Routines",
        meaning: "A block is deallocated with another size or alignment than it was allocated with.",
    },
    KindFacts {
        kind: "leak",
        cwe: 401,
        cwe_name: "Missing Release of Memory after Effective Lifetime",
        meaning: "A block was not freed, and nothing in the program leads to it any more: nobody can free it.",
    },
];

/// The facts of a kind; None for one that a later version wrote.
pub(crate) fn facts(kind: &str) -> Option<&'static KindFacts> {
    KINDS.iter().find(|facts| facts.kind == kind)
}

/// With a capital letter first.
pub(crate) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::kind_name;
    use hk_format::FindingKind;

    #[test]
    fn every_kind_of_a_recording_is_described() {
        let kinds: Vec<FindingKind> = (0..64).filter_map(FindingKind::from_u32).collect();
        assert_eq!(kinds.len(), KINDS.len());
        for kind in kinds {
            let facts = facts(kind_name(kind)).unwrap();
            assert_eq!(facts.cwe, kind.cwe());
        }
    }
}
