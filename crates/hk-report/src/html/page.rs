//! The block on its pages, between the inaccessible ones, and where the access went.
//!
//! A block of one byte and one of 20 MiB fill the same drawing: each part has at least the width that can be
//! seen, and the caption says where that is not to scale.

use super::svg::{Drawing, WIDTH, fitting, text};
use crate::model::{Block, Finding, Life};
use crate::moments::moments;
use crate::units::{bytes, count};
use std::fmt::Write;
use std::ops::Range;

/// Size of a page, by which pages are counted.
const PAGE_BYTES: u64 = 4096;
/// The drawing's edges, and the width of what lies outside of the block's own pages.
const LEFT: f64 = 8.0;
const OUTSIDE_WIDTH: f64 = 52.0;
/// The bytes that this width stands for, at least and at most.
const OUTSIDE_BYTES: Range<i128> = 16..4096;
/// What the smallest part is drawn with.
const PART_WIDTH_MIN: f64 = 26.0;
/// What the access is at least drawn with.
const ACCESS_WIDTH_MIN: f64 = 7.0;
/// The bar from top to bottom.
const BAR_TOP: f64 = 74.0;
const BAR_BOTTOM: f64 = 118.0;
const LEGEND_TOP: f64 = 168.0;
const LEGEND_STEP: f64 = 21.0;
const LABEL_CHARS: usize = 37;

/// What a stretch of addresses is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An inaccessible page.
    Guard,
    /// Memory of which nothing is known, beside a block that was not guarded.
    Other,
    /// Between the block and the ends of its pages.
    Slack,
    Block,
}

/// A stretch, from and to relative to the block's start, and where it is drawn.
struct Part {
    kind: Kind,
    from: i128,
    to: i128,
    x: f64,
    width: f64,
}

/// None if the address lies at no block.
pub(super) fn figure(finding: &Finding, at: usize) -> Option<String> {
    // A leak happened at no address.
    let block = finding.block.as_ref().filter(|_| finding.leak.is_none())?;
    let life = finding.life.as_ref();
    let (parts, is_to_scale) = laid_out(stretches(block, life, accessed_bytes(finding)));
    let legend = legend(finding, block, &parts);
    let mut body = String::new();
    for part in &parts {
        body.push_str(&bar(part, life.is_some_and(|life| life.freed.is_some())));
    }
    body.push_str(&arrow(finding, block, &parts));
    if let Some(life) = life {
        body.push_str(&bounds(life, &parts));
    }
    for (row, (kind, words)) in legend.iter().enumerate() {
        body.push_str(&legend_row(kind, words, LEGEND_TOP + row as f64 * LEGEND_STEP));
    }
    let words: Vec<&str> = legend.iter().map(|(_, words)| words.as_str()).collect();
    let description = format!("{}. {}.", place_words(block), words.join("; "));
    let drawing = Drawing {
        name: "page",
        at,
        title: "Where it happened",
        description: &description,
        height: LEGEND_TOP + legend.len() as f64 * LEGEND_STEP - 6.0,
        body: &body,
        caption: caption(life.is_some(), is_to_scale),
    };
    Some(drawing.html())
}

/// Bytes of the access; 0 if they are not known, or if there was none.
fn accessed_bytes(finding: &Finding) -> i128 {
    finding.access.as_ref().and_then(|access| access.bytes).unwrap_or(0).into()
}

fn stretches(block: &Block, life: Option<&Life>, accessed: i128) -> Vec<(Kind, i128, i128)> {
    let size = i128::from(block.bytes);
    let start = i128::from(block.start.0);
    let (kind, first, end) = match life {
        Some(life) => {
            let first = (i128::from(life.pages_start.0) - start).min(0);
            (Kind::Guard, first, (i128::from(life.pages_end.0) - start).max(size))
        }
        None => (Kind::Other, 0, size),
    };
    let offset = i128::from(block.offset);
    vec![
        (kind, first - outside(first - offset), first),
        (Kind::Slack, first, 0),
        (Kind::Block, 0, size),
        (Kind::Slack, size, end),
        (kind, end, end + outside(offset + accessed - end)),
    ]
}

/// How many bytes beside the pages are drawn: few if the access went no farther, so that three bytes past the
/// end do not look like none.
fn outside(reach: i128) -> i128 {
    (reach * 2).clamp(OUTSIDE_BYTES.start, OUTSIDE_BYTES.end)
}

