//! Every order of the racing steps of `word` and `mailbox`, explored by loom on the code of the product.
//!
//! ```text
//! RUSTFLAGS="--cfg hk_loom" cargo test -p hk-heap --release --test loom
//! ```
//!
//! `LOOM_MAX_PREEMPTIONS` explores deeper than the bound below, and takes much longer.
#![cfg(hk_loom)]
#![allow(unsafe_code, reason = "loom hands cells out as pointers")]

#[path = "loom/mail.rs"]
mod mail;
#[path = "loom/words.rs"]
mod words;

/// Two preemptions find every breakage that the models' comments name.
const PREEMPTIONS: usize = 2;

fn explore(model: impl Fn() + Send + Sync + 'static) {
    explore_to(PREEMPTIONS, model);
}

fn explore_to(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.check(model);
}
