//! The sanitizers' format: lines `kind:pattern`. What they can say is about leaks, races and functions that the sanitizers intercept;
//! but for leaks nothing of it applies here. It is accepted, so that a project's file can be given as it is.

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
        let (kind, pattern) = entry.ok_or_else(|| {
            lines.error(number, &format!("expected KIND:PATTERN, with one of the kinds {}", KINDS.join(", ")))
        })?;
        let target = match kind {
            "leak" => Target::AnyFrame(pattern.trim().into()),
            kind => Target::Nothing(format!("'{kind}' is about a sanitizer's own checks")),
        };
        let mut suppression = Suppression::new(line, lines.place(number), target);
        if kind == "leak" {
            suppression.kinds = vec!["leak".into()];
        }
        found.push(suppression);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::parse_suppressions;

    use crate::model::{Event, Finding, Life, StackFrame};

    fn leak(function: &str, module: &str) -> Finding {
        let frame = StackFrame {
            function: Some(function.into()),
            module: Some(module.into()),
            ..StackFrame::default()
        };
        let allocated = Event { stack: vec![StackFrame::default(), frame], ..Event::default() };
        Finding {
            kind: "leak".into(),
            life: Some(Life { allocated, ..Life::default() }),
            ..Finding::default()
        }
    }

    #[test]
    fn leaks_are_suppressed_by_any_frame_and_the_rest_never_applies() {
        let text = "# known\nleak:libfoo.so\nleak:^shop::*_new$\ninterceptor_via_fun:-[Foo bar:]\n";
        let found = parse_suppressions("l", text).unwrap();
        assert_eq!(found.len(), 3);
        assert!(found[0].is_about(&leak("other", "/usr/lib/libfoo.so.1")));
        assert!(!found[0].is_about(&leak("other", "/usr/lib/libbar.so.1")));
        assert!(found[1].is_about(&leak("shop::order_new", "shop")));
        assert!(!found[1].is_about(&leak("a::shop::order_new", "shop")));
        assert!(!found[1].is_about(&leak("shop::order_news", "shop")));
        let double_free = Finding { kind: "double-free".into(), ..leak("shop::order_new", "libfoo.so") };
        assert!(!found.iter().any(|suppression| suppression.is_about(&double_free)));
        assert!(found[2].not_applicable().unwrap().contains("interceptor_via_fun"));
        let error = parse_suppressions("l", "leak:a\nspeed:11\n").unwrap_err();
        assert!(error.starts_with("l:2: expected KIND:PATTERN"), "{error}");
    }
}
