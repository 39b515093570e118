//! `heapkeeper man`: the manual page, made from the table of verbs.

use crate::{Failure, VerbResult, cli};
use clap_mangen::Man;
use std::io::Write;
use std::process::ExitCode;

/// Options of `heapkeeper man`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Prints the page in roff, for `man -l -` or a packager.
pub fn run(_args: &Args) -> VerbResult {
    let page = page().map_err(|e| Failure::new(format!("man: cannot make the page: {e}")))?;
    std::io::stdout()
        .write_all(&page)
        .map_err(|e| Failure::new(format!("man: cannot write to standard output: {e}")))?;
    Ok(ExitCode::SUCCESS)
}

/// One page for all verbs: the tool's own pages refer to one page for each, which nobody installs.
fn page() -> std::io::Result<Vec<u8>> {
    let mut table = cli::table().disable_help_subcommand(true);
    table.build();
    let mut page = Page::default();
    let whole = Man::new(table.clone());
    page.part(|out| whole.render_title(out))?;
    page.part(|out| whole.render_name_section(out))?;
    page.part(|out| whole.render_synopsis_section(out))?;
    page.part(|out| whole.render_description_section(out))?;
    page.part(|out| whole.render_options_section(out))?;
    for verb in table.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        page.verb(verb)?;
    }
    page.part(|out| whole.render_version_section(out))?;
    Ok(page.text.into_bytes())
}

/// Roff, part by part.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// Every part comes with the same definitions before it: the page needs them once.
    fn part(&mut self, render: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> std::io::Result<()> {
        let mut bytes: Vec<u8> = Vec::new();
        render(&mut bytes)?;
        let part = String::from_utf8_lossy(&bytes);
        let is_definition = |line: &str| line.starts_with(".ie \\n(.g") || line.starts_with(".el .ds Aq");
        let first = self.text.is_empty();
        for line in part.lines().filter(|line| first || !is_definition(line)) {
            self.text.push_str(line);
            self.text.push('\n');
        }
        Ok(())
    }

    fn verb(&mut self, verb: &clap::Command) -> std::io::Result<()> {
        let man = Man::new(verb.clone());
        let mut of_verb = Page { text: format!(".SH \"heapkeeper {}\"\n", verb.get_name()) };
        of_verb.part(|out| man.render_synopsis_section(out))?;
        of_verb.part(|out| man.render_description_section(out))?;
        of_verb.part(|out| man.render_options_section(out))?;
        if verb.get_after_help().is_some() {
            of_verb.part(|out| man.render_extra_section(out))?;
        }
        let (head, rest) = of_verb.text.split_once('\n').expect("the heading ends its line");
        self.text.push_str(head);
        self.text.push('\n');
        self.text.push_str(&rest.replace(".SH ", ".SS ").replace(".SS EXTRA", ".SS NOTES"));
        Ok(())
    }
}
