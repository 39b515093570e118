//! Builds the library that the command carries, with a cargo of its own.
//!
//! The library is a cdylib of another crate; cargo cannot hand a dependency's cdylib to `include_bytes!`. A
//! target folder of its own is needed as the outer cargo holds the lock of the shared one. The outer
//! cargo's variables are taken away: they speak of this crate, or would change the library (RUSTFLAGS of a
//! coverage run, clippy's wrapper).
//!
//! `HEAPKEEPER_PRELOAD_LIB=PATH` embeds a library that was built elsewhere, for packagers and development.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const OVERRIDE: &str = "HEAPKEEPER_PRELOAD_LIB";
/// The crates that end up in the library.
const IN_PROGRAM_CRATES: [&str; 6] =
    ["hk-format", "hk-os", "hk-heap", "hk-recorder", "heapkeeper", "hk-preload"];
/// cargo's variables that the nested cargo keeps: where things are, and how to reach the network.
const KEPT_PREFIXES: [&str; 6] =
    ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRY_", "CARGO_REGISTRIES_", "CARGO_SOURCE_"];
/// Bytes of the hash that are shown: sixteen digits.
const HASH_BYTES: usize = 8;

fn main() {
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    let library = match env::var_os(OVERRIDE) {
        Some(path) => PathBuf::from(path),
        None => build(),
    };
    println!("cargo::rerun-if-changed={}", library.display());
    let content = fs::read(&library).unwrap_or_else(|e| {
        panic!("the library {} cannot be read: {e}; build it with `cargo build -p hk-preload --release`, or set {OVERRIDE}", library.display())
    });
    fs::write(out_folder().join("libheapkeeper.so"), &content).expect("OUT_DIR can be written");
    let hash: String =
        Sha256::digest(&content)[..HASH_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-env=HEAPKEEPER_LIBRARY_HASH={hash}");
}

fn out_folder() -> PathBuf {
    PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"))
}

/// Builds hk-preload and gives the library's path.
fn build() -> PathBuf {
    let manifest_folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = manifest_folder.ancestors().nth(2).expect("the workspace is two folders up").to_path_buf();
    watch(&root);
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let target_folder = out_folder().join("preload");
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
    cargo.args(["build", "--package", "hk-preload", "--release", "--target", &target]);
    cargo.arg("--manifest-path").arg(root.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(&target_folder);
    // A build script must not rewrite the lock file; the outer cargo has just brought it up to date.
    if root.join("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    without_outer_cargo(&mut cargo);
    let status = cargo.current_dir(&root).status().unwrap_or_else(|e| panic!("{cargo:?}: {e}"));
    assert!(status.success(), "the library could not be built ({status}): {cargo:?}");
    target_folder.join(target).join("release").join("libheapkeeper_preload.so")
}

fn watch(root: &Path) {
    for name in IN_PROGRAM_CRATES {
        let folder = root.join("crates").join(name);
        for part in ["src", "Cargo.toml", "build.rs"] {
            let path = folder.join(part);
            if path.exists() {
                println!("cargo::rerun-if-changed={}", path.display());
            }
        }
    }
    for name in ["Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(name).display());
    }
}

fn without_outer_cargo(cargo: &mut Command) {
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let outer = text.starts_with("CARGO")
            || text.starts_with("RUSTC_")
            || text.starts_with("RUSTDOC")
            || text.starts_with("CLIPPY")
            || text.starts_with("LLVM_PROFILE")
            || text.starts_with("DEP_")
            || matches!(text, "RUSTC" | "RUSTFLAGS" | "LD_PRELOAD" | "HEAPKEEPER");
        if outer && !KEPT_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            cargo.env_remove(&name);
        }
    }
}
