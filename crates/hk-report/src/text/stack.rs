//! A stack in lines: one for each frame, or all in one.

use super::{Lines, View, clean};
use crate::fold::{Part, file_name, is_library, own_frame, parts};
use crate::model::StackFrame;
use crate::style::Style;
use hk_symbols::short_name;

/// Frames that a stack in one line has at most.
const CHAIN_MAX: usize = 4;

/// The stack frame by frame; in the full form all of them, with their addresses.
pub(super) fn push(lines: &mut Lines, stack: &[StackFrame], state: &str, indent: &str, view: View<'_>) {
    let style = view.style;
    let shown = if view.full { (0..stack.len()).map(Part::Frame).collect() } else { parts(stack) };
    let own = own_frame(stack).filter(|_| !view.full);
    for part in shown {
        match part {
            Part::Folded(from, to) => {
                let what = format!("#{from}-#{}  {} library frames", to - 1, to - from);
                lines.push(&format!("{indent}{}", style.dim(&what)));
            }
            Part::Frame(at) => {
                let frame = &stack[at];
                let raw = if view.full { raw(frame) } else { String::new() };
                lines.push(&format!("{indent}{}{}", frame_line(at, frame, style), style.dim(&raw)));
                let shows_source = view.full || own.is_some_and(|own| std::ptr::eq(own, frame));
                if let Some(source) = frame.source.as_deref().filter(|_| shows_source) {
                    lines.push(&format!("{indent}   {}", style.dim(&format!("| {}", clean(source)))));
                }
            }
        }
    }
    if let Some(remark) = stack_remark(state) {
        lines.push(&format!("{indent}{}", style.dim(remark)));
    }
}

/// The stack in one line: `strdup ← session_open leaky.c:13 ← main leaky.c:52`. Of library code only what was called from the
/// program's own is named.
pub(super) fn chain(stack: &[StackFrame], state: &str, style: Style) -> String {
    let mut links: Vec<String> = Vec::new();
    let has_own = own_frame(stack).is_some();
    let mut more = false;
    for (at, frame) in stack.iter().enumerate() {
        let own = !is_library(frame);
        let called_by_own = stack.get(at + 1).is_some_and(|caller| !is_library(caller));
        if has_own && !own && !called_by_own {
            continue;
        }
        if links.len() == CHAIN_MAX {
            more = true;
            break;
        }
        let function = short_name(&name(frame));
        links.push(match (own, place(frame)) {
            (true, Some(place)) => format!("{} {place}", style.strong(&function)),
            (true, None) => style.strong(&function),
            _ => function,
        });
    }
    if more {
        links.push("…".into());
    }
    match links.is_empty() {
        true => stack_remark(state).unwrap_or("no stack").into(),
        false => links.join(" ← "),
    }
}

/// The text of the line that the innermost own frame is at.
pub(super) fn source_of(stack: &[StackFrame]) -> Option<String> {
    own_frame(stack)?.source.as_deref().map(clean)
}

/// Where a frame is, for whoever has the file and no debug information.
fn raw(frame: &StackFrame) -> String {
    let module = frame.module.as_deref().map(|module| clean(file_name(module)));
    match (module, frame.offset) {
        (Some(module), Some(offset)) => format!("  {:#x} = {module}+{:#x}", frame.pc.0, offset.0),
        _ => format!("  {:#x}", frame.pc.0),
    }
}

fn name(frame: &StackFrame) -> String {
    match (&frame.function, &frame.offset) {
        (Some(function), _) => shortened(&clean(function)),
        (None, Some(offset)) => {
            let module = frame.module.as_deref().map(file_name).unwrap_or_default();
            format!("{}+{:#x}", clean(module), offset.0)
        }
        (None, None) => format!("{:#x} (in no module)", frame.pc.0),
    }
}

fn place(frame: &StackFrame) -> Option<String> {
    match (&frame.file, frame.line) {
        (Some(file), Some(line)) => Some(format!("{}:{line}", clean(near(file)))),
        (Some(file), None) => Some(clean(near(file))),
        _ => None,
    }
}

fn frame_line(at: usize, frame: &StackFrame, style: Style) -> String {
    let place = match (place(frame), &frame.function, &frame.module) {
        (Some(place), ..) => format!("  {place}"),
        (None, Some(_), Some(module)) => format!("  ({})", clean(file_name(module))),
        _ => String::new(),
    };
    let inlined = if frame.inlined { " (inlined)" } else { "" };
    let function = name(frame);
    let function = if is_library(frame) { function } else { style.strong(&function) };
    format!("#{at} {function}{place}{inlined}")
}

/// Names of C++ templates can fill pages; the JSON report has them whole.
fn shortened(name: &str) -> String {
    const CHARS_MAX: usize = 200;
    let chars: Vec<char> = name.chars().collect();
    if chars.len() <= CHARS_MAX {
        return name.to_owned();
    }
    let half = CHARS_MAX / 2;
    chars[..half].iter().chain(&['…']).chain(&chars[chars.len() - half..]).collect()
}

/// A path below the present folder is shown from there.
fn near(file: &str) -> &str {
    let here = std::env::current_dir().ok();
    let here = here.as_ref().and_then(|here| here.to_str()).filter(|here| *here != "/");
    here.and_then(|here| file.strip_prefix(here)?.strip_prefix('/')).unwrap_or(file)
}

pub(crate) fn stack_remark(state: &str) -> Option<&'static str> {
    match state {
        "cut" => Some("the stack goes on: only its innermost frames are recorded"),
        "broken" => Some("the stack ends early: the last frame has no unwind information"),
        "absent" => Some("no stack: the process ended while it was taken"),
        _ => None,
    }
}
