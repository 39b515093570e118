//! Out of memory in all its forms, and memory given back.

use crate::context::Context;
use crate::outcome::{Outcome, Verdict};
use crate::packages;
use crate::process::{Ended, Run};
use crate::suites::programs::compiled;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// All limits.
pub fn suite(context: &mut Context) {
    address_space(context);
    for way in ["trim", "lazily"] {
        context.test(&format!("memory goes back to the system, {way}"), |c| {
            let program = compiled(c, "memory_returns", &[])?;
            ends_ok(&c.artefacts()?.preloaded("", &program, LIMIT).arg(way).ended()?)
        });
    }
    context.test("a purge delay of zero gives memory back at once", |c| {
        let program = compiled(c, "memory_returns", &[])?;
        ends_ok(&c.artefacts()?.preloaded("purge-delay-ms=0", &program, LIMIT).arg("lazily").ended()?)
    });
    context.test("a core dump does not hold the reservation", core_limit);
    context.test_or_skip("a cgroup's limit", cgroup);
    context.test_or_skip("vm.overcommit_memory=2", overcommit);
}

/// RLIMIT_AS set before the program, at several sizes, for small, middle and large blocks; and set by the
/// program itself. The heap gets at least a share of the limit to give away.
fn address_space(context: &mut Context) {
    let sizes: &[u64] = if context.soak { &[64, 256, 1024, 8192] } else { &[64, 256, 1024] };
    for &limit_mib in sizes {
        for bytes in ["48", "5000", "1048576"] {
            context.test(&format!("RLIMIT_AS of {limit_mib} MiB, blocks of {bytes}"), |c| {
                let program = compiled(c, "out_of_memory", &[])?;
                let share = (limit_mib / 10).to_string();
                limited(c, limit_mib * MIB, &program, &[bytes, &share])
            });
        }
    }
    context.test("RLIMIT_AS of 16 MiB: too little for a heap of ours, the program runs all the same", |c| {
        limited(c, 16 * MIB, Path::new("/bin/echo"), &["ok"])
    });
    context.test("RLIMIT_AS that the program sets itself", |c| {
        let program = compiled(c, "limits_itself", &[])?;
        ends_ok(&c.artefacts()?.preloaded("", &program, LIMIT).ended()?)
    });
}

fn limited(context: &Context, bytes: u64, program: &Path, args: &[&str]) -> Verdict {
    packages::require(&["prlimit"])?;
    let library = context.artefacts()?.library.clone();
    let run = Run::new("prlimit", LIMIT)
        .arg(format!("--as={bytes}"))
        .arg("env")
        .arg(format!("LD_PRELOAD={}", library.display()))
        .arg(program)
        .args(args);
    ends_ok(&run.ended()?)
}

fn ends_ok(ended: &Ended) -> Verdict {
    match ended.status.success() && !ended.timed_out && ended.stdout.lines().any(|line| line == "ok") {
        true => Ok(()),
        false => Err(format!("{}\n{}", ended.how(LIMIT), ended.last_lines(20))),
    }
}

/// A program that aborts leaves a core file of the size of what it used. Where cores go is the machine's
/// affair, so the size of the readable mappings that are not marked against dumping stands for it.
fn core_limit(context: &Context) -> Verdict {
    let python = "import re,sys\nsize=total=0\nfor l in open('/proc/self/smaps'):\n \
        m=re.match(r'([0-9a-f]+)-([0-9a-f]+) (....)',l)\n if m: size=int(m[2],16)-int(m[1],16); perms=m[3]\n \
        if l.startswith('VmFlags') and ' dd' not in l and perms[:2]!='--': total+=size\nprint(total>>20)";
    let python3 = Path::new("/usr/bin/python3");
    let run = context.artefacts()?.preloaded("", python3, LIMIT).args(["-S", "-c", python]);
    let ended = run.succeeds()?;
    match ended.stdout.trim().parse::<u64>() {
        Ok(mib) if mib < 1024 => Ok(()),
        _ => Err(format!("{} MiB would be dumped of a small python3", ended.stdout.trim())),
    }
}

/// Under a cgroup's limit of 64 MiB a program that uses 30 runs, twice over: what it freed is not held.
fn cgroup(context: &Context) -> Outcome {
    let version_1 = Path::new("/sys/fs/cgroup/memory");
    let (parent, file) = match version_1.is_dir() {
        true => (version_1, "memory.limit_in_bytes"),
        false => (Path::new("/sys/fs/cgroup"), "memory.max"),
    };
    let group = parent.join(format!("heapkeeper-test-{}", std::process::id()));
    let made =
        std::fs::create_dir(&group).and_then(|()| std::fs::write(group.join(file), (64 * MIB).to_string()));
    let outcome = match made {
        Err(e) => Outcome::Skipped(format!("no cgroup can be made here ({e}); run as root with {file}")),
        Ok(()) => in_cgroup(context, &group).into(),
    };
    let _ = std::fs::remove_dir(&group);
    outcome
}

fn in_cgroup(context: &Context, group: &Path) -> Verdict {
    let program = compiled(context, "uses_memory", &[])?;
    let library = context.artefacts()?.library.clone();
    let script = "echo $$ > \"$1/cgroup.procs\" && LD_PRELOAD=\"$2\" exec \"$3\" 30";
    let run = Run::new("/bin/sh", LIMIT).args(["-c", script, "sh"]).arg(group).arg(library).arg(program);
    ends_ok(&run.ended()?)
}

/// The kernel then counts every writable page that is mapped. The setting is the whole machine's, so only
/// the long run changes it, and restores it.
fn overcommit(context: &Context) -> Outcome {
    let setting = Path::new("/proc/sys/vm/overcommit_memory");
    if !context.soak {
        return Outcome::Skipped("changes the whole machine; cargo xtask soak limits does it as root".into());
    }
    let before = match std::fs::read_to_string(setting) {
        Ok(before) => before,
        Err(e) => return Outcome::Skipped(format!("{}: {e}", setting.display())),
    };
    if let Err(e) = std::fs::write(setting, "2") {
        return Outcome::Skipped(format!("{}: {e}; run as root", setting.display()));
    }
    let verdict = compiled(context, "uses_memory", &[]).and_then(|program| {
        ends_ok(&context.artefacts()?.preloaded("", &program, LIMIT).arg("100").ended()?)?;
        let program = compiled(context, "out_of_memory", &[])?;
        ends_ok(&context.artefacts()?.preloaded("", &program, LIMIT).args(["100000", "10"]).ended()?)
    });
    match std::fs::write(setting, before) {
        Ok(()) => verdict.into(),
        Err(e) => Outcome::Failed(format!("{} could not be restored: {e}", setting.display())),
    }
}