/// Gives each stretch its place; also whether those inside are to scale. Empty ones are left out, but not the
/// block.
fn laid_out(mut stretches: Vec<(Kind, i128, i128)>) -> (Vec<Part>, bool) {
    stretches.retain(|&(kind, from, to)| to > from || kind == Kind::Block);
    let room = WIDTH - 2.0 * LEFT - 2.0 * OUTSIDE_WIDTH;
    let inside = &stretches[1..stretches.len() - 1];
    let total = inside.iter().map(|&(_, from, to)| (to - from) as f64).sum::<f64>().max(1.0);
    let natural = |from: i128, to: i128| (to - from) as f64 / total * room;
    let is_small = |&&(_, from, to): &&(Kind, i128, i128)| natural(from, to) < PART_WIDTH_MIN;
    let small = inside.iter().filter(is_small).count() as f64;
    let large_total: f64 =
        inside.iter().filter(|part| !is_small(part)).map(|&(_, from, to)| (to - from) as f64).sum();
    let large_room = room - small * PART_WIDTH_MIN;
    let mut x = LEFT;
    let last = stretches.len() - 1;
    let parts = stretches.iter().enumerate().map(|(at, &(kind, from, to))| {
        let width = match at {
            _ if at == 0 || at == last => OUTSIDE_WIDTH,
            // A block of no bytes that has its pages to itself.
            _ if large_total == 0.0 => room / small,
            _ if is_small(&&(kind, from, to)) => PART_WIDTH_MIN,
            _ => (to - from) as f64 / large_total * large_room,
        };
        x += width;
        Part { kind, from, to, x: x - width, width }
    });
    (parts.collect(), small == 0.0)
}

fn class(kind: Kind, is_freed: bool) -> &'static str {
    match (kind, is_freed) {
        (Kind::Guard, _) => "guard",
        (Kind::Other, _) => "other",
        (Kind::Slack, _) => "slack",
        (Kind::Block, false) => "block",
        (Kind::Block, true) => "block gone",
    }
}

fn bar(part: &Part, is_freed: bool) -> String {
    filled(class(part.kind, is_freed), (part.x, BAR_TOP), (part.width, BAR_BOTTOM - BAR_TOP))
}

/// A rectangle at a place and of a size.
fn filled(class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) -> String {
    let rectangle = format!(
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>\n"
    );
    if class == "guard" { rectangle + &hatching((x, y), (width, height)) } else { rectangle }
}

/// Drawn as lines, not as a pattern: those need ids that are the same in every drawing.
fn hatching((x, y): (f64, f64), (width, height): (f64, f64)) -> String {
    const STEP: f64 = 7.0;
    let mut path = String::new();
    let mut foot = STEP;
    while foot < width + height {
        // At 45 degrees, from the upper or right edge down to the left or lower one.
        let (from, to) = (foot.min(width), (foot - height).max(0.0));
        let _ = write!(path, "M{:.1} {:.1}L{:.1} {:.1}", x + from, y + foot - from, x + to, y + foot - to);
        foot += STEP;
    }
    format!("<path class=\"hatching\" d=\"{path}\"/>\n")
}

/// Where an offset is drawn; one beyond the drawing, at its edge.
fn x_of(parts: &[Part], offset: i128) -> f64 {
    let Some(part) = parts.iter().find(|part| offset < part.to).or(parts.last()) else { return LEFT };
    let share = (offset - part.from) as f64 / ((part.to - part.from) as f64).max(1.0);
    part.x + share.clamp(0.0, 1.0) * part.width
}

/// The access as a mark over the bar, with an arrow and words above.
fn arrow(finding: &Finding, block: &Block, parts: &[Part]) -> String {
    let offset = i128::from(block.offset);
    let length = accessed_bytes(finding);
    let (from, to) = (x_of(parts, offset), x_of(parts, offset + length));
    let right = WIDTH - LEFT;
    let width = (to - from).max(ACCESS_WIDTH_MIN);
    // What is drawn wider than it is stays on its side of the block's start.
    let from = if offset < 0 && offset + length <= 0 { to - width } else { from };
    let from = from.clamp(LEFT, right - ACCESS_WIDTH_MIN);
    let tip = from + width / 2.0;
    let mut svg = String::new();
    if finding.access.is_some() {
        let _ = writeln!(
            svg,
            "<rect class=\"access\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
            BAR_TOP - 4.0,
            BAR_BOTTOM - BAR_TOP + 8.0
        );
    }
    let top = BAR_TOP - 6.0;
    let _ = writeln!(
        svg,
        "<path class=\"arrow\" d=\"M{tip:.1} 44V{:.1}\"/>\n\
         <path class=\"head\" d=\"M{:.1} {:.1}h10l-5 9z\"/>",
        top - 8.0,
        tip - 5.0,
        top - 9.0
    );
    let (x, anchor) = match tip {
        tip if tip < WIDTH / 3.0 => (LEFT, ""),
        tip if tip > WIDTH * 2.0 / 3.0 => (right, " end"),
        tip => (tip, " middle"),
    };
    svg + &text(x, 18.0, &format!("title bad{anchor}"), &what(finding))
        + &text(x, 35.0, &format!("label{anchor}"), &place_words(block))
}

/// `write of 4 bytes`, or what the call did.
fn what(finding: &Finding) -> String {
    let Some(access) = &finding.access else {
        return moments(finding).last().map_or(String::new(), |moment| moment.label.into());
    };
    let kind = match access.kind.as_str() {
        "write" => "write",
        "execute" => "jump",
        _ => "read",
    };
    access.bytes.map_or(kind.into(), |bytes| format!("{kind} of {}", count(bytes, "byte")))
}

