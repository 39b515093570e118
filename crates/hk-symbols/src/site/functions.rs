//! Functions by name: from DWARF, which knows inlined ones too, and from the symbol table.

use super::{SiteError, near};
use crate::elf::{Bytes, Symbol};
use crate::name::{demangle, short_name};
use gimli::{AttributeValue, DebuggingInformationEntry, Dwarf, Unit};
use std::ops::Range;

type Entry = DebuggingInformationEntry<Bytes>;

/// From an inlined call to its function to that one's declaration: longer chains are damage.
const CHAIN_MAX: usize = 4;

pub(super) fn find(
    dwarf: Option<&Dwarf<Bytes>>,
    symbols: &[Symbol],
    name: &str,
) -> Result<Vec<Range<u64>>, SiteError> {
    if dwarf.is_none() && symbols.is_empty() {
        return Err(SiteError::NoProgram);
    }
    let mut found = dwarf.map_or(Vec::new(), |dwarf| Search { dwarf, units: units(dwarf), name }.ranges());
    for symbol in symbols.iter().filter(|symbol| is_meant(name, &demangle(&symbol.name))) {
        // Hand-written code may have no size.
        found.push(symbol.start..symbol.start + symbol.bytes.max(1));
    }
    match found.is_empty() {
        false => Ok(found),
        true => Err(SiteError::Unknown(near::names(name, symbols.iter().map(|symbol| short(&symbol.name))))),
    }
}

/// Whether a readable name is the one that is asked for: whole, without its parameters, or its last parts.
fn is_meant(asked: &str, function: &str) -> bool {
    let short = short_name(without_clone(function));
    let ends_so = |name: &str| name.strip_suffix(asked).is_some_and(|before| before.ends_with("::"));
    function == asked || short == asked || ends_so(&short) || asked.contains('(') && ends_so(function)
}

/// GCC's parts of a C function: `total.part.0`, `total.cold`.
fn without_clone(function: &str) -> &str {
    let is_c = function.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    if is_c && !function.starts_with('.') { function.split('.').next().unwrap_or(function) } else { function }
}

fn short(symbol: &str) -> String {
    short_name(without_clone(&demangle(symbol)))
}

/// Damaged units are left out: the others still serve.
fn units(dwarf: &Dwarf<Bytes>) -> Vec<Unit<Bytes>> {
    let mut headers = dwarf.units();
    let mut units = Vec::new();
    while let Ok(Some(header)) = headers.next() {
        units.extend(dwarf.unit(header).ok());
    }
    units
}

struct Search<'a> {
    dwarf: &'a Dwarf<Bytes>,
    units: Vec<Unit<Bytes>>,
    name: &'a str,
}

impl Search<'_> {
    fn ranges(&self) -> Vec<Range<u64>> {
        let mut found = Vec::new();
        for unit in &self.units {
            let mut entries = unit.entries();
            while let Ok(Some(entry)) = entries.next_dfs() {
                let has_code =
                    matches!(entry.tag(), gimli::DW_TAG_subprogram | gimli::DW_TAG_inlined_subroutine);
                if has_code && self.is_meant(unit, entry, CHAIN_MAX) {
                    self.add(unit, entry, &mut found);
                }
            }
        }
        found
    }

    fn add(&self, unit: &Unit<Bytes>, entry: &Entry, found: &mut Vec<Range<u64>>) {
        let Ok(mut ranges) = self.dwarf.die_ranges(unit, entry) else { return };
        while let Ok(Some(range)) = ranges.next() {
            // What the linker dropped is left at 0.
            if range.begin != 0 && range.begin < range.end {
                found.push(range.begin..range.end);
            }
        }
    }

    /// By the entry's own name, or that of the function that it is an instance or the definition of.
    fn is_meant(&self, unit: &Unit<Bytes>, entry: &Entry, chain: usize) -> bool {
        let linkage =
            entry.attr_value(gimli::DW_AT_linkage_name).or(entry.attr_value(gimli::DW_AT_MIPS_linkage_name));
        let is_linkage = linkage.is_some();
        if let Some(value) = linkage.or_else(|| entry.attr_value(gimli::DW_AT_name)) {
            let raw = self.dwarf.attr_string(unit, value).ok();
            let raw = raw.as_ref().map(|raw| String::from_utf8_lossy(raw.bytes()));
            if let Some(raw) = &raw
                && is_likely(self.name, raw)
                && is_meant(self.name, &demangle(raw))
            {
                return true;
            }
            if is_linkage {
                return false;
            }
        }
        let origin =
            entry.attr_value(gimli::DW_AT_abstract_origin).or(entry.attr_value(gimli::DW_AT_specification));
        chain > 0 && origin.is_some_and(|origin| self.origin_is_meant(unit, origin, chain - 1))
    }

    fn origin_is_meant(&self, unit: &Unit<Bytes>, origin: AttributeValue<Bytes>, chain: usize) -> bool {
        let (unit, offset) = match origin {
            AttributeValue::UnitRef(offset) => (unit, offset),
            // Functions of other units are inlined by link-time optimisation.
            AttributeValue::DebugInfoRef(offset) => {
                let starts_before =
                    |unit: &Unit<Bytes>| unit.header.debug_info_offset().is_some_and(|start| start <= offset);
                let at = self.units.partition_point(starts_before);
                let Some(unit) = at.checked_sub(1).map(|at| &self.units[at]) else { return false };
                let Some(offset) = offset.to_unit_offset(&unit.header) else { return false };
                (unit, offset)
            }
            _ => return false,
        };
        unit.entry(offset).is_ok_and(|entry| self.is_meant(unit, &entry, chain))
    }
}

/// Whether the linker's name can be the one that is asked for: a look that is cheaper than to make it readable.
fn is_likely(asked: &str, raw: &str) -> bool {
    let before_parameters = asked.split(['(', '<']).next().unwrap_or(asked);
    let last = before_parameters.rsplit("::").next().unwrap_or(asked).trim_start_matches('~');
    // Operators and lambdas are spelt otherwise.
    let is_identifier =
        last.chars().all(|c| c.is_alphanumeric() || c == '_') && !last.starts_with("operator");
    !is_identifier || raw.contains(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_whole_or_its_last_parts() {
        for (asked, function, meant) in [
            ("total", "total", true),
            ("total", "total.part.0", true),
            ("total", "order_total", false),
            ("close", "shop::Table::close(int)", true),
            ("Table::close", "shop::Table::close(int) const", true),
            ("able::close", "shop::Table::close(int)", false),
            ("shop::Table::close(int)", "shop::Table::close(int)", true),
            ("close(int)", "shop::Table::close(int)", true),
            ("close(int)", "shop::Table::close(long)", false),
            ("push", "std::vector<int, std::allocator<int> >::push(int&&)", true),
            ("orders::main", "orders::main", true),
        ] {
            assert_eq!(is_meant(asked, function), meant, "{asked} {function}");
        }
        assert!(is_likely("Table::close", "_ZN4shop5Table5closeEi"));
        assert!(!is_likely("Table::open", "_ZN4shop5Table5closeEi"));
        assert!(is_likely("operator()", "_ZN4shopclEv"));
    }
}
