//! Snippets for where programs run for good: a service, an image.
//!
//! Their steps are done to the letter, in a shell that sees system folders of its own, from a cache folder with
//! a name that a careless snippet would break at.

use super::*;

/// A snippet made for a cache folder of such a name; the folder holds the victim too.
struct Made {
    folder: tempfile::TempDir,
    text: String,
    victim: PathBuf,
}

fn made(target: &str) -> Made {
    let folder = folder();
    let cache = folder.path().join("it's %n,$HOME\"\\".replace(' ', "_"));
    let output = succeed(heapkeeper().args(["init", target]).env("XDG_CACHE_HOME", cache));
    let victim = compile(folder.path(), "twice.c", TWICE, &["-g", "-O1", "-w"]);
    Made { text: text(&output.stdout), folder, victim }
}

/// The step of the snippet's head that begins like this, as a user would copy it.
fn step<'a>(text: &'a str, beginning: &str) -> &'a str {
    let lines = text.lines().filter_map(|line| line.strip_prefix("#"));
    lines.map(str::trim).find(|line| line.starts_with(beginning)).expect(beginning)
}

fn named(said: &str) -> bool {
    said.lines().any(|line| line.starts_with("heapkeeper: double free (CWE-415)"))
}

/// The unit `demo` and its drop-in. `everything` uses the lines too that are there for choice.
fn unit(made: &Made, everything: bool) -> PathBuf {
    let unit = format!(
        "[Unit]\nDescription=demo\n[Service]\nExecStart={}\nProtectHome=yes\nProtectSystem=strict\n\
         PrivateTmp=no\nUser=nobody\n",
        made.victim.display()
    );
    let units = made.folder.path().join("units");
    let chosen = |line: &str| match line.strip_prefix('#') {
        Some(rest) if everything && rest.starts_with(|c: char| c.is_ascii_uppercase()) => rest.to_string(),
        _ => line.to_string(),
    };
    let drop_in: Vec<String> = made.text.lines().map(chosen).collect();
    assert!(!everything || drop_in.iter().any(|line| line.starts_with("ExecStartPre=")));
    write(&units, "demo.service.d/heapkeeper.conf", &drop_in.join("\n"));
    write(&units, "demo.service", &unit)
}

#[test]
fn systemd_finds_nothing_to_complain_of() {
    let made = made("systemd");
    if !works("systemd-analyze", &["--version"]) {
        return skip("there is no systemd-analyze; apt-get install systemd");
    }
    let verify = |unit: &Path| {
        // The manual pages and the command itself need not be there.
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(unit).output().unwrap();
        let said = text(&output.stderr);
        said.lines().filter(|line| line.contains("heapkeeper.conf")).collect::<Vec<_>>().join("\n")
    };
    for everything in [false, true] {
        assert_eq!(verify(&unit(&made, everything)), "");
    }
    // The check is one: it sees what is wrong.
    let unit = unit(&made, false);
    write(unit.parent().unwrap(), "demo.service.d/heapkeeper.conf", "[Service]\nEnviroment=A=b\n");
    assert!(verify(&unit).contains("Enviroment"));
}

/// What systemd itself makes of the unit: the environment and the commands, specifiers expanded.
struct Read {
    environment: Vec<String>,
    commands: Vec<String>,
}

fn read_by_systemd(unit: &Path) -> Result<Read, String> {
    const SYSTEMD: &str = "/lib/systemd/systemd";
    // It refuses to be tried out as root.
    let mut systemd = match is_root() {
        true => Command::new("setpriv"),
        false => Command::new("env"),
    };
    if is_root() {
        systemd.args(["--reuid=65534", "--clear-groups"]);
    }
    systemd.args([SYSTEMD, "--test", "--system", "--unit=demo.service"]);
    // The colon at its end: systemd's own folders too.
    systemd.env("SYSTEMD_UNIT_PATH", format!("{}:", unit.parent().unwrap().display()));
    let said = systemd.output().map_err(|e| format!("{e}; apt-get install util-linux"))?;
    let said = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
    let Some((_, of_unit)) = said.split_once("-> Unit demo.service:") else {
        return Err(format!("{SYSTEMD} --test tells nothing of a unit here; apt-get install systemd"));
    };
    let of_unit = of_unit.split("-> Unit ").next().unwrap();
    let all = |key: &str| -> Vec<String> {
        of_unit.lines().filter_map(|line| line.trim().strip_prefix(key)).map(str::to_string).collect()
    };
    Ok(Read { environment: all("Environment: "), commands: all("Command Line: ") })
}

/// Installs as the snippet's head says, then starts the victim as systemd would: as another user, with what
/// systemd has read.
#[test]
fn a_service_tells_its_findings_in_its_journal() {
    let made = made("systemd");
    let shell = or_skip!(shell_with_empty_system_folders());
    let read = or_skip!(read_by_systemd(&unit(&made, false)));
    let install = step(&made.text, "sudo install ").strip_prefix("sudo ").unwrap();
    let said = script(
        shell,
        &format!(
            "umask 077\n{install}\n{} env {} {}\n",
            as_nobody(),
            words(&read.environment),
            read.commands[0]
        ),
    );
    assert!(named(&said) && said.contains("survived"), "{said}");
}

