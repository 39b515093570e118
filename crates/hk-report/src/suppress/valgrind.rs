//! valgrind's format: blocks in braces, of a name, a kind and the frames of the bad call or access.
//!
//! Its names of C++ functions are the linker's. Reports have the readable ones, so a name is made readable where it has no wildcard.

use super::stack::FramePattern;
use super::{Lines, Stack, Suppression, Target};

/// valgrind replaces these, and so sees them as a bad free's innermost frame; here a stack begins with their caller.
const REPLACED: [&str; 9] = [
    "free",
    "cfree",
    "realloc",
    "reallocarray",
    "malloc_usable_size",
    "_Zdl",
    "_Zda",
    "operator delete",
    "__libc_free",
];

/// The same where an allocation is told.
const REPLACED_ALLOCATORS: [&str; 10] = [
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "memalign",
    "posix_memalign",
    "aligned_alloc",
    "_Znw",
    "_Zna",
    "operator new",
];

/// The kinds of our findings that an `Addr` can be.
const ACCESSES: [&str; 5] =
    ["use-after-free", "overrun-write", "underrun-write", "overrun-read", "underrun-read"];
/// The same for a `Free`.
const FREES: [&str; 5] =
    ["double-free", "not-of-heap", "not-block-start", "mismatched-deallocation", "use-after-free"];

pub(super) fn parse(mut lines: Lines<'_>) -> Result<Vec<Suppression>, String> {
    let mut found = Vec::new();
    while let Some((number, line)) = lines.next() {
        if line != "{" {
            return Err(lines.error(number, "expected '{', which begins a suppression of valgrind"));
        }
        found.push(block(number, &mut lines)?);
    }
    Ok(found)
}

fn block(start: usize, lines: &mut Lines<'_>) -> Result<Suppression, String> {
    let mut content = Vec::new();
    loop {
        match lines.next() {
            Some((_, "}")) => break,
            Some((number, "{")) => {
                return Err(lines
                    .error(number, "a '{' inside of a suppression: the '}' of the one before is missing"));
            }
            Some(line) => content.push(line),
            None => return Err(lines.error(start, "this suppression has no '}' at its end")),
        }
    }
    let [(_, name), (kind_number, kind), rest @ ..] = &content[..] else {
        return Err(lines
            .error(start, "a suppression of valgrind has a name, a kind such as Memcheck:Free, and frames"));
    };
    let (tools, kind) = kind.split_once(':').ok_or_else(|| {
        lines.error(*kind_number, &format!("'{kind}' is no kind: expected TOOL:KIND, as Memcheck:Free"))
    })?;
    let mut frames = Vec::new();
    let lost = |line: &str| line.contains("definite") || line.contains("indirect") || line.contains("all");
    let mut is_of_lost = true;
    for (at, (number, line)) in rest.iter().enumerate() {
        match frame(line) {
            Some(frame) => frames.push(frame),
            // Names of parameters and kinds of leaks stand before the frames.
            None if at == 0 && line.starts_with("match-leak-kinds:") => is_of_lost = lost(line),
            None if at == 0 && kind == "Param" => {}
            None => {
                let what = format!("'{line}' is no frame: expected fun:NAME, obj:PATH, src:FILE or ...");
                return Err(lines.error(*number, &what));
            }
        }
    }
    let memcheck = tools.split(',').any(|tool| tool.trim() == "Memcheck");
    if kind == "Leak" && memcheck && !is_of_lost {
        let why = "only blocks that nothing points at are told as leaks, which are definite or indirect to valgrind";
        return Ok(Suppression::new(name, lines.place(start), Target::Nothing(why.into())));
    }
    Ok(suppression(name, lines.place(start), memcheck.then_some(kind), frames))
}

/// A kind of None is one of another tool.
fn suppression(name: &str, place: String, kind: Option<&str>, frames: Vec<Frame>) -> Suppression {
    let nothing = |why: &str| Suppression::new(name, place.clone(), Target::Nothing(why.into()));
    let size = kind.and_then(|kind| kind.strip_prefix("Addr")).and_then(|digits| digits.parse().ok());
    let kinds: &[&str] = match kind {
        Some("Free") => &FREES,
        Some("Param") => &ACCESSES,
        Some(kind) if kind.starts_with("Addr") => &ACCESSES,
        Some("Leak") => &["leak"],
        Some(_) => return nothing("memcheck alone finds this kind"),
        None => return nothing("it is for another tool of valgrind"),
    };
    if frames.iter().any(|frame| matches!(frame, Frame::Mangled)) {
        return nothing("it has a mangled name with a wildcard: write the readable name, as ns::name*");
    }
    let mut patterns: Vec<FramePattern> = frames
        .into_iter()
        .filter_map(|frame| if let Frame::Pattern(pattern) = frame { Some(pattern) } else { None })
        .collect();
    let is_leak = kind == Some("Leak");
    let is_replaced = |name: &str| match kind {
        Some("Free") => is_name_of_replaced(name),
        _ => is_leak && REPLACED_ALLOCATORS.iter().any(|replaced| name.starts_with(replaced)),
    };
    if patterns
        .first()
        .is_some_and(|first| matches!(first, FramePattern::Function(name) if is_replaced(name)))
    {
        patterns.remove(0);
    }
    if patterns.iter().all(|pattern| *pattern == FramePattern::Any) {
        return nothing("it names no frame of the program, and would suppress everything");
    }
    let stack = if is_leak { Stack::Allocated } else { Stack::Misuse };
    let mut found = Suppression::new(name, place, Target::Frames(Some(stack), patterns));
    found.kinds = kinds.iter().map(|&kind| kind.into()).collect();
    found.access_bytes = size;
    found
}

