//! Symbols of small programs that are compiled here: what gcc writes is what the reader meets.

use hk_symbols::{DebugFolders, ModuleSpec, Symbolizer, Why, find_debug_info, hex};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Inlining is forced, so that the result does not depend on the compiler's taste.
const SOURCE: &str = r#"
extern "C" void *volatile seen;
void *volatile seen;
namespace shop {
inline __attribute__((always_inline)) void release(int *order) {
    seen = __builtin_return_address(0);
    asm volatile("call_here: nop" ::: "memory");
    *order = 1;
}
__attribute__((noinline)) void total(int *orders) {
    release(orders);
}
}
int main() {
    int order = 0;
    shop::total(&order);
    return order;
}
"#;

struct Compiled {
    _folder: tempfile::TempDir,
    program: PathBuf,
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn compile(flags: &[&str]) -> Compiled {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("orders.cc");
    std::fs::write(&source, SOURCE).unwrap();
    let program = folder.path().join("orders");
    run(Command::new("g++")
        .args(["-O1", "-Wl,--build-id"])
        .args(flags)
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .current_dir(folder.path()));
    Compiled { _folder: folder, program }
}

/// Address of a symbol in the file, by nm: another reader than the one under test.
fn address_of(program: &Path, symbol: &str) -> u64 {
    let output = Command::new("nm").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.ends_with(&format!(" {symbol}"))).expect(symbol);
    u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap()
}

fn build_id_of(program: &Path) -> Vec<u8> {
    let output = Command::new("readelf").arg("-n").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let id = text.lines().find_map(|line| line.trim().strip_prefix("Build ID: ")).unwrap();
    (0..id.len()).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()).collect()
}

const BIAS: u64 = 0x5500_0000_0000;

fn spec(program: &Path) -> ModuleSpec {
    ModuleSpec {
        path: program.to_path_buf(),
        build_id: build_id_of(program),
        bias: BIAS,
        start: BIAS,
        end: BIAS + 0x1000_0000,
    }
}

fn no_folders() -> DebugFolders {
    DebugFolders { roots: Vec::new(), debuginfod_cache: None }
}

/// The return address just behind the one-byte `nop` that stands for a call.
fn return_address(program: &Path) -> u64 {
    BIAS + address_of(program, "call_here") + 1
}

#[track_caller]
fn assert_full(symbolizer: &mut Symbolizer, spec: &ModuleSpec, pc: u64) {
    let frames = symbolizer.frames(std::slice::from_ref(spec), pc);
    assert_eq!(frames.len(), 2, "{frames:#?}");
    assert_eq!(frames[0].function.as_deref(), Some("shop::release(int*)"));
    assert_eq!((frames[0].line, frames[0].inlined), (Some(7), true));
    assert_eq!(frames[1].function.as_deref(), Some("shop::total(int*)"));
    assert_eq!((frames[1].line, frames[1].inlined), (Some(11), false));
    for frame in &frames {
        assert!(frame.file.as_ref().unwrap().ends_with("orders.cc"), "{frame:?}");
        assert_eq!((frame.pc, frame.module_offset), (pc, Some(pc - BIAS)));
        assert_eq!(frame.module.as_deref(), Some(spec.path.as_path()));
    }
    assert_eq!(symbolizer.missing(), []);
}

#[test]
fn inlined_functions_have_lines_of_their_own() {
    for flags in [&["-g"][..], &["-g", "-gdwarf-4"], &["-g", "-gz=zlib"], &["-g", "-no-pie"]] {
        let compiled = compile(flags);
        let mut symbolizer = Symbolizer::with_folders(no_folders());
        assert_full(&mut symbolizer, &spec(&compiled.program), return_address(&compiled.program));
    }
}

#[test]
fn without_debug_info_the_symbol_table_serves() {
    let compiled = compile(&["-g0"]);
    let mut symbolizer = Symbolizer::with_folders(no_folders());
    let spec = spec(&compiled.program);
    let frames = symbolizer.frames(std::slice::from_ref(&spec), return_address(&compiled.program));
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].line, frames[0].inlined), (None, false));
    // The label is a symbol too, and nearer than the function; either names the place truly.
    let function = frames[0].function.as_deref().unwrap();
    assert!(["shop::total(int*)", "call_here"].contains(&function), "{function}");
    let missing = symbolizer.missing();
    assert_eq!((missing[0].why, &missing[0].build_id), (Why::NoDebugInfo, &spec.build_id));
    assert_eq!(missing.len(), 1);
}

#[test]
fn a_stripped_program_gives_module_and_offset() {
    let compiled = compile(&["-g0"]);
    let pc = return_address(&compiled.program);
    let spec = spec(&compiled.program);
    run(Command::new("strip").arg(&compiled.program));
    let frames = Symbolizer::with_folders(no_folders()).frames(std::slice::from_ref(&spec), pc);
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].function.as_deref(), frames[0].module_offset), (None, Some(pc - BIAS)));
}

