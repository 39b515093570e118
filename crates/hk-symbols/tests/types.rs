//! Places of pointers by the types of small programs that are compiled here.

use hk_symbols::{DebugFolders, ModuleSpec, Pointee, Symbolizer};
use std::path::Path;
use std::process::Command;

const BIAS: u64 = 0x5500_0000_0000;

struct Program {
    _folder: tempfile::TempDir,
    symbolizer: Symbolizer,
    modules: [ModuleSpec; 1],
}

impl Program {
    /// All sources are units of one program.
    fn new(compiler: &str, sources: &[(&str, &str)], flags: &[&str]) -> Program {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        let mut command = Command::new(compiler);
        command.args(["-g", "-o"]).arg(&program).args(flags).current_dir(folder.path());
        for (name, source) in sources {
            std::fs::write(folder.path().join(name), source).unwrap();
            command.arg(name);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let folders = DebugFolders { roots: Vec::new(), debuginfod_cache: None };
        let (start, end) = (BIAS, BIAS + 0x1000_0000);
        let modules = [ModuleSpec { path: program, build_id: Vec::new(), bias: BIAS, start, end }];
        Program { _folder: folder, symbolizer: Symbolizer::with_folders(folders), modules }
    }

    fn variable(&mut self, name: &str, offset: u64) -> Option<(String, Option<Pointee>)> {
        let address = BIAS + address_of(&self.modules[0].path, name) + offset;
        let place = self.symbolizer.pointer_in_variable(&self.modules, address)?;
        Some((place.text, place.pointee))
    }

    fn pointee(&mut self, name: &str, offset: u64) -> Pointee {
        self.variable(name, offset).unwrap().1.unwrap()
    }

    fn block(&self, of: Pointee, bytes: u64, offset: u64) -> Option<String> {
        Some(self.symbolizer.pointer_in_block(of, bytes, offset)?.text)
    }
}

/// By nm: another reader than the one under test.
fn address_of(program: &Path, symbol: &str) -> u64 {
    let output = Command::new("nm").arg("-C").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.ends_with(&format!(" {symbol}"))).expect(symbol);
    u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap()
}

const C: &str = r"
#include <stddef.h>
struct hidden;
typedef struct node { long key; struct node *next; const char *volatile name; } node_t;
struct table { int used; struct { node_t *first; long count; } rows[4]; union { long number; node_t *node; } value; unsigned flag : 1; };
struct buffer { size_t length; node_t *parts[]; };
node_t *const volatile head = (void *)1;
node_t *grid[2][3];
struct table table;
struct buffer *buffer;
struct hidden *hidden;
node_t **pointers;
void *anything;
long number;
static __thread node_t *own;
int main(void) { return head != own && grid[0][0] && table.used && buffer && hidden && pointers && anything && number; }
";
const OTHER_UNIT: &str = "struct hidden { long pad; struct hidden *inner; }; struct hidden defined_here;";

#[test]
fn c_places_are_written_as_in_the_program() {
    let mut program = Program::new("gcc", &[("main.c", C), ("other.c", OTHER_UNIT)], &[]);
    let text = |found: Option<(String, Option<Pointee>)>| found.map(|(text, _)| text);
    assert_eq!(text(program.variable("head", 0)).as_deref(), Some(""));
    assert_eq!(text(program.variable("grid", 8 * 5)).as_deref(), Some("[1][2]"));
    assert_eq!(text(program.variable("grid", 8 * 3)).as_deref(), Some("[1][0]"));
    assert_eq!(text(program.variable("table", 8 + 16 * 2)).as_deref(), Some(".rows[2].first"));
    assert_eq!(text(program.variable("table", 8 + 16 * 2 + 8)), None, "a number");
    assert_eq!(text(program.variable("table", 72)).as_deref(), Some(".value.node"));
    assert_eq!(text(program.variable("grid", 4)), None, "in the midst of a pointer");
    assert_eq!(text(program.variable("number", 0)), None);
    assert_eq!(program.variable("anything", 0), Some((String::new(), None)));

    let node = program.pointee("head", 0);
    assert_eq!(program.block(node, 24, 8).as_deref(), Some("->next"));
    assert_eq!(program.block(node, 32, 16).as_deref(), Some("->name"), "rounded up by the heap");
    assert_eq!(program.block(node, 240, 24 * 3 + 8).as_deref(), Some("[3].next"));
    assert_eq!(program.block(node, 24, 0), None, "a number");
    assert_eq!(program.block(node, 16, 8), None, "a block that is too small for the type");
    let pointers = program.pointee("pointers", 0);
    assert_eq!(program.block(pointers, 80, 16).as_deref(), Some("[2]"));
    let buffer = program.pointee("buffer", 0);
    assert_eq!(program.block(buffer, 80, 8 + 8 * 5).as_deref(), Some("->parts[5]"));
    let hidden = program.pointee("hidden", 0);
    assert_eq!(program.block(hidden, 16, 8).as_deref(), Some("->inner"), "defined in another unit");
}

const CPP: &str = r"
namespace shop {
struct Base { long id; Base *parent; virtual ~Base() {} };
struct Order : Base { Order *next; static Order *newest; };
Order *Order::newest;
Order *first() { static Order *kept; return kept; }
}
shop::Order instance;
int main() { return shop::first() && shop::Order::newest->next && shop::Order::newest->parent; }
";

#[test]
fn base_classes_and_static_members_of_cpp() {
    let mut program = Program::new("g++", &[("main.cc", CPP)], &["-O0"]);
    let order = program.pointee("shop::Order::newest", 0);
    assert_eq!(program.block(order, 32, 24).as_deref(), Some("->next"));
    assert_eq!(program.block(order, 32, 16).as_deref(), Some("->parent"));
    assert_eq!(program.variable("shop::first()::kept", 0).unwrap().0, "");
}

#[test]
fn without_debug_information_nothing_is_said() {
    let mut program = Program::new("gcc", &[("main.c", C), ("other.c", OTHER_UNIT)], &["-g0"]);
    assert_eq!(program.variable("head", 0), None);
}
