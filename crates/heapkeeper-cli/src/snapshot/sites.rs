//! Allocation sites: stacks under the name that a reader knows them by.
//!
//! Stacks that read the same are one site. So a site is the same in two runs and, as long as its lines stay where they are, in two builds.

use hk_report::{StackFrame, clean, file_name, is_library, own_frame};
use hk_symbols::short_name;
use std::collections::HashMap;

/// Functions that a site's name has at most.
const LINKS_MAX: usize = 4;

/// Instead of a name where there is no stack.
pub const NOT_RECORDED: &str = "a place that was not recorded";

/// Where blocks are allocated.
#[derive(Clone, Debug)]
pub struct Site {
    /// Functions with their lines, innermost first. Of library code only what was called from the program's own is there.
    pub links: Vec<String>,
    /// The stack of one of its allocations.
    pub stack: Vec<StackFrame>,
}

impl Site {
    /// That of a stack.
    pub fn of(stack: Vec<StackFrame>) -> Site {
        let has_own = own_frame(&stack).is_some();
        let mut links = Vec::new();
        for (at, frame) in stack.iter().enumerate() {
            let called_by_own = stack.get(at + 1).is_some_and(|caller| !is_library(caller));
            if links.len() < LINKS_MAX && (!has_own || !is_library(frame) || called_by_own) {
                links.push(link(frame));
            }
        }
        if links.is_empty() {
            links.push(NOT_RECORDED.into());
        }
        Site { links, stack }
    }

    /// The whole name.
    pub fn label(&self) -> String {
        self.links.join(" ← ")
    }

    /// The name up to the innermost function of the program's own.
    pub fn short(&self) -> String {
        let own = own_frame(&self.stack).map(link);
        let end = self.links.iter().position(|link| Some(link) == own.as_ref()).unwrap_or(0);
        self.links[..=end].join(" ← ")
    }

    /// Whether a function or line of it is named so.
    pub fn matches(&self, text: &str) -> bool {
        self.links.iter().any(|link| link.contains(text))
            || self.stack.iter().any(|frame| {
                let place = frame.file.as_ref().zip(frame.line).map(|(file, line)| format!("{file}:{line}"));
                !is_library(frame) && place.is_some_and(|place| place.contains(text))
            })
    }
}

/// Sites by their names: each once, and which one each stack is of.
pub fn sites_by_label(stacks: impl Iterator<Item = Vec<StackFrame>>) -> (Vec<Site>, Vec<u32>) {
    let mut sites = Vec::new();
    let mut by_label: HashMap<String, u32> = HashMap::new();
    let mut of_stacks = Vec::new();
    for stack in stacks {
        let site = Site::of(stack);
        let number = *by_label.entry(site.label()).or_insert(sites.len() as u32);
        if number as usize == sites.len() {
            sites.push(site);
        }
        of_stacks.push(number);
    }
    (sites, of_stacks)
}

/// `session_open leaky.c:13`.
fn link(frame: &StackFrame) -> String {
    let module = frame.module.as_deref().map(file_name).unwrap_or_default();
    let function = match (&frame.function, frame.offset) {
        (Some(function), _) => {
            let short = short_name(function);
            // glibc's own names of its functions: `__GI___strdup`.
            match is_library(frame) {
                true => short.trim_start_matches("__GI_").trim_start_matches('_').to_owned(),
                false => short,
            }
        }
        (None, Some(offset)) => format!("{module}+{:#x}", offset.0),
        (None, None) => format!("{:#x} (in no module)", frame.pc.0),
    };
    match (&frame.file, frame.line, is_library(frame)) {
        (Some(file), Some(line), false) => clean(&format!("{function} {}:{line}", file_name(file))),
        _ => clean(&function),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, place: Option<(&str, u32)>) -> StackFrame {
        StackFrame {
            function: Some(function.into()),
            file: place.map(|(file, _)| file.into()),
            line: place.map(|(_, line)| line),
            ..StackFrame::default()
        }
    }

    #[test]
    fn stacks_that_read_the_same_are_one_site() {
        let stack = |line, outer| {
            let open = frame("session_open", Some(("/src/shop/leaky.c", line)));
            let library = StackFrame { module: Some("/lib/libc.so.6".into()), ..frame("__strdup", None) };
            vec![library, open, frame("main", Some(("/src/shop/leaky.c", 52))), frame(outer, None)]
        };
        let stacks = [stack(13, "_start"), stack(14, "_start"), stack(13, "__libc_start_main")];
        let (sites, of_stacks) = sites_by_label(stacks.into_iter().chain([Vec::new()]));
        assert_eq!(of_stacks, [0, 1, 0, 2]);
        assert_eq!(sites[0].label(), "strdup ← session_open leaky.c:13 ← main leaky.c:52");
        assert_eq!(sites[0].short(), "strdup ← session_open leaky.c:13");
        assert_eq!(sites[2].label(), "a place that was not recorded");
        assert!(
            sites[0].matches("leaky.c:13") && sites[0].matches("shop/leaky.c:5") && sites[0].matches("n_op")
        );
        assert!(!sites[0].matches("leaky.c:14"));
    }
}
