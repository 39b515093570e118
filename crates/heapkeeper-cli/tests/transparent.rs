//! A program under `heapkeeper run` meets what it meets without: status, signals, descriptors, streams.

mod common;

use common::*;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

#[test]
fn the_exit_status_is_that_of_the_program() {
    for status in [0, 1, 97, 124, 255] {
        let output = run_shell(&format!("exit {status}")).output().unwrap();
        assert_eq!(output.status.code(), Some(status));
    }
}

#[test]
fn it_ends_by_the_signal_that_ended_the_program() {
    for (name, number) in [("KILL", 9), ("TERM", 15), ("SEGV", 11), ("ABRT", 6), ("PIPE", 13), ("USR1", 10)] {
        let output = run_shell(&format!("kill -{name} $$")).output().unwrap();
        assert_eq!(output.status.signal(), Some(number), "{name}");
        assert!(!output.status.core_dumped(), "{name}");
        let said = text(&output.stderr);
        assert!(said.contains(&format!("heapkeeper: sh was ended by SIG{name}\n")), "{said}");
    }
}

#[test]
fn own_errors_have_the_codes_of_env() {
    let folder = tempfile::tempdir().unwrap();
    let not_executable = folder.path().join("plain");
    std::fs::write(&not_executable, "x").unwrap();
    let status = |args: &[&str]| heapkeeper().args(args).output().unwrap();
    for (args, code) in [
        (&["run", "--", "no-such-command-anywhere"][..], 127),
        (&["run", "--", "/no/such/command"], 127),
        (&["run", "--", not_executable.to_str().unwrap()], 126),
        (&["run", "--", "/"], 126),
        (&["run", "--log", "/no/such/folder/log", "--", "true"], 125),
        (&["run", "--json", "/no/such/folder/json", "--", "true"], 125),
        (&["run", "--record", "/no/such/folder/record", "--", "true"], 125),
        (&["run", "--json", "-", "--", "true"], 125),
        (&["run"], 125),
        (&["run", "--mode", "fast", "--", "true"], 125),
        (&["report", "/no/such/recording"], 125),
    ] {
        let output = status(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{args:?}");
    }
    let one_line = text(&status(&["run", "--", "no-such-command-anywhere"]).stderr);
    assert_eq!(one_line.lines().count(), 1, "{one_line}");
    assert!(one_line.starts_with("heapkeeper: cannot run no-such-command-anywhere: "), "{one_line}");
}

#[test]
fn streams_are_the_programs_own() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut command = heapkeeper();
    command.args(["run", "--log"]).arg(&log).args(["--", "sh", "-c", "tr a-z A-Z; echo on-error >&2"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"through").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("THROUGH".into(), "on-error\n".into()));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(!log.is_empty() && log.lines().all(|line| line.starts_with("heapkeeper: ")), "{log}");

    // Without --log our lines are on standard error, each marked; standard output stays the program's.
    let output = run_shell("echo out").output().unwrap();
    assert_eq!(text(&output.stdout), "out\n");
    assert!(text(&output.stderr).lines().all(|line| line.starts_with("heapkeeper: ")));
}

/// What a program sees of its start, without and with heapkeeper, started by `before` with these arguments.
fn without_and_with(before: &[&str], program: &[&str]) -> (String, String) {
    let plain: Vec<&str> = before.iter().chain(program).copied().collect();
    let with: Vec<&str> = before
        .iter()
        .chain(&[env!("CARGO_BIN_EXE_heapkeeper"), "run", "--"])
        .chain(program)
        .copied()
        .collect();
    let output = |words: &[&str]| text(&succeed(Command::new(words[0]).args(&words[1..])).stdout);
    (output(&plain), output(&with))
}

#[test]
fn no_descriptor_leaks_into_the_program() {
    let list = "for fd in /proc/self/fd/*; do echo ${fd##*/}; done";
    let (plain, with) = without_and_with(&["env"], &["sh", "-c", list]);
    assert_eq!(plain, with);
}

