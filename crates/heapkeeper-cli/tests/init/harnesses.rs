//! Snippets for suites of tests: cargo's, CTest's, pytest's, and a workflow. Each runs a suite with one good and
//! one bad test in it, and only the bad one fails.

use super::*;
use std::process::Output;

/// A command in a folder, with `heapkeeper` in its PATH and nothing of the build that runs these tests.
fn in_folder(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    let of_cargo =
        |name: &str| name.starts_with("CARGO_") && name != "CARGO_HOME" || name.starts_with("RUST");
    let inherited = std::env::vars().map(|(name, _)| name).filter(|name| of_cargo(name));
    for name in inherited.filter(|name| name != "RUSTUP_HOME" && name != "RUSTUP_TOOLCHAIN") {
        command.env_remove(name);
    }
    command.env_remove("HEAPKEEPER").env_remove("LD_PRELOAD").env_remove("HEAPKEEPER_PYTEST");
    // Recordings of runs with findings are kept: they go with the folder.
    command.env_remove("XDG_RUNTIME_DIR").env("TMPDIR", folder);
    command.current_dir(folder).env("PATH", path_with_check(folder));
    command
}

fn everything(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

const CRATE: &str = r#"
extern "C" {
    fn malloc(bytes: usize) -> *mut u8;
    fn free(block: *mut u8);
}
#[test]
fn good() {
    assert!(std::env::var("LD_PRELOAD").unwrap().contains("libheapkeeper"));
}
#[test]
fn bad() {
    unsafe {
        let block = std::hint::black_box(malloc(40));
        free(block);
        free(std::hint::black_box(block));
    }
}
"#;

#[test]
fn cargo_runs_its_tests_by_us() {
    let folder = folder();
    write(folder.path(), ".cargo/config.toml", &snippet("cargo"));
    write(folder.path(), "Cargo.toml", "[package]\nname = \"tiny\"\nedition = \"2021\"\n[workspace]\n");
    write(folder.path(), "src/lib.rs", CRATE);
    let mut good = in_folder("cargo", folder.path());
    let output = succeed(good.args(["test", "--offline", "--lib", "good"]));
    assert!(everything(&output).contains("heapkeeper: "), "{}", everything(&output));
    let output =
        in_folder("cargo", folder.path()).args(["test", "--offline", "--lib", "bad"]).output().unwrap();
    let said = everything(&output);
    assert!(said.contains("test bad ... ok"), "the test itself knows of nothing: {said}");
    assert!(said.contains("`heapkeeper check -- ") && said.contains("exit status: 97"), "{said}");
    assert!(said.contains("double free (CWE-415)") && said.contains("src/lib.rs:15"), "{said}");
    assert_eq!(output.status.code(), Some(NEW_FINDING), "{said}");
}

const LISTS: &str = "cmake_minimum_required(VERSION 3.15)\nproject(tiny C)\ninclude(heapkeeper.cmake)\n\
    enable_testing()\nadd_executable(good good.c)\nadd_executable(bad bad.c)\n\
    add_test(NAME good COMMAND good)\nadd_test(NAME bad COMMAND bad)\n";

/// Configures, builds and tests a project with the snippet; `programs` is where cmake and ctest are.
fn ctest(programs: &Path, options: &[&str]) -> String {
    let folder = folder();
    for (name, content) in [("CMakeLists.txt", LISTS), ("good.c", ONCE), ("bad.c", TWICE)] {
        write(folder.path(), name, content);
    }
    write(folder.path(), "heapkeeper.cmake", &snippet("cmake"));
    let run = |program: &str| in_folder(programs.join(program).to_str().unwrap(), folder.path());
    let output = succeed(run("cmake").args(["-S", ".", "-B", "build"]).args(options));
    assert!(!everything(&output).contains("Warning"), "{}", everything(&output));
    succeed(run("cmake").args(["--build", "build"]));
    let output = run("ctest").args(["--test-dir", "build", "--output-on-failure"]).output().unwrap();
    everything(&output)
}

#[track_caller]
fn only_the_bad_one_fails(said: &str) {
    let line = |name: &str| said.lines().find(|l| l.contains("Test #") && l.contains(name)).unwrap();
    assert!(line("good").contains("Passed") && line("bad").contains("Failed"), "{said}");
    assert!(said.contains("double free (CWE-415)"), "{said}");
}

const NO_MAKE: &str = "there is no make; apt-get install make";

#[test]
fn ctest_runs_its_tests_by_us() {
    if !works("cmake", &["--version"]) || !works("make", &["--version"]) {
        return skip("there is no cmake or no make; apt-get install cmake make");
    }
    only_the_bad_one_fails(&ctest(Path::new(""), &[]));
    let said = ctest(Path::new(""), &["-DHEAPKEEPER_TESTS=OFF"]);
    assert!(!said.contains("heapkeeper: ") && !said.contains("Permission"), "{said}");
}

/// From 3.29 on there is a launcher for tests alone; Debian 12 and Ubuntu 24.04 are older.
#[test]
fn a_ctest_with_launchers_runs_its_tests_by_us() {
    if !works("make", &["--version"]) {
        return skip(NO_MAKE);
    }
    let mut python = or_skip!(python_with("cmake", "import cmake"));
    let said = succeed(python.args(["-c", "import cmake; print(cmake.CMAKE_BIN_DIR)"]));
    only_the_bad_one_fails(&ctest(Path::new(text(&said.stdout).trim()), &[]));
}

const PYTEST: &str = "import ctypes, os\n\
    def test_good():\n    assert 'libheapkeeper' in os.environ['LD_PRELOAD']\n\
    def test_bad():\n    free_twice = ctypes.CDLL('./libtwice.so').free_twice\n    free_twice()\n";
const EXTENSION: &str = "#include <stdlib.h>\nvoid free_twice(void) {\n\
    void *volatile block = malloc(40);\n    free(block);\n    free(block);\n}\n";

#[test]
fn pytest_starts_itself_anew_on_our_heap() {
    let python = or_skip!(python_with("pytest", "import pytest"));
    let folder = folder();
    write(folder.path(), "conftest.py", &snippet("pytest"));
    write(folder.path(), "test_tiny.py", PYTEST);
    let library = compile(folder.path(), "twice.c", EXTENSION, &["-g", "-w", "-shared", "-fPIC"]);
    std::fs::rename(library, folder.path().join("libtwice.so")).unwrap();
    let pytest = |args: &[&str]| {
        let mut command = in_folder("python3", folder.path());
        for (name, value) in python.get_envs() {
            command.env(name, value.unwrap());
        }
        command.args(["-m", "pytest", "-p", "no:cacheprovider"]).args(args).output().unwrap()
    };
    let output = pytest(&["--heapkeeper", "-k", "good"]);
    let said = everything(&output);
    assert!(output.status.success() && text(&output.stdout).contains("1 passed"), "{said}");
    let output = pytest(&["--heapkeeper"]);
    let said = everything(&output);
    assert_eq!(output.status.code(), Some(NEW_FINDING), "{said}");
    assert!(text(&output.stdout).contains("2 passed") && said.contains("twice.c:5"), "{said}");
    // Not asked for, it is not there.
    let output = pytest(&["-k", "bad", "--collect-only"]);
    assert!(output.status.success() && !everything(&output).contains("heapkeeper: "));
}

#[test]
fn pytest_without_the_command_says_so() {
    let mut python = or_skip!(python_with("pytest", "import pytest"));
    let folder = folder();
    write(folder.path(), "conftest.py", &snippet("pytest"));
    let interpreter = succeed(Command::new("python3").args(["-c", "import sys; print(sys.executable)"]));
    let mut command = Command::new(text(&interpreter.stdout).trim());
    for (name, value) in python.env("PATH", "/var/empty").get_envs() {
        command.env(name, value.unwrap());
    }
    let args = ["-m", "pytest", "-p", "no:cacheprovider", "--heapkeeper"];
    let output =
        command.args(args).env_remove("HEAPKEEPER_PYTEST").current_dir(folder.path()).output().unwrap();
    let said = everything(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("pytest --heapkeeper: the command heapkeeper cannot be run: "), "{said}");
}

#[test]
fn a_workflow_is_one_by_its_schema() {
    let mut python = or_skip!(python_with("check-jsonschema", "import check_jsonschema"));
    let folder = folder();
    let file = write(folder.path(), "heapkeeper.yml", &snippet("github"));
    let schema = ["-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"];
    succeed(python.args(schema).arg(&file));
    let broken = write(folder.path(), "broken.yml", &snippet("github").replace("runs-on:", "runs-at:"));
    let mut python = or_skip!(python_with("check-jsonschema", "import check_jsonschema"));
    assert!(!python.args(schema).arg(&broken).output().unwrap().status.success(), "the check sees nothing");
}

/// The step that tests, as it stands in the file, in a project whose `make test` does what it says.
#[test]
fn a_workflow_fails_by_a_finding() {
    if !works("make", &["--version"]) {
        return skip(NO_MAKE);
    }
    let text = snippet("github");
    let step = text.lines().find_map(|line| line.trim().strip_prefix("run: heapkeeper ")).unwrap();
    for (source, expected) in [(ONCE, 0), (TWICE, NEW_FINDING)] {
        let folder = folder();
        compile(folder.path(), "program.c", source, &["-g", "-w"]);
        write(folder.path(), "Makefile", "test:\n\t./program\n");
        let mut shell = in_folder("sh", folder.path());
        let output = shell.args(["-e", "-c", &format!("heapkeeper {step}")]).output().unwrap();
        assert_eq!(output.status.code(), Some(expected), "{}", everything(&output));
    }
}
