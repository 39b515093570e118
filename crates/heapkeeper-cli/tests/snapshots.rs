//! What the command tells of a whole heap: who holds what, what hangs on it, what grew, what is lost, what dangles.

mod common;
#[path = "snapshots/shop.rs"]
mod shop;

use common::*;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A folder with the program and a snapshot of it.
struct Shop {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Shop {
    fn new() -> Shop {
        let folder = tempfile::tempdir().unwrap();
        let program =
            compile(folder.path(), "shop.c", include_str!("snapshots/shop.c"), &["-g", "-O1", "-w"]);
        Shop { folder, program }
    }

    fn take(&self, name: &str, more: u32, every: u32) -> PathBuf {
        let file = self.folder.path().join(name);
        shop::snapshot(&self.program, more, every, &file);
        file
    }
}

/// What a verb says of a file, and how it ends.
fn tell(verb: &str, file: &Path, more: &[&str]) -> (String, Option<i32>) {
    let output = heapkeeper().arg(verb).arg(file).args(more).output().unwrap();
    (text(&output.stdout) + &text(&output.stderr), output.status.code())
}

#[track_caller]
fn json(verb: &str, file: &Path, more: &[&str]) -> Value {
    let mut command = heapkeeper();
    let output = command.arg(verb).args(["--json", "-"]).arg(file).args(more).output().unwrap();
    assert_eq!(text(&output.stderr), "");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn holds(said: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(said.contains(part), "no '{part}' in:\n{said}"));
}

/// No line is longer than a terminal is wide, but for what cannot be cut: temporary folders' names.
#[track_caller]
fn fits(said: &str) {
    said.lines().for_each(|line| assert!(line.chars().count() <= 100, "{line}"));
}

#[test]
fn who_names_each_step_from_a_variable() {
    let shop = Shop::new();
    let file = shop.take("a", 0, 1);
    let (said, code) = tell("who", &file, &["copy_name"]);
    assert_eq!(code, Some(0), "{said}");
    fits(&said);
    holds(
        &said,
        &[
            "187 bytes in 21 blocks, allocated at 'copy_name' in shop (",
            "copy_name shop.c:48 ← make_session shop.c:51 ← make_conn shop.c:57 ← main shop.c:112",
            "2 of the recorded blocks are lost: nothing leads there",
            "18 recorded blocks held by conn_table[0]->session->name; the shortest way leads through 2 blocks",
            "    conn_table (shop, .bss)\n",
            "+0x8  112 bytes, allocated by make_conn shop.c:55\n",
            "1 recorded block held by last_session->name; the shortest way leads through 1 block",
        ],
    );
    // A line of the source does as well, and an address inside a block.
    let by_line = json("who", &file, &["shop.c:50"]);
    assert_eq!(by_line["site"]["blocks"]["value"], 19, "twenty, and one of them closed");
    let way = &json("who", &file, &["make_session"])["ways"][0];
    assert_eq!(way["expression"], "conn_table[0]->session");
    let start = way["steps"][1]["address"].as_str().unwrap();
    let inside = u64::from_str_radix(&start[2..], 16).unwrap() + 3;
    let (said, _) = tell("who", &file, &[&format!("{inside:x}")]);
    fits(&said);
    holds(
        &said,
        &[
            &format!("{inside:#x} is 3 bytes into a block (16 bytes, at {start}), in shop ("),
            "\nallocated 5.0 s before the snapshot by thread shop (",
            ")\n    make_session shop.c:50 ← make_conn shop.c:57 ← main shop.c:112\n",
            "Held by conn_table[0]->session; the shortest way leads through 1 block",
            "1 pointer leads there\n    conn_table[0]->session: 0x",
        ],
    );
}

#[test]
fn a_long_way_is_shown_by_its_ends() {
    let shop = Shop::new();
    let file = shop.take("a", 0, 1);
    // Entries are put in front: the first that was allocated is the last of the list, and has the lowest address of theirs.
    let sites = json("who", &file, &["cache_put"]);
    assert_eq!((&sites["ways"][0]["blocks"], &sites["ways"][0]["length"]), (&1000.into(), &1.into()));
    let newest = sites["ways"][0]["steps"][0]["address"].as_str().unwrap();
    let last = u64::from_str_radix(&newest[2..], 16).unwrap() - 999 * 32;
    let (said, _) = tell("who", &file, &[&format!("{last:#x}")]);
    fits(&said);
    holds(
        &said,
        &[
            "Held by cache.head(->next)×999; the shortest way leads through 999 blocks",
            "    cache+0x8 (shop, .bss)\n",
            "    … 976 blocks more\n",
            "1 pointer leads there\n    cache.head(->next)×999: 0x",
        ],
    );
    assert_eq!(said.matches("  → 0x").count(), 24);
}

#[test]
fn who_says_why_there_is_no_answer() {
    let shop = Shop::new();
    let file = shop.take("a", 0, 10);
    let refused = |what: &str, part: &str| {
        let (said, code) = tell("who", &file, &[what]);
        assert_eq!(code, Some(125));
        assert_eq!(said.lines().count(), 1, "{said}");
        holds(&said, &[part]);
    };
    refused("0x10", "0x10: no live block lies there, and no free one that something points to; a block of ");
    refused(
        "nothing",
        "no live block is known to be allocated at a function or line of that name: blocks were",
    );
    refused("nothing", "(who allocated a block was recorded of one in 10)");
    refused("a\nb", "heapkeeper: a\\nb: no live block");
}

#[test]
fn retained_tells_of_roots_points_and_sites() {
    let shop = Shop::new();
    let file = shop.take("a", 0, 1);
    let (said, code) = tell("retained", &file, &[]);
    assert_eq!(code, Some(0), "{said}");
    fits(&said);
    holds(
        &said,
        &[
            "): 127.2 KiB in 1166 blocks live\n348 bytes of it in 7 blocks is lost: nothing leads there",
            "  100.8 KiB     101  79.2 %  pages (shop, .bss)\n",
            "   23.4 KiB    1000  18.4 %  cache (shop, .bss)\n",
            "   25 bytes       2   0.0 %  several roots together\n",
            " 100  1.0 KiB  0x",
            ", 800 bytes\n",
            "  held by pages\n",
            "  allocated by load_pages shop.c:67 ← main shop.c:114\n",
            "  800 bytes       1  100.8 KiB  79.2 %  load_pages shop.c:67 ← main shop.c:114\n",
        ],
    );
    assert!(!said.contains("not recorded") && !said.contains('±'), "{said}");
    let answer = json("retained", &file, &[]);
    assert_eq!((&answer["schema"], &answer["version"]), (&"heapkeeper-retained".into(), &1.into()));
    let point = &answer["accumulations"][0];
    assert_eq!((&point["children"], &point["largest_child_bytes"]), (&100.into(), &1024.into()));
    let all = |key: &str| answer["live"][key].as_u64().unwrap();
    let part = |part: &str, key: &str| answer[part][key].as_u64().unwrap();
    for key in ["bytes", "blocks"] {
        assert_eq!(all(key), part("reached", key) + part("lost", key));
        let roots = answer["roots"].as_array().unwrap().iter();
        let retained: u64 = roots.map(|root| root["retained"][key].as_u64().unwrap()).sum();
        assert_eq!(part("reached", key), retained + part("shared", key));
    }
}

#[test]
fn what_was_sampled_is_scaled_and_said_to_be() {
    let shop = Shop::new();
    let file = shop.take("a", 0, 10);
    let (said, _) = tell("retained", &file, &[]);
    fits(&said);
    holds(
        &said,
        &[
            "  23.4 KiB ± 2.3 KiB  1000 ± 100   23.2 KiB  18.3 %  cache_put shop.c:61 ← main shop.c:113\n",
            "Allocated at: not recorded, by size of block\n",
            "   21.1 KiB     900  16.6 %  24 bytes\n",
            "\nwho allocated a block was recorded of one in 10\n",
        ],
    );
    let answer = json("who", &file, &["cache_put"]);
    let blocks = &answer["site"]["blocks"];
    assert_eq!((&blocks["value"], &blocks["error"]), (&1000.into(), &100.into()));
    assert_eq!(
        (&blocks["certainty"], &answer["site"]["recorded"]["blocks"]),
        (&"estimate".into(), &100.into())
    );
    // Without any, sizes are what is left.
    let file = shop.take("none", 0, 0);
    let (said, _) = tell("retained", &file, &[]);
    assert!(!said.contains("Allocation sites"), "{said}");
    holds(&said, &["  23.4 KiB    1000  18.4 %  24 bytes\n", "\nwho allocated blocks was not recorded\n"]);
}

#[test]
fn diff_tells_what_grew() {
    let shop = Shop::new();
    let (before, after) = (shop.take("a", 0, 1), shop.take("b", 30, 1));
    let (said, code) = tell("diff", &before, &[after.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    fits(&said);
    holds(
        &said,
        &[
            "), 30 s later: +4.0 KiB, +90 blocks (8.0 KiB a minute)\n",
            "127.2 KiB in 1166 blocks live, then 131.2 KiB in 1256 blocks\n",
            "    +3.3 KiB    2.2 KiB    5.5 KiB     +30      20     50  make_conn shop.c:55 ← main shop.c:112\n",
        ],
    );
    assert!(!said.contains("By size") && !said.contains("cache_put"), "{said}");
    let (said, _) = tell("diff", &after, &[before.to_str().unwrap()]);
    holds(
        &said,
        &["30 s earlier: the second snapshot is the older one", "    −3.3 KiB    5.5 KiB    2.2 KiB     −30"],
    );
    let (said, _) = tell("diff", &before, &[before.to_str().unwrap()]);
    holds(&said, &["Each site, and each size of block, has as many blocks as before."]);
    let (before, after) = (shop.take("c", 0, 10), shop.take("d", 30, 10));
    let (said, _) = tell("diff", &before, &[after.to_str().unwrap()]);
    fits(&said);
    holds(
        &said,
        &[
            "By allocation site, estimated from those that are recorded\n",
            "      +3.3 KiB ± 3.3 KiB    3.3 KiB    6.6 KiB  +30 ± 29      30     60  make_conn",
            "By size of block, all blocks: counted\n",
            "    +3.3 KiB    2.2 KiB    5.5 KiB     +30      20     50  112 bytes\n",
        ],
    );
}

#[test]
fn leaks_are_told_and_judged_as_those_of_a_run() {
    let shop = Shop::new();
    let file = shop.take("a", 0, 1);
    let (said, code) = tell("leaks", &file, &[]);
    assert_eq!(code, Some(97), "{said}");
    holds(
        &said,
        &[
            "heapkeeper: leak (CWE-401): 3 blocks of 100 bytes that lose() allocated are lost: nothing points at them\n",
            "heapkeeper: leak (CWE-401): a 16-byte block that lose() allocated is lost in a cycle",
            "heapkeeper:   LOST WITH IT  23 bytes in 2 blocks that nothing else leads to\n",
            "): 325 bytes lost in 5 blocks, and 23 bytes in 2 blocks with them, of 127.2 KiB in 1166 blocks live\n",
        ],
    );
    let report = json("leaks", &file, &[]);
    assert_eq!(report["schema"], "heapkeeper-report");
    let findings = report["findings"].as_array().unwrap();
    let told: Vec<_> =
        findings.iter().map(|finding| (&finding["leak"]["loss"], &finding["leak"]["blocks"])).collect();
    assert_eq!(
        told,
        [(&"direct".into(), &3.into()), (&"cycle".into(), &1.into()), (&"direct".into(), &1.into())]
    );
    let stack = &findings[0]["life"]["allocated"]["stack"];
    assert_eq!(functions(stack)[..2], ["lose", "main"]);
    // Suppressions of other tools hold, and so does a baseline.
    let folder = shop.folder.path();
    std::fs::write(folder.join("lsan"), "leak:lose\nleak:copy_name\n").unwrap();
    let (said, code) = tell("leaks", &file, &["--suppressions", folder.join("lsan").to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("leak (CWE-401)"), "{said}");
    let sarif = folder.join("out.sarif");
    let (said, code) = tell("leaks", &file, &["--sarif", sarif.to_str().unwrap()]);
    assert_eq!((code, said.as_str()), (Some(97), ""));
    let sarif: Value = serde_json::from_str(&std::fs::read_to_string(sarif).unwrap()).unwrap();
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), 3);
}

/// The same program finds itself lost the same blocks at exit, under the same ids.
#[test]
fn a_leak_has_the_id_that_it_has_at_exit() {
    let source = "#include <stdlib.h>\n__attribute__((noinline)) static void lose(void) { char *volatile p = malloc(100); p = NULL; }\n\
                  int main(void) { lose(); return 0; }\n";
    let shop = Shop::new();
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "exit.c", source, &["-g", "-O1", "-w"]);
    let (_, at_exit) = run_for_report(folder.path(), &["check"], &[program.to_str().unwrap()], |_| {});
    let found = json("leaks", &shop.take("a", 0, 1), &[]);
    let id = |report: &Value| report["findings"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(id(&at_exit), id(&found));
}

#[test]
fn dangling_names_who_still_points_there() {
    let shop = Shop::new();
    let file = shop.take("a", 0, 1);
    let (said, code) = tell("dangling", &file, &[]);
    assert_eq!(code, Some(0), "{said}");
    holds(
        &said,
        &[
            "): 1 pointer leads to 1 freed block: maybe a use after free to come\n",
            "  freed 2.0 s before the snapshot by thread shop (",
            ")\n      close_session shop.c:70 ← main shop.c:116\n  allocated 5.0 s before the snapshot by thread shop (",
            ")\n      make_session shop.c:50 ← make_conn shop.c:57 ← main shop.c:112\n",
            "  likely in conn_table[13]->session: 0x",
        ],
    );
    let answer = json("dangling", &file, &[]);
    let block = &answer["blocks"][0];
    assert_eq!(block["holders"][0]["certainty"], "likely");
    let (said, _) = tell("who", &file, &[block["address"].as_str().unwrap()]);
    holds(
        &said,
        &[
            " is the start of a free block (16 bytes), in shop (",
            "freed 2.0 s before the snapshot by thread shop (",
            ")\n    close_session shop.c:70 ← main shop.c:116\n",
            "1 pointer leads there\n    conn_table[13]->session: 0x",
        ],
    );
    // Without debug information it may be any number.
    succeed(std::process::Command::new("strip").arg("-g").arg(&shop.program));
    let (said, _) = tell("dangling", &file, &[]);
    holds(&said, &["  maybe in  0x", "allocated by make_conn)"]);
}

#[test]
fn what_is_no_snapshot_is_refused_in_one_line() {
    let shop = Shop::new();
    let file = shop.take("a", 0, 1);
    let whole = std::fs::read(&file).unwrap();
    let cut = shop.folder.path().join("cut");
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let refused = |file: &Path, part: &str| {
        for (verb, more) in [("retained", &[][..]), ("leaks", &[]), ("dangling", &[]), ("who", &["0x10"])] {
            let (said, code) = tell(verb, file, more);
            assert_eq!((code, said.lines().count()), (Some(125), 1), "{said}");
            holds(&said, &[part]);
        }
    };
    refused(&cut, &format!("it is cut short at byte {}: take it again", whole.len() / 2));
    refused(&shop.program, "it is no snapshot: give a file that `heapkeeper snap` wrote");
    refused(shop.folder.path(), "it is a folder; give a snapshot's file");
    refused(Path::new("shop.snap"), "cannot read the snapshot shop.snap: there is no such file");
    // More than there can be.
    refused(Path::new("4000000001"), "there is no process 4000000001");
}

#[test]
fn a_heap_without_blocks_is_told_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("empty");
    let header = hk_format::SnapshotHeader { pid: 7, every: 1, ..zerocopy::FromZeros::new_zeroed() };
    let out = std::fs::File::create(&file).unwrap();
    hk_graph::Writer::new(out, header).unwrap().finish().unwrap();
    let says = |verb: &str, more: &[&str], code: i32, part: &str| {
        let (said, ended) = tell(verb, &file, more);
        assert_eq!(ended, Some(code), "{said}");
        holds(&said, &[part]);
    };
    says("retained", &[], 0, "process 7: 0 bytes in 0 blocks live\n");
    says(
        "diff",
        &[file.to_str().unwrap()],
        0,
        "Each site, and each size of block, has as many blocks as before.\n",
    );
    says("leaks", &[], 0, "heapkeeper: process 7: nothing is lost, of 0 bytes in 0 blocks live\n");
    says("dangling", &[], 0, "process 7: nothing that is in use points to a freed block\n");
    says("who", &["0x10"], 125, "0x10: no live block lies there");
    says("who", &["main"], 125, "no block's allocation was recorded");
}
