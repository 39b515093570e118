//! The block's life as a line from top to bottom: allocated, freed, misused.
//!
//! Where nanoseconds stand beside seconds, no scale shows both: then the gaps have fixed lengths, and the
//! line is broken in the long one.

use super::svg::{Drawing, fitting, text};
use crate::fold::{file_name, own_frame};
use crate::model::{Finding, ThreadRef};
use crate::moments::{Moment, Turn, moments};
use crate::text::clean;
use crate::units::duration;
use hk_symbols::short_name;

/// Where the line stands, and where the words beside it begin.
const LINE_X: f64 = 18.0;
const TEXT_X: f64 = 42.0;
const TOP: f64 = 20.0;
/// Room that the words of a moment and of the gap below it take.
const GAP_MIN: f64 = 90.0;
/// What a moment's words take of the gap below it.
const WORDS: f64 = 32.0;
/// All gaps together, when drawn to scale.
const LENGTH: f64 = 340.0;
/// A gap whose line is broken.
const GAP_BROKEN: f64 = 104.0;
/// Characters that fit beside the line.
const CHARS: usize = 38;

/// None if nothing but the misuse is known.
pub(super) fn figure(finding: &Finding, at: usize) -> Option<String> {
    let moments = moments(finding);
    if moments.len() < 2 {
        return None;
    }
    let gaps: Vec<u64> =
        moments.windows(2).map(|pair| pair[1].time_ns.saturating_sub(pair[0].time_ns)).collect();
    let layout = layout(&gaps);
    let mut body = String::new();
    let mut y = TOP;
    for (index, moment) in moments.iter().enumerate() {
        if let Some(&length) = layout.lengths.get(index) {
            body.push_str(&gap(moment, gaps[index], y, length, layout.broken == Some(index)));
        }
        body.push_str(&point(moment, moments[0].time_ns, y));
        y += layout.lengths.get(index).unwrap_or(&0.0);
    }
    let caption = caption(&gaps, &layout);
    let drawing = Drawing {
        name: "timeline",
        at,
        title: "The block's life",
        description: &description(&moments),
        height: y + 44.0,
        body: &body,
        caption: &caption,
    };
    Some(drawing.html())
}

/// How long each gap is drawn, and which of them is broken.
#[derive(Debug, PartialEq)]
struct Layout {
    lengths: Vec<f64>,
    broken: Option<usize>,
}

fn layout(gaps: &[u64]) -> Layout {
    let &[first, second] = gaps else { return Layout { lengths: vec![GAP_MIN; gaps.len()], broken: None } };
    if first == second {
        return Layout { lengths: vec![GAP_MIN; 2], broken: None };
    }
    let total = first as f64 + second as f64;
    // As long as the words of the shorter gap need; without end if that took no time.
    let length = GAP_MIN * total / first.min(second) as f64;
    if length <= LENGTH {
        let lengths = gaps.iter().map(|&gap| gap as f64 / total * length).collect();
        return Layout { lengths, broken: None };
    }
    let longer = usize::from(second > first);
    let lengths = (0..2).map(|gap| if gap == longer { GAP_BROKEN } else { GAP_MIN }).collect();
    Layout { lengths, broken: Some(longer) }
}

fn caption(gaps: &[u64], layout: &Layout) -> String {
    match (layout.broken, gaps.len()) {
        (Some(longer), _) => format!(
            "Not to scale: the line is broken in the longer part, {} against {}.",
            duration(gaps[longer]),
            duration(gaps[1 - longer])
        ),
        (None, 2) => "To scale.".into(),
        (None, _) => String::new(),
    }
}

/// A moment's mark and words.
fn point(moment: &Moment<'_>, first_ns: u64, y: f64) -> String {
    let mark = match moment.turn {
        Turn::Allocated => format!("<circle class=\"mark born\" cx=\"{LINE_X}\" cy=\"{y:.1}\" r=\"6.5\"/>\n"),
        Turn::Freed => format!("<circle class=\"mark freed\" cx=\"{LINE_X}\" cy=\"{y:.1}\" r=\"6.5\"/>\n"),
        Turn::Misused => format!(
            "<path class=\"mark bad\" d=\"M{LINE_X} {:.1}l10 10l-10 10l-10 -10z\"/>\n\
             <text class=\"mark-sign middle\" x=\"{LINE_X}\" y=\"{:.1}\">!</text>\n",
            y - 10.0,
            y + 4.0
        ),
    };
    let when = match moment.turn {
        Turn::Allocated => format!("{} after start", duration(moment.time_ns)),
        _ => format!("+{}", duration(moment.time_ns.saturating_sub(first_ns))),
    };
    let class = if moment.turn == Turn::Misused { "title bad" } else { "title" };
    mark + &text(TEXT_X, y + 4.5, class, moment.label)
        + &text(TEXT_X, y + 21.0, "label", &by(moment))
        + &text(TEXT_X, y + 37.0, "dim", &with_thread(&when, moment.thread))
}

