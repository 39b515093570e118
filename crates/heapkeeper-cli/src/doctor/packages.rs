//! Which package brings missing debug info, on systems with dpkg.

use super::debug_info::build_id_path;
use super::diagnosis::{Level, Line};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the package database knows of the files that lack debug info.
#[derive(Debug, Default)]
pub struct Advice {
    /// The package that owns a file.
    owners: HashMap<PathBuf, String>,
    /// Debug packages that apt could install now.
    available: HashSet<String>,
    /// Whether there is a package database at all.
    has_dpkg: bool,
    /// The distribution's id and release name (/etc/os-release).
    release: Option<(String, String)>,
    /// Whether DEBUGINFOD_URLS is set.
    debuginfod: bool,
}

/// Asks for all files at once: each question costs a tenth of a second.
pub fn advice(files: &[&Path]) -> Advice {
    let debuginfod = std::env::var_os("DEBUGINFOD_URLS").is_some_and(|value| !value.is_empty());
    if files.is_empty() {
        return Advice { debuginfod, ..Advice::default() };
    }
    let listing =
        output(Command::new("dpkg-query").arg("-S").args(files.iter().flat_map(|file| spellings(file))));
    let owners = listing.as_deref().map(parse_owners).unwrap_or_default();
    let owners: HashMap<_, _> = files
        .iter()
        .filter_map(|file| {
            Some((file.to_path_buf(), spellings(file).iter().find_map(|s| owners.get(s))?.clone()))
        })
        .collect();
    let wanted: HashSet<String> = owners.values().map(|owner| debug_package(owner)).collect();
    let policy = match wanted.is_empty() {
        true => None,
        false => output(Command::new("apt-cache").arg("policy").args(&wanted)),
    };
    let release = std::fs::read_to_string("/etc/os-release").ok();
    Advice {
        owners,
        available: policy.as_deref().map(parse_available).unwrap_or_default(),
        has_dpkg: listing.is_some(),
        release: release.as_deref().and_then(parse_release),
        debuginfod,
    }
}

impl Advice {
    /// How a user comes by the debug info of a file.
    pub fn how(&self, file: &Path, build_id: Option<&str>) -> String {
        let how = match self.owners.get(file) {
            Some(owner) => self.how_by_package(&debug_package(owner)),
            None if self.has_dpkg => {
                "it is of no package: build it with -g (Rust: debug = \"line-tables-only\" in the profile) and do not strip it"
                    .to_owned()
            }
            None => match build_id.and_then(build_id_path) {
                Some(path) => format!("its debug package would install {}", path.display()),
                None => "build it with -g and do not strip it".to_owned(),
            },
        };
        how + &self.by_server(build_id)
    }

    /// The same where the file that ran is not there, or is another build.
    pub fn how_elsewhere(&self, build_id: Option<&str>) -> String {
        let Some(id) = build_id else { return "put the file that ran there again".to_owned() };
        let place = build_id_path(id)
            .map_or(String::new(), |path| format!(", or its debug file to {}", path.display()));
        format!("put the file that ran there again{place}{}", self.by_server(Some(id)))
    }

    /// Where debug files can be had by build id; None if that is set up.
    pub fn server_hint(&self) -> Option<String> {
        let server = match self.release.as_ref().map(|(id, _)| id.as_str()) {
            Some("debian") => "https://debuginfod.debian.net",
            Some("ubuntu") => "https://debuginfod.ubuntu.com",
            _ => "https://debuginfod.elfutils.org",
        };
        (!self.debuginfod).then(|| {
            format!("debug files can be had by build id: DEBUGINFOD_URLS={server} debuginfod-find debuginfo BUILD_ID")
        })
    }

    fn by_server(&self, build_id: Option<&str>) -> String {
        match build_id.filter(|_| self.debuginfod) {
            Some(id) => format!("; or, as DEBUGINFOD_URLS is set: debuginfod-find debuginfo {id}"),
            None => String::new(),
        }
    }

    fn how_by_package(&self, package: &str) -> String {
        match self.available.contains(package) {
            true => format!("apt-get install {package} brings the rest"),
            false => format!("the package {package} brings the rest"),
        }
    }

