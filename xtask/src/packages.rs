//! The programs that the tests use and the Debian packages that bring them.

use crate::process::Run;
use std::path::Path;
use std::time::Duration;

/// A file that some test needs, and the package that brings it.
pub struct Need {
    /// A program looked for along PATH, or an absolute path.
    pub file: &'static str,
    /// Debian's package.
    pub package: &'static str,
}

const fn need(file: &'static str, package: &'static str) -> Need {
    Need { file, package }
}

/// All of them.
pub const NEEDS: &[Need] = &[
    need("gcc", "gcc"),
    need("g++", "g++"),
    need("nm", "binutils"),
    need("prlimit", "util-linux"),
    need("make", "make"),
    need("cmake", "cmake"),
    need("systemd-analyze", "systemd"),
    need("pip3", "python3-pip"),
    need("/usr/bin/python3", "python3"),
    need("/usr/lib/python3.11/test/test_dict.py", "libpython3.11-testsuite"),
    need("perl", "perl"),
    need("git", "git"),
    need("sqlite3", "sqlite3"),
    need("redis-server", "redis-server"),
    need("redis-benchmark", "redis-tools"),
    need("/usr/sbin/nginx", "nginx-light"),
    need("ab", "apache2-utils"),
    need("node", "nodejs"),
    need("gs", "ghostscript"),
    need("valgrind", "valgrind"),
    need("gdb", "gdb"),
    need("/usr/include/jemalloc/jemalloc.h", "libjemalloc-dev"),
    need("xmllint", "libxml2-utils"),
    need("chromium", "chromium"),
];

/// Whether the file is there.
pub fn is_there(file: &str) -> bool {
    if file.starts_with('/') {
        return Path::new(file).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(file).is_file())
}

/// `Ok` if all files are there, else one line that says how to get them.
pub fn require(files: &[&str]) -> Result<(), String> {
    let missing: Vec<&str> = files.iter().filter(|file| !is_there(file)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = NEEDS.iter().filter(|n| missing.contains(&n.file)).map(|n| n.package).collect();
    Err(format!("{} missing; apt-get install {}", missing.join(", "), packages.join(" ")))
}

/// Installs what is missing; needs root and apt-get.
pub fn setup() -> Result<(), String> {
    let missing: Vec<&str> = NEEDS.iter().filter(|n| !is_there(n.file)).map(|n| n.package).collect();
    if missing.is_empty() {
        println!("setup: nothing is missing");
        return Ok(());
    }
    may_install().map_err(|why| format!("{why}; missing packages: {}", missing.join(" ")))?;
    println!("setup: apt-get install {}", missing.join(" "));
    let _quiet = NoServices::begin();
    let apt = |words: &[&str]| {
        Run::new("apt-get", Duration::from_secs(400))
            .args(["-o", "DPkg::Lock::Timeout=120"])
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .succeeds()
    };
    apt(&["update"])?;
    // One by one: a package that this release does not have must not keep back the others.
    let mut failed = Vec::new();
    for package in missing {
        if let Err(text) = apt(&["install", "-y", "--no-install-recommends", package]) {
            println!("{text}");
            failed.push(package);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("could not be installed: {}", failed.join(" "))) }
}

/// While it lives, packages that bring a service do not start it: Debian's own switch for that.
struct NoServices {
    ours: bool,
}

impl NoServices {
    const SWITCH: &str = "/usr/sbin/policy-rc.d";

    fn begin() -> NoServices {
        let script = "set -C; printf '#!/bin/sh\\nexit 101\\n' > \"$1\" && chmod 755 \"$1\"";
        let run = Run::new("/bin/sh", Duration::from_secs(5)).args(["-c", script, "sh", Self::SWITCH]);
        // One that is there already is left as it is.
        NoServices { ours: run.succeeds().is_ok() }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = std::fs::remove_file(Self::SWITCH);
        }
    }
}

/// Whether packages may be installed here.
pub fn may_install() -> Result<(), String> {
    if !is_there("apt-get") {
        return Err("there is no apt-get".into());
    }
    match Run::new("id", Duration::from_secs(5)).arg("-u").succeeds()?.stdout.trim() {
        "0" => Ok(()),
        _ => Err("only root may install packages".into()),
    }
}
