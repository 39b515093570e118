//! Where a source file is, for readers elsewhere: relative to the sources' root if it lies there, else as it
//! is.

use std::path::{Component, Path, PathBuf};

/// A file as other tools want it named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// Below the root, with `/` between the parts.
    Below(String),
    /// An absolute path elsewhere.
    Elsewhere(String),
}

/// Finds a file that a compiler was given. One that is not absolute is taken as relative to the root.
pub(crate) fn locate(file: &str, root: &Path) -> Location {
    let whole = plain(&root.join(file));
    // A root of `/` would make everything relative, and the system's files a part of the sources.
    let below = whole.strip_prefix(plain(root)).ok().filter(|_| root.parent().is_some());
    match below {
        Some(below) => Location::Below(below.to_string_lossy().into_owned()),
        None => Location::Elsewhere(whole.to_string_lossy().into_owned()),
    }
}

/// Without `.` and `..`, by the path's text alone: the file need not be on this machine.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

/// An absolute path as a URI.
pub(crate) fn file_uri(path: &str) -> String {
    format!("file://{}", percent_encoded(path))
}

/// What is neither unreserved (RFC 3986) nor a `/` is encoded: also a `:`, which would make a scheme of the
/// first part of a relative path.
pub(crate) fn percent_encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(byte.into())
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_below_the_root_are_relative() {
        let root = Path::new("/src/shop");
        let below = |path: &str| Location::Below(path.into());
        assert_eq!(locate("/src/shop/a/b.c", root), below("a/b.c"));
        assert_eq!(locate("/src/shop/a/../b.c", root), below("b.c"));
        assert_eq!(locate("./b.c", root), below("b.c"));
        assert_eq!(locate("../b.c", root), Location::Elsewhere("/src/b.c".into()));
        assert_eq!(locate("/src/shopping/b.c", root), Location::Elsewhere("/src/shopping/b.c".into()));
        assert_eq!(locate("/usr/b.c", Path::new("/")), Location::Elsewhere("/usr/b.c".into()));
    }

    #[test]
    fn uris_hold_nothing_that_is_reserved() {
        assert_eq!(percent_encoded("a b/ü%:#?.c"), "a%20b/%C3%BC%25%3A%23%3F.c");
        assert_eq!(file_uri("/usr/a b.c"), "file:///usr/a%20b.c");
    }
}
