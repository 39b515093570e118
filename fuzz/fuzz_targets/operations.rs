//! Operations on the heap, chosen by libFuzzer and checked by the oracle of the heap's tests.
//!
//! ```text
//! cargo +nightly fuzz run operations
//! ```
//!
//! What it finds: `cargo fuzz tmin`, then keep the file in `fuzz/regressions`, which
//! `cargo test -p hk-heap --test operations` runs.
#![no_main]

#[path = "../../crates/hk-heap/tests/oracle/operations.rs"]
mod operations;
#[path = "../../crates/hk-heap/tests/oracle/mod.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| operations::run(bytes));
