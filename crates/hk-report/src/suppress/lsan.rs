//! The sanitizers' format: lines `kind:pattern`. What they can say is about leaks, races and functions that the sanitizers intercept;
//! nothing of it applies to bad frees and accesses. It is accepted, so that a project's file can be given as it is.

use super::{Lines, Suppression, Target};

/// Kinds of LeakSanitizer, AddressSanitizer and ThreadSanitizer, as their documentation lists them.
const KINDS: [&str; 14] = [
    "leak",
    "interceptor_name",
    "interceptor_via_fun",
    "interceptor_via_lib",
    "odr_violation",
    "alloc_dealloc_mismatch",
    "called_from_lib",
    "deadlock",
    "mutex",
    "race",
    "race_top",
    "signal",
    "thread",
    "fatal",
];

pub(super) fn is_entry(line: &str) -> bool {
    line.split_once(':').is_some_and(|(kind, _)| KINDS.contains(&kind))
}

pub(super) fn parse(mut lines: Lines<'_>) -> Result<Vec<Suppression>, String> {
    let mut found = Vec::new();
    while let Some((number, line)) = lines.next() {
        let entry =
            line.split_once(':').filter(|(kind, pattern)| KINDS.contains(kind) && !pattern.is_empty());
        let (kind, _) = entry.ok_or_else(|| {
            lines.error(number, &format!("expected KIND:PATTERN, with one of the kinds {}", KINDS.join(", ")))
        })?;
        let why = match kind {
            "leak" => "leaks are not looked for yet".to_owned(),
            kind => format!("'{kind}' is about a sanitizer's own checks"),
        };
        found.push(Suppression::new(line, lines.place(number), Target::Nothing(why)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::parse_suppressions;

    #[test]
    fn entries_are_kept_and_never_apply() {
        let found =
            parse_suppressions("l", "# known\nleak:libfoo.so\ninterceptor_via_fun:-[Foo bar:]\n").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].not_applicable(), Some("leaks are not looked for yet"));
        assert!(found[1].not_applicable().unwrap().contains("interceptor_via_fun"));
        let error = parse_suppressions("l", "leak:a\nspeed:11\n").unwrap_err();
        assert!(error.starts_with("l:2: expected KIND:PATTERN"), "{error}");
    }
}
