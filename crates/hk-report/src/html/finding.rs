//! One finding as an article.

use super::{facts, page, stack, timeline};
use crate::kinds::capitalised;
use crate::markup::escaped;
use crate::model::{Culprit, Finding, Population};
use crate::moments::moments;
use crate::sentence::title;
use crate::status::is_new;
use hk_symbols::short_name;
use std::fmt::Write;

/// The article of the finding that is shown as number `at`, and that links lead to by `anchor`.
pub(super) fn article(finding: &Finding, at: usize, anchor: &str) -> String {
    let (kind, sentence) = headline(finding);
    let accepted = if is_new(finding) { "" } else { " accepted" };
    let mut html = format!(
        "<article class=\"finding{accepted}\" id=\"{anchor}\" aria-labelledby=\"{anchor}-head\">\n\
         <h2 id=\"{anchor}-head\"><span class=\"kind\">{kind}</span> {sentence}</h2>\n"
    );
    html.push_str(&facts::line(finding));
    html.push_str("<div class=\"advice\">\n");
    html.push_str(&finding.culprit.as_ref().map_or(String::new(), culprit));
    html.push_str(&finding.fix.as_deref().map_or(String::new(), fix));
    html.push_str("</div>\n");
    html.push_str(&drawings(finding, at));
    html.push_str(&finding.population.as_ref().map_or(String::new(), population));
    html.push_str(&stacks(finding));
    html.push_str("</article>\n");
    html
}

/// The first sentence, as its kind and what is said about it. The weakness's number has a link of its own.
pub(super) fn headline(finding: &Finding) -> (String, String) {
    let sentence =
        finding.message.split_once(": ").map_or(finding.message.as_str(), |(_, sentence)| sentence);
    (escaped(&capitalised(title(&finding.kind))), escaped(sentence))
}

/// `suppressed` or `known`, where it is not simply new.
pub(super) fn status_mark(finding: &Finding) -> String {
    match is_new(finding) {
        false => format!(" <span class=\"status\">{}</span>", escaped(&finding.status)),
        true => String::new(),
    }
}

fn culprit(culprit: &Culprit) -> String {
    let place =
        culprit.place.as_ref().map_or(String::new(), |place| format!(" <code>{}</code>", escaped(place)));
    let level = match culprit.confidence.as_str() {
        "high" => 3,
        "medium" => 2,
        _ => 1,
    };
    let dots: String = (1..=3).map(|dot| if dot <= level { '●' } else { '○' }).collect();
    let reasons: String =
        culprit.reasons.iter().map(|reason| format!("<li>{}</li>", escaped(reason))).collect();
    format!(
        "<section class=\"culprit\">\n<h3>Likely culprit</h3>\n<p class=\"who\"><code>{}</code>{place}</p>\n\
         <p class=\"confidence\"><span aria-hidden=\"true\">{dots}</span> {} confidence</p>\n\
         <ul>{reasons}</ul>\n\
         <p class=\"hint\">That the bug happened is certain; who made the mistake is inferred.</p>\n\
         </section>\n",
        escaped(&culprit.function),
        escaped(&culprit.confidence),
    )
}

fn fix(fix: &str) -> String {
    let mut text = capitalised(fix);
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    format!("<section class=\"fix\">\n<h3>What to do</h3>\n<p>{}</p>\n</section>\n", escaped(&text))
}

fn drawings(finding: &Finding, at: usize) -> String {
    let figures: String =
        [timeline::figure(finding, at), page::figure(finding, at)].into_iter().flatten().collect();
    let unknown = match &finding.life {
        None if finding.block.is_some() => {
            "<p class=\"hint\">This block was not guarded: who allocated it, and when it was freed, is not \
             known.</p>\n"
        }
        _ => "",
    };
    format!("<div class=\"drawings\">\n{figures}</div>\n{unknown}")
}

/// Who frees the blocks of this site, as bars: an odd one out is seen at once.
fn population(population: &Population) -> String {
    let mut html = format!(
        "<section class=\"population\">\n<h3>Who frees the blocks of this allocation site</h3>\n\
         <p class=\"hint\">{}, {} of them freed</p>\n<ul>\n",
        crate::units::count(population.blocks, "guarded block"),
        population.frees
    );
    for site in &population.free_sites {
        let frame = crate::fold::own_frame(&site.stack).or(site.stack.first());
        let name = frame.and_then(|frame| frame.function.as_deref()).map_or("unknown".into(), short_name);
        let share = site.count as f64 * 100.0 / population.frees.max(1) as f64;
        let _ = writeln!(
            html,
            "<li><span class=\"count\">{}</span> \
             <span class=\"bar\"><span style=\"width:{:.2}%\"></span></span> \
             <code>{}</code></li>",
            site.count,
            share.min(100.0),
            escaped(&name),
        );
    }
    html.push_str("</ul>\n</section>\n");
    html
}

/// What the finding is about first, as in a debugger; then how it came to that.
fn stacks(finding: &Finding) -> String {
    let columns: String = moments(finding).iter().rev().map(stack::column).collect();
    format!("<div class=\"stacks\">\n{columns}</div>\n")
}
