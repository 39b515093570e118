//! Patterns for the frames of a stack, innermost first.

use super::glob;
use crate::fold::file_name;
use crate::model::StackFrame;
use hk_symbols::short_name;

/// What one line of a suppression says of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FramePattern {
    /// The function's name, with or without its parameters.
    Function(String),
    /// The program's or library's path, or its last part.
    Module(String),
    /// The source file's path, or its last part, and maybe the line.
    Source(String, Option<u32>),
    /// `...`: any number of frames.
    Any,
}

impl FramePattern {
    /// A source file with or without a line: `orders.c:12`.
    pub(crate) fn source(text: &str) -> FramePattern {
        match text.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?))) {
            Some((file, line)) => FramePattern::Source(file.into(), Some(line)),
            None => FramePattern::Source(text.into(), None),
        }
    }

    fn fits(&self, frame: &StackFrame) -> bool {
        let path = |pattern: &str, path: &Option<String>| {
            path.as_deref()
                .is_some_and(|path| glob::matches(pattern, path) || glob::matches(pattern, file_name(path)))
        };
        match self {
            FramePattern::Function(pattern) => frame.function.as_deref().is_some_and(|function| {
                glob::matches(pattern, &short_name(function)) || glob::matches(pattern, function)
            }),
            FramePattern::Module(pattern) => path(pattern, &frame.module),
            FramePattern::Source(pattern, line) => {
                path(pattern, &frame.file) && line.is_none_or(|line| frame.line == Some(line))
            }
            FramePattern::Any => true,
        }
    }
}

/// Whether a stack begins as the patterns say; what follows it is not looked at, as in valgrind.
///
/// All ways in which `...` can be read are followed at the same time: a set of how many patterns may be used up.
pub(crate) fn begins_so(stack: &[StackFrame], patterns: &[FramePattern]) -> bool {
    let mut used = vec![false; patterns.len() + 1];
    used[0] = true;
    skip_any(&mut used, patterns);
    for frame in stack {
        if used[patterns.len()] {
            break;
        }
        let mut next = vec![false; patterns.len() + 1];
        for (at, pattern) in patterns.iter().enumerate().filter(|&(at, _)| used[at]) {
            match pattern {
                FramePattern::Any => next[at] = true,
                pattern if pattern.fits(frame) => next[at + 1] = true,
                _ => {}
            }
        }
        used = next;
        skip_any(&mut used, patterns);
    }
    used[patterns.len()]
}

/// `...` may stand for no frame at all.
fn skip_any(used: &mut [bool], patterns: &[FramePattern]) {
    for (at, pattern) in patterns.iter().enumerate() {
        used[at + 1] |= used[at] && *pattern == FramePattern::Any;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack() -> Vec<StackFrame> {
        let frame = |function: &str, file: &str, line, module: &str| StackFrame {
            function: Some(function.into()),
            file: Some(file.into()),
            line: Some(line),
            module: Some(module.into()),
            ..StackFrame::default()
        };
        vec![
            frame("shop::Table::drop(int)", "/src/table.cc", 7, "/opt/libshop.so.2"),
            frame("std::for_each<int>(int)", "/usr/include/c++/12/algo.h", 90, "/opt/libshop.so.2"),
            frame("order_total", "/src/orders.c", 12, "/opt/orders"),
            frame("main", "/src/orders.c", 30, "/opt/orders"),
        ]
    }

    fn function(name: &str) -> FramePattern {
        FramePattern::Function(name.into())
    }

    #[test]
    fn patterns_follow_the_stack_from_its_innermost_frame() {
        use FramePattern::{Any, Module};
        let stack = stack();
        for (patterns, fits) in [
            (vec![function("shop::Table::drop")], true),
            (vec![function("*Table::drop(int)")], true),
            (vec![function("order_total")], false),
            (vec![Any, function("order_total")], true),
            (vec![Any, function("order_*"), function("main")], true),
            (vec![Any, function("main"), function("order_total")], false),
            (vec![function("shop::*"), Any, Any, function("main"), Any], true),
            (vec![Module("libshop.so*".into()), Module("/opt/lib*".into()), function("order_total")], true),
            (vec![Any, FramePattern::source("orders.c:12")], true),
            (vec![Any, FramePattern::source("orders.c:13")], false),
            (vec![Any, FramePattern::source("/src/*.c")], true),
            (vec![Any, function("main"), function("*")], false),
        ] {
            assert_eq!(begins_so(&stack, &patterns), fits, "{patterns:?}");
        }
    }

    #[test]
    fn many_ways_to_read_it_take_no_longer() {
        let stack: Vec<StackFrame> = std::iter::repeat_n(stack()[3].clone(), 128).collect();
        let mut patterns: Vec<_> =
            (0..40).flat_map(|_| [FramePattern::Any, function("main"), FramePattern::Any]).collect();
        patterns.push(function("nobody"));
        assert!(!begins_so(&stack, &patterns));
    }
}
