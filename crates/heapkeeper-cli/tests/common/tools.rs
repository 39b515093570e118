//! Tools that a test needs and that are not everywhere: found, fetched, or a reason to skip.

use super::*;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// Tells that the present test can't be told here, and how to change that. libtest has no such outcome and takes
/// `eprintln!` for itself: this line reaches whoever counts (`cargo xtask test`), under the test's name.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_string();
    let _ = std::io::stderr().write_all(format!("skipped {test}: {why}\n").as_bytes());
}

/// Whether a command can be run and succeeds.
pub fn works(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

/// `python3` with a package from PyPI, which is fetched once into a folder beside the build's results and not
/// installed. `probe` is what Python can do only with it.
pub fn python_with(package: &str, probe: &str) -> Result<Command, String> {
    // Two tests that want the same package must not fetch it at once into one folder.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pypi-{package}"));
    let python = || {
        let mut python = Command::new("python3");
        python.env("PYTHONPATH", &folder).env("PYTHONDONTWRITEBYTECODE", "1");
        python
    };
    let is_there = || python().args(["-c", probe]).output().is_ok_and(|output| output.status.success());
    if is_there() {
        return Ok(python());
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--retries", "1", "--timeout", "20"])
        .arg("--target")
        .arg(&folder)
        .arg(package);
    let _ = pip.output();
    match is_there() {
        true => Ok(python()),
        false => Err(format!(
            "{package} cannot be fetched from PyPI; needs the network and apt-get install python3 python3-pip"
        )),
    }
}

/// `heapkeeper` as a user has it: first in PATH.
///
/// STUB: until the command has the verb `check`, a script stands for it that does the same by `run`. It is not
/// used once `heapkeeper check --help` works; then this function can be `PATH` with the command's folder.
pub fn path_with_check(folder: &Path) -> std::ffi::OsString {
    let command = Path::new(env!("CARGO_BIN_EXE_heapkeeper"));
    let mut first = command.parent().unwrap().to_path_buf();
    if !works(command.to_str().unwrap(), &["check", "--help"]) {
        first = folder.join("stub");
        std::fs::create_dir_all(&first).unwrap();
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = check ] || exit 125\nwhile [ \"$1\" != -- ]; do shift; done\n\
             report=$(mktemp)\n'{}' run --json \"$report\" \"$@\"\nstatus=$?\n\
             grep -q '\"cwe\"' \"$report\" && status=97\nrm \"$report\"\nexit $status\n",
            command.display()
        );
        write_executable(&first.join("heapkeeper"), &script);
    }
    let rest = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(first).chain(std::env::split_paths(&rest))).unwrap()
}

pub fn write_executable(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, script).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}

/// A shell that sees empty `/usr/local` and `/var/lib`: what is installed there is gone with the shell.
pub fn shell_with_empty_system_folders() -> Result<Command, String> {
    let flags: &[&str] = if is_root() { &["--mount"] } else { &["--mount", "--map-root-user"] };
    let mount = "mount -t tmpfs none /usr/local && mount -t tmpfs none /var/lib";
    let probe: Vec<&str> = flags.iter().copied().chain(["sh", "-c", mount]).collect();
    if !works("unshare", &probe) {
        return Err("no mount namespace can be made here; run as root, or allow user namespaces \
                    (and apt-get install util-linux)"
            .into());
    }
    let mut shell = Command::new("unshare");
    shell.args(flags).args(["sh", "-c", &format!("{mount} && exec sh -eu")]);
    Ok(shell)
}
