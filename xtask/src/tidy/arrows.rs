//! Which crate may depend on which.
//!
//! The crates that live inside the program never depend on those outside, nor those outside on them: they
//! share hk-format alone. Inside, arrows point down the list below. From elsewhere the program's side takes
//! only what is named here, each a decision.

use crate::outcome::Verdict;
use crate::process::Run;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

/// The crates inside the program, top first: each may depend on those below it.
const INSIDE: &[&str] =
    &["hk-preload", "heapkeeper", "hk-recorder", "hk-scan", "hk-guard", "hk-heap", "hk-os", "hk-format"];
/// The crates of the command, top first.
const OUTSIDE: &[&str] = &["heapkeeper-cli", "hk-report", "hk-symbols", "hk-graph", "hk-format"];
/// What the two sides share.
const SHARED: &str = "hk-format";
/// Crates of others inside the program, and who may use them: none of them allocates.
const FOREIGN_INSIDE: &[(&str, &[&str])] = &[
    ("zerocopy", &["hk-format", "hk-recorder", "heapkeeper"]),
    ("libc", &["hk-os", "hk-recorder", "heapkeeper", "hk-preload"]),
    ("gimli", &["hk-recorder"]),
];

/// Features that bring something for tests and change nothing else: never asked for by the product.
const TEST_FEATURES: &[&str] = &["fake"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
    features: std::collections::BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    target: Option<String>,
    #[serde(default)]
    features: Vec<String>,
}

/// Checks all crates of the workspace.
pub fn check(root: &Path) -> Verdict {
    let words = ["metadata", "--no-deps", "--format-version", "1", "--offline"];
    let ended = Run::new("cargo", Duration::from_secs(60)).args(words).folder(root).succeeds()?;
    let metadata: Metadata =
        serde_json::from_str(&ended.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let wrong: Vec<String> = metadata.packages.iter().flat_map(wrong_arrows).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn wrong_arrows(package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    let mut wrong = Vec::new();
    // loom comes in for its models alone and a dev-dependency for tests alone: neither is in the product.
    let in_product = |d: &&Dependency| d.kind.as_deref() != Some("dev") && !for_loom(d);
    for dependency in package.dependencies.iter().filter(in_product) {
        if let Some(why) = forbidden(name, &dependency.name) {
            wrong.push(format!("{name} -> {}: {why}", dependency.name));
        }
    }
    for dependency in package.dependencies.iter().filter(in_product) {
        if dependency.features.iter().any(|feature| TEST_FEATURES.contains(&feature.as_str())) {
            wrong.push(format!("{name} -> {}: a feature for tests in the product", dependency.name));
        }
    }
    let for_tests = |feature: &&String| TEST_FEATURES.contains(&feature.as_str());
    if INSIDE.contains(&name) && !package.features.keys().all(|feature| for_tests(&feature)) {
        wrong.push(format!("{name} has Cargo features; what the heap does is chosen at run time"));
    }
    wrong
}

fn for_loom(dependency: &Dependency) -> bool {
    dependency.target.as_deref().is_some_and(|target| target.contains("hk_loom"))
}

fn forbidden(from: &str, to: &str) -> Option<String> {
    let (inside, outside) = (INSIDE.contains(&from), OUTSIDE.contains(&from));
    if !inside && !outside {
        return None;
    }
    let own = INSIDE.contains(&to) || OUTSIDE.contains(&to) || ["bench", "xtask"].contains(&to);
    let order = if inside { INSIDE } else { OUTSIDE };
    if own {
        let place = |name: &str| order.iter().position(|c| *c == name);
        return match (place(from), place(to)) {
            _ if from == SHARED => Some(format!("{SHARED} knows neither side")),
            (Some(above), Some(below)) if above < below => None,
            (Some(_), Some(_)) => Some("an arrow that points up".into()),
            _ => Some(format!("the two sides share {SHARED} alone")),
        };
    }
    if outside && from != SHARED {
        return None;
    }
    let users = FOREIGN_INSIDE.iter().find(|(name, _)| *name == to).map(|(_, users)| *users);
    match users {
        Some(users) if users.contains(&from) => None,
        Some(users) => Some(format!("only {} may use it", users.join(", "))),
        None => Some("a crate of others inside the program".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_point_down_and_never_across() {
        assert_eq!(forbidden("hk-preload", "hk-heap"), None);
        assert_eq!(forbidden("hk-heap", "hk-os"), None);
        assert_eq!(forbidden("hk-report", "hk-format"), None);
        assert_eq!(forbidden("hk-symbols", "object"), None);
        assert_eq!(forbidden("xtask", "hk-report"), None);
        assert!(forbidden("hk-os", "hk-heap").is_some());
        assert!(forbidden("hk-heap", "hk-symbols").is_some());
        assert!(forbidden("heapkeeper-cli", "hk-preload").is_some());
        assert!(forbidden("hk-heap", "libc").is_some());
        assert!(forbidden("hk-heap", "serde").is_some());
        assert!(forbidden("hk-format", "hk-os").is_some());
    }
}