#[test]
fn a_service_keeps_a_recording_where_that_is_chosen() {
    let made = made("systemd");
    let shell = or_skip!(shell_with_empty_system_folders());
    let read = or_skip!(read_by_systemd(&unit(&made, true)));
    let install = step(&made.text, "sudo install ").strip_prefix("sudo ").unwrap();
    let report = step(&made.text, "heapkeeper report ").replace("NAME", "demo");
    let [before, start] = read.commands.as_slice() else { panic!("{:?}", read.commands) };
    let environment = words(&read.environment);
    // systemd makes the state's folder for the service's user.
    let said = script(
        shell,
        &format!(
            "{install}\ninstall -D -m 755 {} /usr/local/bin/heapkeeper\n\
             install -d -m 755 {} /var/lib/heapkeeper/demo\nexport PATH=/usr/local/bin:$PATH\n\
             {nobody} env {environment} {before} >/dev/null 2>&1\n{nobody} env {environment} {start}\n\
             echo told; XDG_CACHE_HOME=/var/lib/cache {report}\n",
            env!("CARGO_BIN_EXE_heapkeeper"),
            if is_root() { "-o 65534" } else { "" },
            nobody = as_nobody(),
        ),
    );
    let (_, report) = said.split_once("told\n").unwrap();
    assert!(report.contains("double free") && report.contains("twice.c:6"), "{said}");
}

/// Only root may become another user.
fn as_nobody() -> &'static str {
    if is_root() { "setpriv --reuid=65534 --regid=65534 --clear-groups" } else { "" }
}

/// Each in single quotes.
fn words(values: &[String]) -> String {
    values.iter().map(|value| format!("'{}' ", value.replace('\'', r"'\''"))).collect()
}

/// The instructions of a Dockerfile as Docker's own parser reads them: one line each, fields apart by tabs.
const READ_DOCKERFILE: &str = "import dockerfile, sys\n\
    for c in dockerfile.parse_file(sys.argv[1]): print(c.cmd.upper(), *c.value, sep='\\t')\n";

fn dockerfile(made: &Made, base: &str) -> PathBuf {
    write(made.folder.path(), "image/Dockerfile", &format!("FROM {base}\n{}", made.text))
}

#[test]
fn an_image_tells_its_findings_in_its_log() {
    let made = made("docker");
    let mut python = or_skip!(python_with("dockerfile", "import dockerfile"));
    let shell = or_skip!(shell_with_empty_system_folders());
    let file = dockerfile(&made, "debian:stable-slim");
    let read = text(&succeed(python.args(["-c", READ_DOCKERFILE]).arg(&file)).stdout);
    let instructions: Vec<Vec<&str>> = read.lines().map(|line| line.split('\t').collect()).collect();
    let names: Vec<&str> = instructions.iter().map(|instruction| instruction[0]).collect();
    assert_eq!(names, ["FROM", "COPY", "ENV", "ENV"], "{read}");
    let [_, copy, first, second] = instructions.as_slice() else { unreachable!() };
    let environment = [format!("{}={}", first[1], first[2]), format!("{}={}", second[1], second[2])];
    assert!(copy[2].ends_with('/'), "COPY makes a folder of it: {read}");
    // What COPY does: the file with its rights, in a folder that is made.
    let said = script(
        shell,
        &format!(
            "umask 077; cd {}; {}\numask 022; mkdir -p {into}; cp -p {} {into}\n{} env {} {}\n",
            file.parent().unwrap().display(),
            step(&made.text, "install "),
            copy[1],
            as_nobody(),
            words(&environment),
            made.victim.display(),
            into = copy[2],
        ),
    );
    assert!(named(&said) && said.contains("survived"), "{said}");
}

/// The command for an image that is not to be built again, read by a shell, with the file where it lies.
#[test]
fn an_image_as_it_is_is_put_on_the_heap_by_one_command() {
    let made = made("docker");
    let (_, command) = made.text.split_once("An image as it is, on it: docker run ").unwrap();
    let script = format!("printf '%s\\n' {}", command.trim());
    let words = text(&succeed(Command::new("sh").args(["-c", &script])).stdout);
    let words: Vec<&str> = words.lines().collect();
    let ["-v", volume, "-e", preload, "-e", settings, "IMAGE"] = words.as_slice() else {
        panic!("{words:?}")
    };
    let (library, place) = volume.split_once(':').unwrap();
    assert_eq!((place, *preload), ("/heapkeeper.so:ro", "LD_PRELOAD=/heapkeeper.so"));
    let (name, value) = settings.split_once('=').unwrap();
    let mut victim = Command::new(&made.victim);
    let output = succeed(victim.env("LD_PRELOAD", library).env(name, value));
    assert!(named(&text(&output.stderr)), "{output:?}");
}

#[test]
fn docker_builds_the_image() {
    let made = made("docker");
    if !works("docker", &["info"]) {
        return skip("no Docker daemon answers; install Docker and start it");
    }
    let file = dockerfile(&made, "scratch");
    let context = file.parent().unwrap();
    succeed(Command::new("sh").args(["-c", step(&made.text, "install ")]).current_dir(context));
    let image = text(&succeed(Command::new("docker").args(["build", "--quiet"]).arg(context)).stdout);
    let inspect = ["image", "inspect", "--format", "{{json .Config.Env}}", image.trim()];
    let environment = text(&succeed(Command::new("docker").args(inspect)).stdout);
    succeed(Command::new("docker").args(["image", "rm", image.trim()]));
    assert!(environment.contains("LD_PRELOAD=/usr/local/lib/heapkeeper/lib"), "{environment}");
    assert!(environment.contains("HEAPKEEPER=guard=1/5000"), "{environment}");
}
