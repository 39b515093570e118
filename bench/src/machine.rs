//! A description of the machine, without which figures say little.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

fn first_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.lines().next()?.trim().to_string())
}

fn field(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_string())
}

/// `key: value` lines.
pub fn describe() -> String {
    let facts = [
        ("date", said_by("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        (
            "source of the bench",
            said_by("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"]),
        ),
        ("kernel", first_line("/proc/sys/kernel/osrelease")),
        ("processor", field("/proc/cpuinfo", "model name")),
        ("cores", std::thread::available_parallelism().ok().map(|count| count.to_string())),
        ("memory", field("/proc/meminfo", "MemTotal")),
        ("frequency governor", first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        ("transparent huge pages", first_line("/sys/kernel/mm/transparent_hugepage/enabled")),
        ("overcommit", first_line("/proc/sys/vm/overcommit_memory")),
        ("load average at start", first_line("/proc/loadavg")),
        ("system", field_of_os_release()),
        ("compiler", said_by("cc", &["--version"])),
    ];
    facts.iter().fold(String::new(), |mut text, (key, value)| {
        let _ = writeln!(text, "{key}: {}", value.as_deref().unwrap_or("not known"));
        text
    })
}

fn field_of_os_release() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let line = text.lines().find(|line| line.starts_with("PRETTY_NAME="))?;
    Some(line["PRETTY_NAME=".len()..].trim_matches('"').to_string())
}
