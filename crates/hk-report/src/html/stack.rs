//! Stacks: own frames with their source lines, library frames folded away.

use crate::fold::{Part, file_name, is_library, own_frame, parts};
use crate::kinds::capitalised;
use crate::markup::escaped;
use crate::model::StackFrame;
use crate::moments::{Moment, Turn};
use crate::text::stack_remark;
use crate::units::count;
use hk_symbols::short_name;

/// Parts of a stack that are shown at once; deeper ones are folded.
const PARTS_MAX: usize = 8;
/// Characters of a name that are shown at once.
const NAME_CHARS_MAX: usize = 120;

/// One of the stacks that stand side by side.
pub(super) fn column(moment: &Moment<'_>) -> String {
    let turn = match moment.turn {
        Turn::Allocated => "allocated",
        Turn::Freed => "freed",
        Turn::Misused => "misused",
    };
    let thread = match moment.thread.id {
        0 => String::new(),
        id => format!(" <span class=\"thread\">thread {} ({id})</span>", escaped(&moment.thread.name)),
    };
    let remark = match stack_remark(moment.stack_state) {
        Some(remark) => format!("<p class=\"hint\">{}.</p>\n", capitalised(remark)),
        None if moment.stack.is_empty() && moment.stack_state.is_empty() => {
            "<p class=\"hint\">No call did this: it was found by a look at the blocks.</p>\n".into()
        }
        None if moment.stack.is_empty() => "<p class=\"hint\">There is no stack.</p>\n".into(),
        None => String::new(),
    };
    format!(
        "<section class=\"stack {turn}\">\n<h3>{}{thread}</h3>\n{}{remark}</section>\n",
        escaped(&capitalised(moment.label)),
        frames(moment.stack)
    )
}

fn frames(stack: &[StackFrame]) -> String {
    if stack.is_empty() {
        return String::new();
    }
    let parts = parts(stack);
    let (shown, deeper) = parts.split_at(parts.len().min(PARTS_MAX));
    // Folding a single one would hide it behind a line of the same height.
    let (shown, deeper) = if deeper.len() < 2 { (&parts[..], &[][..]) } else { (shown, deeper) };
    let list = |parts: &[Part]| parts.iter().map(|&part| part_html(stack, part)).collect::<String>();
    let rest = match deeper {
        [] => String::new(),
        [first, ..] => {
            let from = match *first {
                Part::Frame(at) | Part::Folded(at, _) => at,
            };
            let what = count((stack.len() - from) as u64, "deeper frame");
            format!(
                "<li class=\"fold\"><details><summary>{what}</summary><ol>{}</ol></details></li>",
                list(deeper)
            )
        }
    };
    format!("<ol class=\"frames\">\n{}{rest}</ol>\n", list(shown))
}

fn part_html(stack: &[StackFrame], part: Part) -> String {
    match part {
        Part::Frame(at) => frame_html(stack, at),
        Part::Folded(from, to) => {
            let what = count((to - from) as u64, "library frame");
            let inner: String = (from..to).map(|at| frame_html(stack, at)).collect();
            format!("<li class=\"fold\"><details><summary>{what}</summary><ol>{inner}</ol></details></li>\n")
        }
    }
}

fn frame_html(stack: &[StackFrame], at: usize) -> String {
    let frame = &stack[at];
    let is_telling = own_frame(stack).is_some_and(|own| std::ptr::eq(own, frame));
    let class = match (is_telling, is_library(frame)) {
        (true, _) => "own telling",
        (false, false) => "own",
        (false, true) => "library",
    };
    format!(
        "<li class=\"{class}\"><span class=\"number\" title=\"{}\">{at}</span><div>{}{}{}</div></li>\n",
        escaped(&in_module(frame)),
        name(frame),
        place(frame),
        source(frame)
    )
}

fn name(frame: &StackFrame) -> String {
    let (shown, whole) = match &frame.function {
        Some(function) if function.chars().count() > NAME_CHARS_MAX => {
            (cut(&short_name(function)), Some(function))
        }
        Some(function) => (function.clone(), None),
        None => (in_module(frame), None),
    };
    let whole = whole.map_or(String::new(), |whole| {
        let whole = escaped(whole);
        format!("<details class=\"whole\"><summary>whole name</summary><code>{whole}</code></details>")
    });
    let inlined = if frame.inlined { " <span class=\"tag\">inlined</span>" } else { "" };
    format!("<code class=\"function\">{}</code>{inlined}{whole}", escaped(&shown))
}

/// The frame's place for machines: `libpay.so.2+0x4f20`.
fn in_module(frame: &StackFrame) -> String {
    match (&frame.module, &frame.offset) {
        (Some(module), Some(offset)) => format!("{}+{:#x}", file_name(module), offset.0),
        _ => format!("{:#x}", frame.pc.0),
    }
}

fn cut(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// The file's own name stands out; its folders are there for who needs them.
fn place(frame: &StackFrame) -> String {
    let line = frame.line.map_or(String::new(), |line| format!(":{line}"));
    match (&frame.file, &frame.module) {
        (Some(file), _) => {
            let name = file_name(file);
            let folder = &file[..file.len() - name.len()];
            format!("<span class=\"place\">{}<b>{}{line}</b></span>", escaped(folder), escaped(name))
        }
        (None, Some(module)) if frame.function.is_some() => {
            format!("<span class=\"place\">{}</span>", escaped(file_name(module)))
        }
        (None, None) if frame.function.is_none() => "<span class=\"place\">in no module</span>".into(),
        _ => String::new(),
    }
}

fn source(frame: &StackFrame) -> String {
    frame
        .source
        .as_ref()
        .map_or(String::new(), |text| format!("<code class=\"source\">{}</code>", escaped(text)))
}
