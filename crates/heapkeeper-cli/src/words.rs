//! A command as one would type it into a shell.

use hk_report::clean;
use std::ffi::OsString;

/// The words, quoted where that is needed.
pub fn typed(words: &[OsString]) -> String {
    words.iter().map(|word| shell_quoted(&clean(&word.to_string_lossy()))).collect::<Vec<_>>().join(" ")
}

/// A word for a POSIX shell, whatever is in it; bare where that is safe, for whoever reads it.
pub fn shell_quoted(word: &str) -> String {
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

    #[test]
    fn a_shell_reads_one_word() {
        assert_eq!(shell_quoted("/cache/lib-1.so"), "/cache/lib-1.so");
        assert_eq!(shell_quoted("/a b/%$x'y\"\\"), r#"'/a b/%$x'\''y"\'"#);
        assert_eq!(shell_quoted(""), "''");
    }
}
