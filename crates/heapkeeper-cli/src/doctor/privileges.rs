//! Programs that run as somebody else: the loader ignores LD_PRELOAD for them.

use super::diagnosis::{Level, Line};
use crate::os;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// What a file's mode and attributes give to whoever starts it.
#[derive(Clone, Copy, Debug, Default)]
struct Gains {
    /// Owner that it runs as (setuid).
    user: Option<u32>,
    /// Group that it runs as (setgid).
    group: Option<u32>,
    /// Capabilities of the file.
    capabilities: bool,
}

/// A line if the program gains privileges when it is started.
pub fn line(path: &Path) -> Option<Line> {
    let meta = std::fs::metadata(path).ok()?;
    let mode = meta.permissions().mode();
    let gains = Gains {
        user: (mode & libc::S_ISUID != 0).then(|| meta.uid()),
        // Without the group's execute bit, setgid means a lock, not a group.
        group: (mode & libc::S_ISGID != 0 && mode & libc::S_IXGRP != 0).then(|| meta.gid()),
        capabilities: os::has_capabilities(path),
    };
    line_for(gains, os::real_ids())
}

/// The kernel asks for a secure start if ids change, or if somebody who is not root gains capabilities.
fn line_for(gains: Gains, (user, group): (u32, u32)) -> Option<Line> {
    let mut what = Vec::new();
    what.extend(gains.user.map(|id| format!("setuid (user {id})")));
    what.extend(gains.group.map(|id| format!("setgid (group {id})")));
    what.extend(gains.capabilities.then(|| "given file capabilities".to_owned()));
    if what.is_empty() {
        return None;
    }
    let secure = gains.user.is_some_and(|id| id != user)
        || gains.group.is_some_and(|id| id != group)
        || (gains.capabilities && user != 0);
    let fact = format!("the file is {}", what.join(" and "));
    Some(if secure {
        Line::new(
            Level::Problem,
            fact,
            "it runs with other rights than yours, so the loader ignores LD_PRELOAD: it runs on the system's malloc; copy \
             the file (a copy loses these rights) or run it as that user",
        )
    } else {
        Line::new(
            Level::Note,
            fact,
            "started by you it gains nothing, so it is covered; started by other users it is not",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rights_that_change_matter() {
        let level = |gains, ids| line_for(gains, ids).map(|line: Line| line.level);
        let setuid_root = Gains { user: Some(0), ..Gains::default() };
        assert_eq!(level(Gains::default(), (1000, 1000)), None);
        assert_eq!(level(setuid_root, (1000, 1000)), Some(Level::Problem));
        assert_eq!(level(setuid_root, (0, 0)), Some(Level::Note));
        let capable = Gains { capabilities: true, ..Gains::default() };
        assert_eq!(level(capable, (1000, 1000)), Some(Level::Problem));
        assert_eq!(level(capable, (0, 0)), Some(Level::Note));
        let setgid = Gains { group: Some(42), ..Gains::default() };
        assert_eq!(level(setgid, (0, 0)), Some(Level::Problem));
    }
}