enum Frame {
    Pattern(FramePattern),
    /// A linker's name that cannot be made readable.
    Mangled,
}

fn frame(line: &str) -> Option<Frame> {
    if line == "..." {
        return Some(Frame::Pattern(FramePattern::Any));
    }
    let (key, value) = line.split_once(':')?;
    let has_wildcard = value.contains(['*', '?']);
    let mangled = value.starts_with("_Z") || value.starts_with("_R");
    Some(match key {
        "fun" if mangled && has_wildcard && !is_name_of_replaced(value) => Frame::Mangled,
        "fun" if mangled && !has_wildcard => {
            Frame::Pattern(FramePattern::Function(hk_symbols::demangle(value)))
        }
        "fun" => Frame::Pattern(FramePattern::Function(value.into())),
        "obj" => Frame::Pattern(FramePattern::Module(value.into())),
        "src" => Frame::Pattern(FramePattern::source(value)),
        _ => return None,
    })
}

fn is_name_of_replaced(name: &str) -> bool {
    let is_prefix = |known: &&str| known.starts_with("_Z") || known.contains(' ');
    REPLACED.iter().any(|known| name == *known || is_prefix(known) && name.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::super::parse_suppressions;
    use super::*;

    #[test]
    fn frees_and_accesses_are_taken_over() {
        let text = "
{
   table of libshop
   Memcheck:Free
   fun:free
   fun:shop_close*
   ...
   obj:*/libshop.so.?
   src:orders.c:12
}
{
   a read
   Memcheck:Addr8
   fun:_ZN4shop5totalEi
}
{
   a system call
   Memcheck:Param
   write(buf)
   fun:write
}
";
        let found = parse_suppressions("v", text).unwrap();
        let frames = vec![
            FramePattern::Function("shop_close*".into()),
            FramePattern::Any,
            FramePattern::Module("*/libshop.so.?".into()),
            FramePattern::Source("orders.c".into(), Some(12)),
        ];
        assert_eq!(found[0].target, Target::Frames(Some(Stack::Misuse), frames));
        assert!(found[0].kinds.contains(&"double-free".into()));
        assert_eq!((found[1].access_bytes, found[1].place.as_str()), (Some(8), "v:11"));
        let readable = vec![FramePattern::Function("shop::total(int)".into())];
        assert_eq!(found[1].target, Target::Frames(Some(Stack::Misuse), readable));
        assert_eq!(found[2].not_applicable(), None);
    }

    #[test]
    fn leaks_are_told_by_who_allocated() {
        let text =
            "{\nx\nMemcheck:Leak\nmatch-leak-kinds: definite\nfun:malloc\nfun:order_new\n...\nfun:main\n}";
        let found = parse_suppressions("v", text).unwrap();
        let function = |name: &str| FramePattern::Function(name.into());
        let frames = vec![function("order_new"), FramePattern::Any, function("main")];
        assert_eq!(found[0].target, Target::Frames(Some(Stack::Allocated), frames));
        assert_eq!(found[0].kinds, ["leak"]);
    }

    #[test]
    fn what_does_not_apply_says_why() {
        for (kind, frame, why) in [
            ("Memcheck:Leak", "match-leak-kinds: possible,reachable\nfun:a", "only blocks that nothing"),
            ("Memcheck:Leak", "fun:malloc", "names no frame"),
            ("Memcheck:Cond", "fun:a", "memcheck alone"),
            ("Memcheck:Overlap", "fun:memcpy", "memcheck alone"),
            ("Helgrind:Race", "fun:a", "another tool"),
            ("Memcheck:Free", "fun:_ZN4shop*", "mangled name with a wildcard"),
            ("Memcheck:Free", "fun:_ZdlPv\n...", "names no frame"),
        ] {
            let found = parse_suppressions("v", &format!("{{\nx\n{kind}\n{frame}\n}}")).unwrap();
            assert!(found[0].not_applicable().unwrap().contains(why), "{kind}");
        }
    }

    #[test]
    fn damaged_files_are_named_with_their_line() {
        for (text, expected) in [
            ("{\nx\nMemcheck:Free\nfun:a\n", "v:1: this suppression has no '}'"),
            ("{\nx\n{\n", "v:3: a '{' inside of a suppression"),
            ("{\nx\n}\n", "v:1: a suppression of valgrind has a name, a kind"),
            ("{\nx\nFree\nfun:a\n}", "v:3: 'Free' is no kind"),
            ("{\nx\nMemcheck:Free\nfoo\n}", "v:4: 'foo' is no frame"),
            ("{\nx\nMemcheck:Free\nfun:a\n}\nfoo", "v:6: expected '{'"),
        ] {
            let error = parse_suppressions("v", text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