/// A thread's number tells it apart where its name has to be cut.
fn with_thread(when: &str, thread: &ThreadRef) -> String {
    let number = format!(" ({})", thread.id);
    let room = CHARS.saturating_sub(when.len() + ", thread ".len() + number.len());
    format!("{when}, thread {}{number}", fitting(&thread.name, room))
}

/// `by cache_evict`. Of a long name the end says most: what stands before it are the types around it.
fn by(moment: &Moment<'_>) -> String {
    let Some(function) = function(moment) else {
        // Nobody did what was found at the end.
        return if moment.stack_state.is_empty() { String::new() } else { "no stack".into() };
    };
    let name = clean(&function);
    match name.chars().count().checked_sub(CHARS - "by ".len()) {
        None | Some(0) => format!("by {name}"),
        Some(over) => format!("by …{}", name.chars().skip(over + 1).collect::<String>()),
    }
}

fn function(moment: &Moment<'_>) -> Option<String> {
    let frame = own_frame(moment.stack).or(moment.stack.first())?;
    Some(match (&frame.function, &frame.module) {
        (Some(function), _) => short_name(function),
        (None, Some(module)) => format!("code in {}", file_name(module)),
        (None, None) => "code in no module".into(),
    })
}

/// The line below a moment: whole while the block is in use, dashed once it is free.
fn gap(moment: &Moment<'_>, ns: u64, y: f64, length: f64, is_broken: bool) -> String {
    let (class, state) = match moment.turn {
        Turn::Allocated => ("used", "in use"),
        _ => ("free", "free"),
    };
    // Between the words of the two moments.
    let (middle, end) = (y + (length + WORDS) / 2.0, y + length);
    let line = match is_broken {
        false => format!("<path class=\"span {class}\" d=\"M{LINE_X} {y:.1}V{end:.1}\"/>\n"),
        true => format!(
            "<path class=\"span {class}\" d=\"M{LINE_X} {y:.1}V{:.1}M{LINE_X} {:.1}V{end:.1}\"/>\n\
             <path class=\"break\" d=\"M{:.1} {:.1}l7 -5l6 5l7 -5M{:.1} {:.1}l7 -5l6 5l7 -5\"/>\n",
            middle - 5.0,
            middle + 5.0,
            LINE_X - 10.0,
            middle - 3.0,
            LINE_X - 10.0,
            middle + 8.0,
        ),
    };
    line + &text(TEXT_X, middle + 5.0, "state", &format!("{state} for {}", duration(ns)))
}

fn description(moments: &[Moment<'_>]) -> String {
    let first = moments[0].time_ns;
    let parts = moments.iter().map(|moment| {
        let after = duration(moment.time_ns.saturating_sub(first));
        let by = function(moment).map_or(String::new(), |function| format!(" by {function}"));
        format!("{}{by} after {after} in thread {}", moment.label, moment.thread.name)
    });
    parts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_to_scale_while_that_is_legible() {
        assert_eq!(layout(&[100, 100]), Layout { lengths: vec![90.0, 90.0], broken: None });
        assert_eq!(layout(&[200, 100]), Layout { lengths: vec![180.0, 90.0], broken: None });
        assert_eq!(layout(&[180, 61_000_000_000]), Layout { lengths: vec![90.0, 104.0], broken: Some(1) });
        assert_eq!(layout(&[1, 0]), Layout { lengths: vec![104.0, 90.0], broken: Some(0) });
        assert_eq!(layout(&[0, 0]), Layout { lengths: vec![90.0, 90.0], broken: None });
        assert_eq!(layout(&[7]), Layout { lengths: vec![90.0], broken: None });
    }
}
