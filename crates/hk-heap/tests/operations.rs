//! Programs of bytes, as the fuzzer makes them: random ones, and those that once found something.
#![cfg(not(hk_loom))]
#![allow(unsafe_code, reason = "the oracle writes into the blocks that it got")]

#[path = "oracle/operations.rs"]
mod operations;
mod oracle;

use oracle::Random;
use std::path::Path;

#[test]
fn random_bytes() {
    let (rounds, bytes) = if cfg!(miri) { (1, 500) } else { (150, 4000) };
    for seed in 0..rounds {
        let mut random = Random::new(seed);
        let program: Vec<u8> = (0..bytes).map(|_| random.below(256) as u8).collect();
        operations::run(&program);
    }
}

/// Files in `fuzz/regressions`.
#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn regressions() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/regressions");
    // A package of this crate alone has no such folder.
    let Ok(files) = std::fs::read_dir(&folder) else { return };
    for file in files {
        let path = file.unwrap().path();
        println!("{}", path.display());
        operations::run(&std::fs::read(&path).unwrap());
    }
}
