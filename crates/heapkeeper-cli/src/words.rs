//! A command as one would type it into a shell.

use hk_report::clean;
use std::ffi::OsString;

/// The words, quoted where that is needed.
pub fn typed(words: &[OsString]) -> String {
    words.iter().map(|word| quoted(&clean(&word.to_string_lossy()))).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-+=./:,@%^".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_read_otherwise_is_quoted() {
        let words = ["./orders", "-n", "a b", "", "it's", "$HOME"].map(OsString::from);
        assert_eq!(typed(&words), r"./orders -n 'a b' '' 'it'\''s' '$HOME'");
    }
}
