//! The limits that this shell and this system set, and what the heap does at each.

use super::diagnosis::{Level, Line};
use super::probe;
use std::path::Path;

/// Address space that the heap reserves where nothing forbids it; under RLIMIT_AS less.
const RESERVE_BYTES: u64 = 1 << 40;
/// Below this the heap gives up, and the program stays on the system's malloc.
const RESERVE_BYTES_MIN: u64 = 4 << 20;
/// A program on the system's malloc has some hundred mappings; a good tenth of the usual limit is plenty.
const MAP_COUNT_LOW: u64 = 8192;

/// All of them.
pub fn lines() -> Vec<Line> {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let mut lines = vec![
        address_space_line(probe::limit_bytes(libc::RLIMIT_AS)),
        data_line(probe::limit_bytes(libc::RLIMIT_DATA)),
    ];
    lines.extend(number("/proc/sys/vm/overcommit_memory").map(|mode| overcommit_line(mode, commit_left())));
    lines.push(cgroup_line(cgroup_limit(Path::new("/sys/fs/cgroup"))));
    lines.extend(number("/proc/sys/vm/max_map_count").map(map_count_line));
    lines
}

fn address_space_line(limit: Option<u64>) -> Line {
    match limit {
        None => Line::new(
            Level::Ok,
            "the address space is not limited (RLIMIT_AS)",
            format!("the heap reserves {} of addresses, not of memory", size(RESERVE_BYTES)),
        ),
        Some(limit) if limit <= RESERVE_BYTES_MIN => Line::new(
            Level::Problem,
            format!("the address space is limited to {} (RLIMIT_AS)", size(limit)),
            "there is no room for a heap; raise it with ulimit -v",
        ),
        Some(limit) => Line::new(
            Level::Warning,
            format!("the address space is limited to {} (RLIMIT_AS)", size(limit)),
            "the heap takes at most half of what is left of it; when that is used up, malloc gives NULL; ulimit -v \
             unlimited lifts the limit",
        ),
    }
}

fn data_line(limit: Option<u64>) -> Line {
    match limit {
        None => Line::new(
            Level::Ok,
            "writable memory is not limited (RLIMIT_DATA)",
            "blocks are limited by the system's memory alone",
        ),
        Some(limit) => Line::new(
            Level::Note,
            format!("writable memory is limited to {} (RLIMIT_DATA)", size(limit)),
            "the heap makes memory writable step by step; at the limit malloc gives NULL, as without heapkeeper",
        ),
    }
}

fn overcommit_line(mode: u64, left: Option<u64>) -> Line {
    match mode {
        2 => Line::new(
            Level::Note,
            format!(
                "memory is not overcommitted (vm.overcommit_memory=2); {} are left",
                left.map_or("some".into(), size)
            ),
            "the reservation itself does not count, what the heap makes writable does; when nothing is left, malloc gives \
             NULL, as without heapkeeper",
        ),
        _ => Line::new(
            Level::Ok,
            format!("the system hands out memory at its first use (vm.overcommit_memory={mode})"),
            "the reservation costs nothing until blocks are used",
        ),
    }
}

/// CommitLimit less Committed_AS, in bytes.
fn commit_left() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    Some(field("CommitLimit:")?.saturating_sub(field("Committed_AS:")?) * 1024)
}

fn cgroup_line(limit: Option<u64>) -> Line {
    match limit {
        None => {
            Line::new(Level::Ok, "no control group limits memory", "the program has what the machine has")
        }
        Some(limit) => Line::new(
            Level::Note,
            format!("the control group limits memory to {}", size(limit)),
            "at the limit the kernel kills the program, with heapkeeper as without it; the recording of a run survives that",
        ),
    }
}

/// The lowest memory limit of this process's control groups and all above them; `root` is their mount point.
fn cgroup_limit(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(|line| cgroup_line_limit(line, root)).min()
}

/// For one line of /proc/self/cgroup: `number:controllers:path`.
fn cgroup_line_limit(line: &str, root: &Path) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (mount, file) = match controllers {
        "" => (root.to_owned(), "memory.max"),
        _ if controllers.split(',').any(|c| c == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
        _ => return None,
    };
    let folder = mount.join(path.trim_start_matches('/'));
    let limits = folder.ancestors().take_while(|dir| dir.starts_with(&mount)).filter_map(|dir| {
        let bytes = std::fs::read_to_string(dir.join(file)).ok()?.trim().parse::<u64>().ok()?;
        // The older interface writes "no limit" as the largest page-aligned number.
        (bytes < i64::MAX as u64 & !0xffff).then_some(bytes)
    });
    limits.min()
}

fn map_count_line(count: u64) -> Line {
    let fact = format!("a process may have {count} mappings (vm.max_map_count)");
    match count < MAP_COUNT_LOW {
        true => Line::new(
            Level::Warning,
            fact,
            "the heap needs few, but a program with many threads or mapped files may run out; raise it with sysctl",
        ),
        false => Line::new(Level::Ok, fact, "the heap needs a few dozen"),
    }
}

/// Bytes for a person: at most one digit behind the point.
fn size(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = (bytes.max(1).ilog2() / 10) as usize;
    let value = bytes as f64 / (1u64 << (10 * power)) as f64;
    let digits = usize::from(value.fract() > 0.04 && value < 100.0);
    format!("{value:.digits$} {}", units[power])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(1 << 40), "1 TiB");
        assert_eq!(size((3 << 30) / 2), "1.5 GiB");
        assert_eq!(size(u64::MAX), "16 EiB");
    }

    #[test]
    fn each_limit_has_its_level() {
        assert_eq!(address_space_line(None).level, Level::Ok);
        assert_eq!(address_space_line(Some(1 << 32)).level, Level::Warning);
        assert_eq!(address_space_line(Some(1 << 20)).level, Level::Problem);
        assert_eq!(data_line(Some(1 << 30)).level, Level::Note);
        assert_eq!(overcommit_line(0, None).level, Level::Ok);
        assert!(overcommit_line(2, Some(2 << 30)).fact.ends_with("2 GiB are left"));
        assert_eq!(map_count_line(65530).level, Level::Ok);
        assert_eq!(map_count_line(1000).level, Level::Warning);
    }

    #[test]
    fn the_lowest_limit_on_the_way_up_counts() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("memory.max"), "max\n").unwrap();
        assert_eq!(cgroup_line_limit("0::/a/b", root.path()), None);
        std::fs::write(root.path().join("a/memory.max"), "1048576\n").unwrap();
        assert_eq!(cgroup_line_limit("0::/a/b", root.path()), Some(1 << 20));
        // In a container the path may be one of the outside.
        assert_eq!(cgroup_line_limit("0::/a/gone", root.path()), Some(1 << 20));
        std::fs::create_dir_all(root.path().join("memory")).unwrap();
        std::fs::write(root.path().join("memory/memory.limit_in_bytes"), "9223372036854771712\n").unwrap();
        assert_eq!(cgroup_line_limit("4:cpu,memory:/", root.path()), None);
        assert_eq!(cgroup_line_limit("4:cpu:/", root.path()), None);
    }
}
