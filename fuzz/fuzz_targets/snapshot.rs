//! Bytes that may be a snapshot, chosen by libFuzzer: the reader gives one or an error, and what is made of one never panics.
//!
//! ```text
//! cargo +nightly fuzz run snapshot
//! ```
#![no_main]

#[path = "../../crates/hk-graph/tests/common/everything.rs"]
mod everything;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(snapshot) = hk_graph::read(bytes) {
        everything::use_it(&snapshot);
    }
});