fn place_words(block: &Block) -> String {
    let (offset, size) = (i128::from(block.offset), i128::from(block.bytes));
    let counted = |bytes: i128| count(bytes.unsigned_abs() as u64, "byte");
    match offset {
        _ if offset < 0 => format!("{} before the start", counted(offset)),
        0 => "at the start of the block".into(),
        _ if offset < size => format!("{} into the block", counted(offset)),
        _ if offset == size => "right past the end".into(),
        _ => format!("{} past the end", counted(offset - size)),
    }
}

/// How many pages the block has, and where they begin.
fn bounds(life: &Life, parts: &[Part]) -> String {
    let (left, right) = (parts[0].x + parts[0].width, parts[parts.len() - 1].x);
    let (tick, line) = (BAR_BOTTOM + 3.0, BAR_BOTTOM + 8.0);
    let bytes_of_pages = life.pages_end.0.saturating_sub(life.pages_start.0);
    let pages = count(bytes_of_pages.div_ceil(PAGE_BYTES), "page");
    let words = format!("{pages} from {:#x}", life.pages_start.0);
    format!("<path class=\"bounds\" d=\"M{left:.1} {tick}V{line}H{right:.1}V{tick}\"/>\n")
        + &text(WIDTH / 2.0, line + 16.0, "dim middle", &fitting(&words, LABEL_CHARS))
}

/// What the fillings stand for; a row without one goes on with the row above.
fn legend(finding: &Finding, block: &Block, parts: &[Part]) -> Vec<(&'static str, String)> {
    let is_freed = finding.life.as_ref().is_some_and(|life| life.freed.is_some());
    let asked = match &finding.life {
        Some(life) if life.requested_bytes != block.bytes => {
            format!(" ({} asked for)", bytes(life.requested_bytes))
        }
        _ => String::new(),
    };
    let state = if is_freed { "freed block" } else { "block" };
    let mut rows = vec![
        (class(Kind::Block, is_freed), format!("{state}, {}{asked}", size(block.bytes))),
        ("", format!("from {:#x}", block.start.0)),
    ];
    for part in parts.iter().filter(|part| part.kind == Kind::Slack) {
        let side = if part.to <= 0 { "before" } else { "behind" };
        let slack = count((part.to - part.from) as u64, "byte");
        rows.push(("slack", format!("unused, {slack} {side} it")));
    }
    rows.push(match parts[0].kind {
        Kind::Guard => ("guard", "inaccessible pages".into()),
        _ => ("other", "other memory".into()),
    });
    if finding.access.is_some() {
        rows.push(("access", what(finding)));
    }
    rows
}

fn legend_row(class: &str, words: &str, y: f64) -> String {
    let swatch = match class {
        "" => String::new(),
        class => filled(class, (LEFT + 0.5, y - 10.5), (17.0, 13.0)),
    };
    swatch
        + &text(LEFT + 27.0, y, if class.is_empty() { "dim" } else { "label" }, &fitting(words, LABEL_CHARS))
}

/// `20.0 MiB (20971520 bytes)`; small ones need no second unit.
fn size(value: u64) -> String {
    if value < 1024 { bytes(value) } else { format!("{} ({value} bytes)", bytes(value)) }
}

fn caption(is_guarded: bool, is_to_scale: bool) -> &'static str {
    match (is_guarded, is_to_scale) {
        (false, _) => "Not to scale.",
        (true, true) => "To scale but for the inaccessible pages and the access.",
        (true, false) => "Not to scale: small parts are drawn wider than they are.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widths(stretches: Vec<(Kind, i128, i128)>) -> (Vec<f64>, bool) {
        let (parts, is_to_scale) = laid_out(stretches);
        let end = parts.last().map_or(0.0, |part| part.x + part.width);
        assert!((end - (WIDTH - LEFT)).abs() < 0.01, "{end}");
        (parts.iter().map(|part| part.width.round()).collect(), is_to_scale)
    }

    #[test]
    fn every_part_can_be_seen() {
        let of = |before: i128, size: i128, behind: i128| {
            vec![
                (Kind::Guard, -before - 4096, -before),
                (Kind::Slack, -before, 0),
                (Kind::Block, 0, size),
                (Kind::Slack, size, size + behind),
                (Kind::Guard, size + behind, size + behind + 4096),
            ]
        };
        assert_eq!(widths(of(4056, 40, 0)), (vec![52.0, 174.0, 26.0, 52.0], false));
        assert_eq!(widths(of(0, 20 << 20, 0)), (vec![52.0, 200.0, 52.0], true));
        assert_eq!(widths(of(2048, 2048, 0)), (vec![52.0, 100.0, 100.0, 52.0], true));
        assert_eq!(widths(of(0, 0, 0)), (vec![52.0, 200.0, 52.0], false));
    }
}
