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

fn tell(words: &[&str], file: &Path, more: &[&str]) -> std::process::Output {
    heapkeeper().args(words).arg(file).args(more).output().unwrap()
}

#[test]
fn look() {
    let shop = Shop::new();
    let (a, b) = (shop.take("a.hksnap", 0, 1), shop.take("b.hksnap", 30, 1));
    let (c, d) = (shop.take("c.hksnap", 0, 10), shop.take("d.hksnap", 30, 10));
    let show = |words: &[&str], file: &Path, more: &[&str]| {
        let output = tell(words, file, more);
        println!(
            "$ heapkeeper {words:?} {more:?} -> {:?}\n{}{}",
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr)
        );
    };
    show(&["who"], &a, &["copy_name"]);
    show(&["who"], &c, &["make_conn"]);
    show(&["who"], &c, &["nothing"]);
    show(&["retained"], &a, &[]);
    show(&["retained"], &c, &[]);
    show(&["diff"], &a, &[b.to_str().unwrap()]);
    show(&["diff"], &c, &[d.to_str().unwrap()]);
    show(&["leaks"], &a, &[]);
    show(&["leaks"], &c, &[]);
    show(&["dangling"], &a, &[]);
    let json = tell(&["dangling", "--json", "-"], &a, &[]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    println!("{json:#}");
    let addr = json["blocks"][0]["address"].as_str().unwrap();
    show(&["who"], &a, &[addr]);
    let json = tell(&["retained", "--json", "-"], &a, &[]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let addr = json["accumulations"][0]["address"].as_str().unwrap();
    show(&["who"], &a, &[addr]);
    show(&["who"], &a, &["cache_put"]);
    show(&["who"], &a, &["0x10"]);
    show(&["who"], &shop.program, &["0x10"]);
    show(&["who"], Path::new("1234"), &["0x10"]);
}