    /// A line if debug packages are wanted that apt does not know: their archive has to be enabled first.
    pub fn archive_line(&self) -> Option<Line> {
        if self.owners.values().all(|owner| self.available.contains(&debug_package(owner))) {
            return None;
        }
        let archive = match &self.release {
            Some((id, name)) if id == "debian" => {
                format!("add the archive debian-debug, suite {name}-debug, to apt's sources")
            }
            Some((id, name)) if id == "ubuntu" => {
                format!("add the archive ddebs, suite {name}, to apt's sources")
            }
            _ => "enable your distribution's debug archive".to_owned(),
        };
        Some(Line::new(
            Level::Note,
            "apt does not know the debug packages (-dbgsym) named above",
            format!("{archive}, then apt-get update, to install them"),
        ))
    }
}

/// A file's path, and the path without /usr under which merged systems may list it.
fn spellings(file: &Path) -> Vec<PathBuf> {
    let mut spellings = vec![file.to_owned()];
    spellings.extend(file.strip_prefix("/usr").ok().map(|rest| Path::new("/").join(rest)));
    spellings
}

/// The package with the debug info of a package's programs and libraries.
fn debug_package(owner: &str) -> String {
    match owner {
        // Needed by valgrind and gdb on every system, so it stands in the main archive.
        "libc6" | "libc6-i386" => "libc6-dbg".to_owned(),
        _ => format!("{owner}-dbgsym"),
    }
}

/// Reads `package[:architecture][, …]: path`, as dpkg-query -S prints it.
fn parse_owners(listing: &str) -> HashMap<PathBuf, String> {
    let line = |line: &str| {
        let (owners, path) = line.rsplit_once(": ")?;
        let owner = owners.split([',', ':']).next()?;
        (!owner.contains(' ')).then(|| (PathBuf::from(path), owner.to_owned()))
    };
    listing.lines().filter_map(line).collect()
}

/// Reads what apt-cache policy prints: the packages that have a candidate.
fn parse_available(policy: &str) -> HashSet<String> {
    let mut available = HashSet::new();
    let mut package = "";
    for line in policy.lines() {
        match line.trim().strip_prefix("Candidate: ") {
            Some("(none)") => {}
            Some(_) => drop(available.insert(package.to_owned())),
            None if !line.starts_with(' ') => package = line.trim_end_matches(':'),
            None => {}
        }
    }
    available
}

fn parse_release(text: &str) -> Option<(String, String)> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches('"').to_owned())
    };
    Some((value("ID")?, value("VERSION_CODENAME")?))
}

/// A command's standard output, also if it found only a part; None if it is not installed.
fn output(command: &mut Command) -> Option<String> {
    // Messages are read here, so they have to be in the language that is expected.
    let command = command.env("LC_ALL", "C").stdin(Stdio::null()).stderr(Stdio::null());
    command.output().ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_dpkg_and_apt_print() {
        let owners = parse_owners(
            "libc6:amd64: /lib/x86_64-linux-gnu/libc.so.6\ndiversion by dash from: /bin/sh\na, b: /etc/both\ncoreutils: /bin/ls\n",
        );
        assert_eq!(owners.len(), 3);
        assert_eq!(owners[Path::new("/lib/x86_64-linux-gnu/libc.so.6")], "libc6");
        assert_eq!(owners[Path::new("/etc/both")], "a");
        let policy = "a-dbgsym:\n  Installed: (none)\n  Candidate: (none)\nlibc6-dbg:\n  Installed: (none)\n  Candidate: 2.36\n";
        assert_eq!(parse_available(policy), HashSet::from(["libc6-dbg".to_owned()]));
        let release = parse_release("NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_CODENAME=bookworm\n");
        assert_eq!(release, Some(("debian".into(), "bookworm".into())));
    }

    #[test]
    fn names_the_package_and_says_if_the_archive_is_missing() {
        let file = Path::new("/usr/lib/libx.so.1");
        let mut advice = Advice {
            has_dpkg: true,
            release: Some(("debian".into(), "bookworm".into())),
            ..Advice::default()
        };
        assert!(advice.how(file, None).contains("of no package"));
        advice.owners.insert(file.to_owned(), "libx1".into());
        assert_eq!(advice.how(file, None), "the package libx1-dbgsym brings the rest");
        assert!(advice.archive_line().is_some_and(|line| line.follows.contains("bookworm-debug")));
        advice.available.insert("libx1-dbgsym".into());
        assert_eq!(advice.how(file, None), "apt-get install libx1-dbgsym brings the rest");
        assert_eq!(advice.archive_line(), None);
        advice.debuginfod = true;
        assert!(advice.how(file, Some("ab12")).ends_with("debuginfod-find debuginfo ab12"));
    }
}
