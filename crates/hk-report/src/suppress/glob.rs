//! Patterns as in file names: `*` for any text, `?` for one character.

/// Whether the whole text is as the pattern says.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stands, and what it has taken so far: it takes one more if the rest does not fit.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                t = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_take_any_text_and_question_marks_one_character() {
        for (pattern, text, fits) in [
            ("foo", "foo", true),
            ("foo", "foobar", false),
            ("foo*", "foo", true),
            ("*bar", "foobar", true),
            ("f*b*r", "foobazbar", true),
            ("f*b*r", "foobaz", false),
            ("f?o", "fäo", true),
            ("*", "", true),
            ("?", "", false),
            ("lib*.so*", "libc.so.6", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
