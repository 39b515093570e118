//! Text from programs inside XML and HTML: nothing in it can end an element, break the document or reorder a
//! line.

/// Escaped for the text of an element and for a quoted attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('\n'),
            c if is_invisible(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// What XML 1.0 forbids or a reader cannot see: control characters, U+FFFE and U+FFFF, and those that turn
/// the direction of what follows, by which a name could pretend to be another. They are shown as `\u{202e}`.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_invisible_characters_become_harmless() {
        assert_eq!(escaped("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
        assert_eq!(escaped("\u{1b}[31m\u{0}\u{ffff}\u{202e}"), r"\u{1b}[31m\u{0}\u{ffff}\u{202e}");
        assert_eq!(escaped("größe ü 堆\n"), "größe ü 堆\n");
    }
}
