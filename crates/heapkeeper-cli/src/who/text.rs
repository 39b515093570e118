//! The answer for a reader.

use super::answer::{Answer, Block, STEPS_MAX, SiteAnswer, Way};
use crate::snapshot::{Names, Page, WIDTH, blocks_text, bytes_text, fit};
use hk_report::{bytes, count, duration};

/// Its lines.
pub fn push(page: &mut Page, answer: &Answer, names: &Names<'_>) {
    if let Some(block) = &answer.block {
        push_block(page, answer, block);
    }
    if let Some(site) = &answer.site {
        push_site(page, answer, site);
    }
    for way in &answer.ways {
        push_way(page, answer, way);
    }
    if let Some(block) = &answer.block {
        push_holders(page, block);
    }
    if let Some(coverage) = names.coverage() {
        page.remark(&format!("\n{coverage}"));
    }
}

fn push_block(page: &mut Page, answer: &Answer, block: &Block) {
    let place = match block.offset {
        0 => "the start of".into(),
        offset => format!("{} into", count(offset, "byte")),
    };
    let state = match block.state {
        "free" => "a free block",
        "lost" => "a block that nothing leads to: it is lost",
        _ => "a block",
    };
    let start = if block.offset == 0 { String::new() } else { format!(", at {:#x}", block.address.0) };
    page.line(&format!(
        "{} is {place} {state} ({}{start}), in {}",
        answer.asked,
        count(block.bytes, "byte"),
        process(answer)
    ));
    let events = [("allocated", &block.allocated), ("freed", &block.freed)];
    for (what, event) in events.into_iter().filter_map(|(what, event)| Some((what, event.as_ref()?))) {
        let before = duration(answer.head.time_ns.saturating_sub(event.time_ns));
        page.line(&format!("{what} {before} before the snapshot by thread {}", event.thread));
        page.line(&format!("    {}", fit(&event.links, WIDTH - 4)));
    }
    if block.state == "free" && block.holder_count > 0 {
        page.line("Whoever holds it may use it still; it may also be a number that looks like an address.");
    }
}

fn push_site(page: &mut Page, answer: &Answer, site: &SiteAnswer) {
    let size = match site.blocks.error {
        0 => format!("{} in {}", bytes(site.bytes.value), count(site.blocks.value, "block")),
        _ => format!(
            "{} in {} blocks, estimated from {}",
            bytes_text(&site.bytes),
            blocks_text(&site.blocks),
            count(site.recorded.blocks, "recorded one")
        ),
    };
    page.line(&format!("{size}, allocated at '{}' in {}", hk_report::clean(&answer.asked), process(answer)));
    const SITES_MAX: usize = 5;
    site.sites.iter().take(SITES_MAX).for_each(|site| page.line(&format!("  {site}")));
    if let Some(left @ 1..) = site.sites.len().checked_sub(SITES_MAX) {
        page.remark(&format!("  and {} more", count(left as u64, "site")));
    }
    if site.lost_blocks > 0 {
        let verb = if site.lost_blocks == 1 { "is" } else { "are" };
        page.line(&format!("{} of the recorded blocks {verb} lost: nothing leads there", site.lost_blocks));
    }
}

fn push_way(page: &mut Page, answer: &Answer, way: &Way) {
    let shortest = match way.length {
        1 => "it leads there at once".to_owned(),
        length => format!("the shortest way leads through {}", count(length as u64 - 1, "block")),
    };
    let whose = match (&answer.site, way.blocks) {
        (None, _) => "Held".to_owned(),
        (Some(_), n) => format!("{} held", count(n, "recorded block")),
    };
    let expression = way.expression.as_deref().unwrap_or("a root");
    page.head(&format!("{whose} by {expression}"), &format!("; {shortest}"));
    page.line(&format!("    {}", way.root));
    let places = way.steps.iter().map(|step| step.place());
    let width = places.map(|place| place.len()).max().unwrap_or(0);
    for (at, step) in way.steps.iter().enumerate() {
        if way.length > STEPS_MAX && at == STEPS_MAX / 2 {
            page.remark(&format!("    … {} more", count((way.length - STEPS_MAX) as u64, "block")));
        }
        page.line(&format!("  → {:width$}  {}", step.place(), step.text));
    }
}

fn push_holders(page: &mut Page, block: &Block) {
    match (block.holder_count, block.state) {
        (0, "lost") => page.line("No pointer to it is left."),
        (0, _) => page.line("Nothing that is in use points to it."),
        (n, _) => {
            page.head(&count(n as u64, "pointer"), if n == 1 { " leads there" } else { " lead there" });
            for holder in &block.holders {
                let written = holder.expression.as_ref().map_or(String::new(), |text| format!("{text}: "));
                page.line(&format!("    {written}{}", holder.place));
            }
        }
    }
    if let Some(left @ 1..) = block.holder_count.checked_sub(block.holders.len()) {
        page.remark(&format!("    and {left} more"));
    }
}

fn process(answer: &Answer) -> String {
    let name = hk_report::clean(hk_report::file_name(&answer.head.exe));
    let pid = answer.head.pid;
    if name.is_empty() { format!("process {pid}") } else { format!("{name} ({pid})") }
}