#[test]
fn mask_and_dispositions_are_handed_down() {
    let program = &["grep", "^Sig[BIC]", "/proc/self/status"][..];
    for before in [
        &["env"][..],
        &["env", "--ignore-signal=PIPE"],
        &["env", "--ignore-signal=CHLD"],
        &["env", "--ignore-signal=HUP", "--ignore-signal=INT"],
        &["env", "--block-signal=USR1", "--block-signal=TERM"],
        &["env", "--default-signal=PIPE"],
    ] {
        let (plain, with) = without_and_with(before, program);
        assert_eq!(plain, with, "{before:?}");
    }
}

#[test]
fn the_environment_gains_two_variables_and_nothing_else() {
    let output =
        succeed(heapkeeper().args(["run", "--", "env", "-0"]).env("LD_PRELOAD", "").env("OTHER", "1"));
    let variables = text(&output.stdout);
    let ours: Vec<&str> = variables
        .split('\0')
        .filter(|v| v.starts_with("LD_PRELOAD=") || v.starts_with("HEAPKEEPER="))
        .collect();
    assert_eq!(ours.len(), 2, "{ours:?}");
    let settings = ours.iter().find(|v| v.starts_with("HEAPKEEPER=")).unwrap();
    assert!(settings.starts_with("HEAPKEEPER=mode=manual,on-finding=report,"), "{settings}");
    let before: usize = std::env::vars_os()
        .filter(|(name, _)| name != "LD_PRELOAD" && name != "HEAPKEEPER" && name != "XDG_RUNTIME_DIR")
        .count();
    assert_eq!(variables.split('\0').filter(|v| !v.is_empty()).count(), before + 2 + 1);
}

#[test]
fn choices_come_from_the_variable_and_the_command_line_is_above_it() {
    let settings = |args: &[&str]| {
        let mut command = heapkeeper();
        command.env("HEAPKEEPER", "mode=keep,purge-delay-ms=7,huge-pages=all,speed=11").arg("run").args(args);
        let output = succeed(command.args(["--", "sh", "-c", "echo $HEAPKEEPER"]));
        (text(&output.stdout), text(&output.stderr))
    };
    let (value, said) = settings(&[]);
    let expected = "mode=keep,on-finding=report,purge-delay-ms=7,huge-pages=all,guard-side=both,guard-batch=0,leaks=off,guard=1/5000,recorder=/";
    assert!(value.starts_with(expected), "{value}");
    assert!(said.contains("heapkeeper: HEAPKEEPER: 'speed=11' ignored: no such setting\n"), "{said}");
    let (value, _) = settings(&["--mode", "manual", "--on-finding", "abort"]);
    assert!(value.starts_with("mode=manual,on-finding=abort,purge-delay-ms=7,"), "{value}");
    let (value, _) = settings(&["--guard", "off", "--guard-batch", "64"]);
    assert!(value.contains(",guard-batch=64,leaks=off,guard=off,"), "{value}");
}

#[test]
fn signals_are_forwarded_once() {
    for signal in ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2", "WINCH", "RTMIN"] {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready");
        let script = format!(
            "n=0; trap 'n=$((n+1))' {signal}; touch {}; while [ $n = 0 ]; do sleep 0.02; done; sleep 0.2; exit $n",
            ready.display()
        );
        let mut child =
            heapkeeper().args(["run", "--", "bash", "-c", &script]).stderr(Stdio::null()).spawn().unwrap();
        wait_until("the program is ready", || ready.exists());
        kill(signal, child.id());
        assert_eq!(child.wait().unwrap().code(), Some(1), "{signal}");
    }
}

