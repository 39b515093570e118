//! Places in the code of a small program, by name and by line, against what nm says.

use hk_symbols::{DebugFolders, SiteError, find_site};
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = r#"
#define AT(label) asm volatile(#label ": nop" ::: "memory")
namespace shop {
struct Table {
    __attribute__((noinline)) void close(int) { AT(close_int); }
    __attribute__((noinline)) void close(long) { AT(close_long); }
};
inline __attribute__((always_inline)) void release() { AT(released_in_main); }
template <typename T> __attribute__((noinline)) void drop(T) { AT(dropped); }
}
__attribute__((noinline)) static void local() { AT(in_local); }
int main() {
    shop::Table table;
    table.close(1);
    table.close(1L);
    shop::drop(1);
    local();
    AT(before_release);
    shop::release();
    return 0;
}
"#;

struct Compiled {
    _folder: tempfile::TempDir,
    program: PathBuf,
    labels: String,
}

fn compile(flags: &[&str]) -> Compiled {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("sites.cc"), folder.path().join("sites"));
    std::fs::write(&source, SOURCE).unwrap();
    let compiler =
        Command::new("g++").args(["-O1"]).args(flags).arg("-o").arg(&program).arg(&source).status();
    assert!(compiler.unwrap().success());
    let labels = String::from_utf8(Command::new("nm").arg(&program).output().unwrap().stdout).unwrap();
    Compiled { _folder: folder, program, labels }
}

impl Compiled {
    fn find(&self, site: &str) -> Result<Vec<Range<u64>>, SiteError> {
        find_site(&self.program, site, &DebugFolders { roots: Vec::new(), debuginfod_cache: None })
    }

    /// Those of the labels that lie in a site.
    fn labels_in(&self, site: &str) -> Vec<&'static str> {
        const LABELS: [&str; 6] =
            ["close_int", "close_long", "released_in_main", "dropped", "in_local", "before_release"];
        let ranges = self.find(site).unwrap_or_else(|error| panic!("{site}: {error:?}"));
        let address = |label: &str| {
            let line = self.labels.lines().find(|line| line.ends_with(&format!(" {label}"))).unwrap();
            u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap()
        };
        let is_in = |label: &&str| ranges.iter().any(|range| range.contains(&address(label)));
        LABELS.into_iter().filter(is_in).collect()
    }
}

#[test]
fn functions_are_found_with_overloads_and_where_they_are_inlined() {
    let program = compile(&["-g"]);
    for (site, labels) in [
        ("close", &["close_int", "close_long"][..]),
        ("Table::close", &["close_int", "close_long"]),
        ("shop::Table::close(int)", &["close_int"]),
        ("Table::close(long)", &["close_long"]),
        ("release", &["released_in_main"]),
        ("shop::drop", &["dropped"]),
        ("local", &["in_local"]),
        ("main", &["released_in_main", "before_release"]),
    ] {
        assert_eq!(program.labels_in(site), labels, "{site}");
    }
}

#[test]
fn lines_are_found_by_the_end_of_their_path() {
    let program = compile(&["-g"]);
    let line = |text: &str| 1 + SOURCE.lines().position(|line| line.contains(text)).unwrap();
    assert_eq!(program.labels_in(&format!("sites.cc:{}", line("AT(close_int)"))), ["close_int"]);
    let whole = program.program.with_extension("cc");
    let site = format!("{}:{}", whole.display(), line("AT(before_release);"));
    assert_eq!(program.labels_in(&site), ["before_release"]);
    assert_eq!(program.labels_in(&format!("./sites.cc:{}", line("void release()"))), ["released_in_main"]);
}

#[test]
fn without_debug_info_symbols_serve_and_lines_do_not() {
    let program = compile(&[]);
    assert_eq!(program.labels_in("Table::close"), ["close_int", "close_long"]);
    assert_eq!(program.find("sites.cc:5"), Err(SiteError::NoLines));
    let stripped = compile(&["-s"]);
    assert!(matches!(stripped.find("Table::close"), Err(SiteError::NoProgram | SiteError::Unknown(_))));
}

#[test]
fn what_is_not_there_names_what_is_near() {
    let program = compile(&["-g"]);
    assert_eq!(program.find("Table::clsoe"), Err(SiteError::Unknown(vec!["shop::Table::close".into()])));
    assert_eq!(program.find("unheard_of"), Err(SiteError::Unknown(Vec::new())));
    let Err(SiteError::Unknown(near)) = program.find("sites.cc:1") else { panic!("line 1 is empty") };
    assert_eq!(near[0], "sites.cc:5");
    assert_eq!(program.find("site.cc:5"), Err(SiteError::Unknown(vec!["sites.cc".into()])));
    assert_eq!(
        find_site("/etc/passwd".as_ref(), "main", &DebugFolders::default()),
        Err(SiteError::NoProgram)
    );
}