/// Moves the debug information into a file of its own, at the place that `debug_path` gives.
fn split(program: &Path, debug_path: &Path, link: bool) {
    std::fs::create_dir_all(debug_path.parent().unwrap()).unwrap();
    run(Command::new("objcopy").arg("--only-keep-debug").arg(program).arg(debug_path));
    run(Command::new("strip").arg(program));
    if link {
        let argument = format!("--add-gnu-debuglink={}", debug_path.display());
        run(Command::new("objcopy").arg(argument).arg(program));
    }
}

#[test]
fn a_debug_file_is_found_by_build_id() {
    let compiled = compile(&["-g"]);
    let (pc, spec) = (return_address(&compiled.program), spec(&compiled.program));
    let root = tempfile::tempdir().unwrap();
    let id = hex(&spec.build_id);
    let debug_path = root.path().join(format!(".build-id/{}/{}.debug", &id[..2], &id[2..]));
    split(&compiled.program, &debug_path, false);
    let folders = DebugFolders { roots: vec![root.path().into()], debuginfod_cache: None };
    assert_eq!(find_debug_info(&compiled.program, &folders), Ok(debug_path));
    assert_full(&mut Symbolizer::with_folders(folders.clone()), &spec, pc);
    // Also when the program itself is gone.
    std::fs::remove_file(&compiled.program).unwrap();
    assert_full(&mut Symbolizer::with_folders(folders), &spec, pc);
}

#[test]
fn a_debug_file_is_found_by_its_link() {
    for (below, flag) in [("orders.debug", "-Wl,--build-id"), (".debug/orders.debug", "-Wl,--build-id=none")]
    {
        let compiled = compile(&["-g", flag]);
        let pc = return_address(&compiled.program);
        let mut spec = ModuleSpec { build_id: Vec::new(), ..spec_without_id(&compiled.program) };
        if flag == "-Wl,--build-id" {
            spec.build_id = build_id_of(&compiled.program);
        }
        split(&compiled.program, &compiled.program.with_file_name(below), true);
        assert_full(&mut Symbolizer::with_folders(no_folders()), &spec, pc);
    }
}

fn spec_without_id(program: &Path) -> ModuleSpec {
    let path = program.to_path_buf();
    ModuleSpec { path, build_id: Vec::new(), bias: BIAS, start: BIAS, end: BIAS + 0x1000_0000 }
}

#[test]
fn another_build_at_the_same_path_is_not_believed() {
    let compiled = compile(&["-g"]);
    let (pc, mut spec) = (return_address(&compiled.program), spec(&compiled.program));
    spec.build_id[0] ^= 1;
    let mut symbolizer = Symbolizer::with_folders(no_folders());
    let frames = symbolizer.frames(std::slice::from_ref(&spec), pc);
    assert_eq!((frames.len(), frames[0].function.as_deref(), frames[0].line), (1, None, None));
    assert_eq!(symbolizer.missing()[0].why, Why::OtherBuild);
}

#[test]
fn what_cannot_be_resolved_keeps_its_address() {
    let mut symbolizer = Symbolizer::with_folders(no_folders());
    let gone = spec_without_id(Path::new("/no/such/program"));
    let vdso = ModuleSpec { start: 0x7000, end: 0x8000, ..spec_without_id(Path::new("linux-vdso.so.1")) };
    let modules = [gone, vdso];
    let frames = symbolizer.frames(&modules, BIAS + 0x1234);
    assert_eq!((frames[0].module_offset, frames[0].function.as_deref()), (Some(0x1234), None));
    assert_eq!(symbolizer.frames(&modules, 0x7100).len(), 1);
    let unknown = symbolizer.frames(&modules, 0x42);
    assert_eq!((unknown[0].pc, unknown[0].module.as_deref()), (0x42, None));
    let whys: Vec<Why> = symbolizer.missing().iter().map(|m| m.why).collect();
    assert_eq!(whys, [Why::Unreadable, Why::Virtual]);
}

#[test]
fn variables_are_named_with_their_section() {
    let Compiled { _folder, program } = compile(&["-g"]);
    let address = BIAS + address_of(&program, "seen");
    let mut symbolizer = Symbolizer::with_folders(no_folders());
    let modules = [spec(&program)];
    let found = symbolizer.variable(&modules, address + 3).unwrap();
    assert_eq!((found.name.as_deref(), found.offset), (Some("seen"), 3));
    assert_eq!((found.section.as_deref(), found.module), (Some(".bss"), program.clone()));
    // What no symbol tells of is in a section all the same.
    let got = symbolizer.variable(&modules, BIAS + address_of(&program, "_DYNAMIC") - 1).unwrap();
    assert_eq!((got.name, got.section.is_some()), (None, true), "{:?}", got.section);
    assert_eq!(symbolizer.variable(&modules, 1), None);
    // Without the symbol table the dynamic one is left, which this program does not have its variable in.
    run(Command::new("strip").arg(&program));
    let found = Symbolizer::with_folders(no_folders()).variable(&modules, address).unwrap();
    assert_eq!((found.name, found.offset), (None, address - BIAS));
    assert_eq!(found.section.as_deref(), Some(".bss"));
}