#[test]
fn job_control_passes_through() {
    let mut command = heapkeeper();
    // A group of its own, as a shell's job is: the kernel stops no group that nobody could continue.
    command.args(["run", "--", "sleep", "60"]).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().unwrap();
    let program = child_of(&child);
    let states = |child: &Child| (state_of(child.id()), state_of(program));
    for signal in ["TSTP", "TTIN", "TTOU"] {
        kill(signal, child.id());
        wait_until("both are stopped", || states(&child) == (Some('T'), Some('T')));
        kill("CONT", child.id());
        wait_until("both go on", || states(&child) == (Some('S'), Some('S')));
    }
    kill("TERM", child.id());
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

#[test]
fn a_program_that_is_stopped_alone_is_continued_alone() {
    let mut command = Command::new("setsid");
    command.args([env!("CARGO_BIN_EXE_heapkeeper"), "run", "--", "sleep", "60"]).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let program = child_of(&child);
    kill("STOP", program);
    wait_until("the program is stopped", || state_of(program) == Some('T'));
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!((state_of(child.id()), state_of(program)), (Some('S'), Some('T')));
    kill("CONT", program);
    wait_until("it goes on", || state_of(program) == Some('S'));
    kill("TERM", child.id());
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

#[test]
fn descendants_that_outlive_the_program_do_not_hold_up_the_end() {
    let start = Instant::now();
    let output = run_shell("sleep 30 >/dev/null 2>&1 & echo $!").output().unwrap();
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert_eq!(output.status.code(), Some(0));
    kill("KILL", text(&output.stdout).trim().parse().unwrap());
}

#[test]
fn the_report_goes_through_a_pipe_that_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    succeed(Command::new("mkfifo").arg(&pipe));
    let reader = Command::new("cat").arg(&pipe).stdout(Stdio::piped()).spawn().unwrap();
    succeed(heapkeeper().args(["run", "--json"]).arg(&pipe).args(["--", "true"]));
    let json: serde_json::Value = serde_json::from_slice(&reader.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!((&json["exit_status"], &json["command"]), (&0.into(), &serde_json::json!(["true"])));
    assert!(!std::fs::metadata(&pipe).unwrap().is_file());
}

#[test]
fn files_that_cannot_serve_are_named_and_no_run_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    succeed(Command::new("mkfifo").arg(&pipe));
    let cases: [(&[&str], &str); 6] = [
        (&["--json", "pipe"], "nobody has this pipe open for reading"),
        (&["--log", "pipe"], "nobody has this pipe open for reading"),
        (&["--json", "a", "--record", "./a"], "--json and --record are the same file"),
        (&["--json", "a", "--log", "a"], "--json and --log are the same file"),
        (&["--nope"], "run has no option --nope"),
        (&["--json", "no/such/folder"], "cannot write no/such/folder"),
    ];
    for (options, complaint) in cases {
        let mut command = heapkeeper();
        command.current_dir(folder.path()).env("TMPDIR", folder.path()).arg("run").args(options);
        let output = command.args(["--", "true"]).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{options:?}: {said}");
        assert!(said.contains(complaint) && said.lines().count() == 1, "{options:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing but the pipe");
    // What begins with a hyphen behind `--` is a program.
    let output = heapkeeper().args(["run", "--", "--nope"]).output().unwrap();
    assert_eq!(output.status.code(), Some(127));
}

#[test]
fn a_log_on_a_full_disk_is_told_in_the_end() {
    let output = heapkeeper().args(["run", "--log", "/dev/full", "--", "echo", "through"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(125), "through\n"));
    assert!(text(&output.stderr).contains("cannot write the log /dev/full: No space left"));
}

#[test]
fn nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let json = folder.path().join("report.json");
    succeed(heapkeeper().env("TMPDIR", &temporary).args(["run", "--json"]).arg(&json).args(["--", "true"]));
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "tmp and report.json");
    // Nor when nothing could be run.
    let mut refused = heapkeeper();
    refused.env("TMPDIR", &temporary).args(["run", "--json"]).arg(&json).args(["--", "/"]);
    assert_eq!(refused.output().unwrap().status.code(), Some(126));
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
