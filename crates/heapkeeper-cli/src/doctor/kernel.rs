//! Features of the kernel, each tried.

use super::diagnosis::{Level, Line};
use super::probe;
use std::io;

/// A feature: how it is tried, what it is for, and what its absence means.
struct Feature {
    name: &'static str,
    since: &'static str,
    probe: fn() -> io::Result<()>,
    present: &'static str,
    absent: &'static str,
}

const FEATURES: &[Feature] = &[
    Feature {
        name: "guard pages (MADV_GUARD_INSTALL)",
        since: "6.13",
        probe: probe::guard_pages,
        present: "guarded blocks are cheap here, and as many as memory allows",
        absent: "blocks are guarded by mprotect here, some thousands at a time",
    },
    Feature {
        name: "asynchronous write protection (userfaultfd WP_ASYNC)",
        since: "6.7",
        probe: probe::userfault_write_protection,
        present: "a quarantine is swept while the program runs",
        absent: "the program stands still while a quarantine is swept",
    },
    Feature {
        name: "lists of changed pages (PAGEMAP_SCAN)",
        since: "6.7",
        probe: probe::pagemap_scan,
        present: "a quarantine is swept while the program runs",
        absent: "the program stands still while a quarantine is swept",
    },
    Feature {
        name: "pages made ahead (MADV_POPULATE_WRITE)",
        since: "5.14",
        probe: probe::populate_write,
        present: "a full disk can be told before a recording is written to",
        absent: "a disk that fills up during a run can cost the recording",
    },
];

/// One line for each feature.
pub fn lines() -> Vec<Line> {
    FEATURES.iter().map(|feature| line(feature, (feature.probe)())).collect()
}

fn line(feature: &Feature, result: io::Result<()>) -> Line {
    let (name, since) = (feature.name, feature.since);
    match result {
        Ok(()) => Line::new(Level::Ok, format!("the kernel has {name}"), feature.present),
        Err(error) => {
            let why = match error.raw_os_error() {
                Some(libc::EINVAL | libc::ENOTTY | libc::ENOSYS) => format!("it came with Linux {since}"),
                Some(libc::EPERM | libc::EACCES) => {
                    "it is not permitted here (a container's filter?)".to_owned()
                }
                _ => error.to_string(),
            };
            Line::new(Level::Note, format!("the kernel gives no {name}: {why}"), feature.absent)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_says_why() {
        let missing = line(&FEATURES[0], Err(io::Error::from_raw_os_error(libc::EINVAL)));
        assert_eq!(missing.level, Level::Note);
        assert!(missing.fact.ends_with("it came with Linux 6.13"), "{}", missing.fact);
        let forbidden = line(&FEATURES[1], Err(io::Error::from_raw_os_error(libc::EPERM)));
        assert!(forbidden.fact.contains("not permitted"));
        assert_eq!(line(&FEATURES[2], Ok(())).level, Level::Ok);
    }
}
