//! The frame of a drawing. Drawings are narrow, so that their text is as large on a phone as the page's own.

use crate::markup::escaped;

/// Width of every drawing, in its own units, which are a pixel on a small phone.
pub(super) const WIDTH: f64 = 320.0;

/// A drawing with the words that stand for it.
pub(super) struct Drawing<'a> {
    /// Tells drawings of one page apart.
    pub(super) name: &'a str,
    /// Which finding's it is.
    pub(super) at: usize,
    pub(super) title: &'a str,
    /// For those who do not see it.
    pub(super) description: &'a str,
    pub(super) height: f64,
    pub(super) body: &'a str,
    /// What has to be said about its scale.
    pub(super) caption: &'a str,
}

impl Drawing<'_> {
    pub(super) fn html(&self) -> String {
        let Drawing { name, at, height, body, .. } = self;
        let caption = match self.caption {
            "" => String::new(),
            caption => format!("<figcaption>{}</figcaption>", escaped(caption)),
        };
        format!(
            "<figure class=\"{name}\">\n<h3>{title}</h3>\n\
             <svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
             aria-labelledby=\"{name}-{at}-title {name}-{at}-desc\">\n\
             <title id=\"{name}-{at}-title\">{title}</title>\n\
             <desc id=\"{name}-{at}-desc\">{}</desc>\n{body}</svg>\n{caption}\n</figure>\n",
            escaped(self.description),
            title = escaped(self.title),
        )
    }
}

/// A line of text at a place; `class` may hold `end` or `middle` for what the place is of it.
pub(super) fn text(x: f64, y: f64, class: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>\n", escaped(text))
}

/// Cut to what fits into so many characters of usual width; East Asian ones take two.
pub(super) fn fitting(text: &str, chars_max: usize) -> String {
    let width = |c: char| if c >= '\u{1100}' { 2 } else { 1 };
    // A control character is shown as an escape, which is wider.
    let shown = crate::text::clean(text);
    let mut used = 0;
    let end = shown.char_indices().find(|&(_, c)| {
        used += width(c);
        used > chars_max
    });
    match end {
        Some((at, _)) => {
            let kept: String = shown[..at].chars().collect();
            let mut kept = kept.trim_end().to_owned();
            kept.pop();
            kept + "…"
        }
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut() {
        assert_eq!(fitting("abcdef", 6), "abcdef");
        assert_eq!(fitting("abcdefg", 6), "abcde…");
        assert_eq!(fitting("堆堆堆堆", 6), "堆堆…");
        assert_eq!(fitting("a\u{1b}", 6), "a\\u{1…");
    }
}
