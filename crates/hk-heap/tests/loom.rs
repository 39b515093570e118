//! Every order of the racing steps of `word`, `mailbox` and `fork_mark`, explored by loom on the code of the product.
//!
//! ```text
//! RUSTFLAGS="--cfg hk_loom" cargo test -p hk-heap --release --test loom
//! ```
//!
//! `LOOM_MAX_PREEMPTIONS` explores deeper than the bound below, and takes much longer.
#![cfg(hk_loom)]
#![allow(unsafe_code, reason = "loom hands cells out as pointers")]

#[path = "loom/fork.rs"]
mod fork;
#[path = "loom/mail.rs"]
mod mail;
#[path = "loom/words.rs"]
mod words;

/// So many find every breakage that the comments of the models name.
const PREEMPTIONS: usize = 3;

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.check(model);
}
