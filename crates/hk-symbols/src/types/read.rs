//! Types and variables as DWARF has them.

use crate::elf::Bytes;
use gimli::{AttributeValue, DebuggingInformationEntry, Dwarf, Operation, Unit, UnitOffset};
use std::collections::HashMap;

type Entry = DebuggingInformationEntry<Bytes>;

/// Names of types of types: longer chains are damage.
const CHAIN_MAX: usize = 32;
/// Bytes of an address.
const POINTER_BYTES: u64 = 8;

/// A type, by where it is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TypeId(usize);

/// What matters of a type here.
pub(super) enum Shape {
    /// What it leads to, if that is said.
    Pointer(Option<TypeId>),
    /// A structure, class or union.
    Record(Vec<Member>),
    Array {
        element: TypeId,
        /// Of each dimension; 0 where it is open.
        lengths: Vec<u64>,
    },
}

/// A member of a record, or a class that it is derived from.
pub(super) struct Member {
    pub(super) name: Option<String>,
    pub(super) offset: u64,
    pub(super) of: TypeId,
    /// An array without a length, at the end.
    pub(super) is_open: bool,
}

/// Those of one module.
pub(super) struct Types {
    dwarf: Dwarf<Bytes>,
    /// With where each begins.
    units: Vec<(usize, Unit<Bytes>)>,
    /// Variables with their types, by address.
    variables: Vec<(u64, TypeId)>,
    /// Records by name, for units that only declare them; None where there are several that differ.
    records: HashMap<String, Option<(TypeId, u64)>>,
}

impl Types {
    /// Finds all variables and records. Damaged units are left out: the others still serve.
    pub(super) fn read(dwarf: Dwarf<Bytes>) -> Types {
        let mut types = Types { units: Vec::new(), variables: Vec::new(), records: HashMap::new(), dwarf };
        let mut headers = types.dwarf.units();
        while let Ok(Some(header)) = headers.next() {
            let start = header.debug_info_offset().map(|offset| offset.0);
            if let (Some(start), Ok(unit)) = (start, types.dwarf.unit(header)) {
                types.units.push((start, unit));
            }
        }
        let units = std::mem::take(&mut types.units);
        for (start, unit) in &units {
            let mut entries = unit.entries();
            while let Ok(Some(entry)) = entries.next_dfs() {
                types.note(*start, unit, entry);
            }
        }
        types.units = units;
        types.variables.sort_unstable_by_key(|&(address, _)| address);
        types
    }

    fn note(&mut self, start: usize, unit: &Unit<Bytes>, entry: &Entry) {
        match entry.tag() {
            gimli::DW_TAG_variable => {
                if let Some(address) = self.address(unit, entry)
                    && let Some(of) = self.type_or_that_of_declaration(start, unit, entry)
                {
                    self.variables.push((address, of));
                }
            }
            tag if is_record(tag) => {
                if let Some(bytes) = number(entry, gimli::DW_AT_byte_size)
                    && let Some(name) = self.name(unit, entry)
                {
                    let found = (TypeId(start + entry.offset().0), bytes);
                    let known = self.records.entry(name).or_insert(Some(found));
                    if known.is_some_and(|(_, known_bytes)| known_bytes != bytes) {
                        *known = None;
                    }
                }
            }
            _ => {}
        }
    }

    /// Where a variable lies that has one address for all threads.
    fn address(&self, unit: &Unit<Bytes>, entry: &Entry) -> Option<u64> {
        let expression = entry.attr(gimli::DW_AT_location)?.exprloc_value()?;
        let mut operations = expression.operations(unit.encoding());
        let address = match operations.next().ok()?? {
            Operation::Address { address } => address,
            Operation::AddressIndex { index } => self.dwarf.address(unit, index).ok()?,
            _ => return None,
        };
        // Anything more computes another place: that of a thread's own variable.
        operations.next().ok()?.is_none().then_some(address)
    }

    /// C++ says the type where a variable is declared.
    fn type_or_that_of_declaration(&self, start: usize, unit: &Unit<Bytes>, entry: &Entry) -> Option<TypeId> {
        if let Some(of) = type_of(start, entry) {
            return Some(of);
        }
        let declared = entry
            .attr_value(gimli::DW_AT_specification)
            .or_else(|| entry.attr_value(gimli::DW_AT_abstract_origin))?;
        let AttributeValue::UnitRef(offset) = declared else { return None };
        type_of(start, &unit.entry(offset).ok()?)
    }

    /// The start and the type of the variable that an address lies in.
    pub(super) fn variable(&self, address: u64) -> Option<(u64, TypeId)> {
        let after = self.variables.partition_point(|&(start, _)| start <= address);
        let (start, of) = *self.variables[..after].last()?;
        (address - start < self.size(of, CHAIN_MAX as u32)?).then_some((start, of))
    }

    /// In bytes, if it is known.
    pub(super) fn size(&self, of: TypeId, depth: u32) -> Option<u64> {
        let depth = depth.checked_sub(1)?;
        let (start, unit, entry) = self.entry(of)?;
        if let Some(bytes) = number(&entry, gimli::DW_AT_byte_size) {
            return Some(bytes);
        }
        match entry.tag() {
            gimli::DW_TAG_pointer_type
            | gimli::DW_TAG_reference_type
            | gimli::DW_TAG_rvalue_reference_type => Some(POINTER_BYTES),
            gimli::DW_TAG_array_type => {
                let element = self.size(type_of(start, &entry)?, depth)?;
                lengths(unit, &entry)?.iter().try_fold(element, |bytes, length| bytes.checked_mul(*length))
            }
            _ => None,
        }
    }

    /// Whether the record ends with an array without a length.
    pub(super) fn has_open_end(&self, of: TypeId) -> bool {
        matches!(self.shape(of), Some(Shape::Record(members)) if members.iter().any(|member| member.is_open))
    }

    /// None if it is neither a pointer nor has parts, or is not known.
    pub(super) fn shape(&self, of: TypeId) -> Option<Shape> {
        let (start, unit, entry) = self.entry(of)?;
        match entry.tag() {
            gimli::DW_TAG_pointer_type
            | gimli::DW_TAG_reference_type
            | gimli::DW_TAG_rvalue_reference_type => Some(Shape::Pointer(type_of(start, &entry))),
            tag if is_record(tag) => Some(Shape::Record(self.members(start, unit, &entry))),
            gimli::DW_TAG_array_type => {
                Some(Shape::Array { element: type_of(start, &entry)?, lengths: lengths(unit, &entry)? })
            }
            _ => None,
        }
    }

    fn members(&self, start: usize, unit: &Unit<Bytes>, entry: &Entry) -> Vec<Member> {
        let mut members = Vec::new();
        for_each_child(unit, entry, |child| {
            let is_part = matches!(child.tag(), gimli::DW_TAG_member | gimli::DW_TAG_inheritance);
            let is_whole =
                child.attr(gimli::DW_AT_bit_size).is_none() && child.attr(gimli::DW_AT_external).is_none();
            if let Some(of) = type_of(start, child).filter(|_| is_part && is_whole) {
                // A union's members may have no offset.
                let offset = number(child, gimli::DW_AT_data_member_location).unwrap_or(0);
                members.push(Member { name: self.name(unit, child), offset, of, is_open: self.is_open(of) });
            }
        });
        members
    }

    fn is_open(&self, of: TypeId) -> bool {
        let Some((_, unit, entry)) = self.entry(of) else { return false };
        entry.tag() == gimli::DW_TAG_array_type
            && lengths(unit, &entry).is_some_and(|lengths| lengths.first() == Some(&0))
    }

    /// The entry of a type, without names and qualifiers; of a record that is only declared that of its definition.
    fn entry(&self, of: TypeId) -> Option<(usize, &Unit<Bytes>, Entry)> {
        let mut of = of;
        for _ in 0..CHAIN_MAX {
            let at = self.units.partition_point(|(start, _)| *start <= of.0).checked_sub(1)?;
            let (start, unit) = &self.units[at];
            let entry = unit.entry(UnitOffset(of.0 - start)).ok()?;
            of = match entry.tag() {
                gimli::DW_TAG_typedef
                | gimli::DW_TAG_const_type
                | gimli::DW_TAG_volatile_type
                | gimli::DW_TAG_restrict_type
                | gimli::DW_TAG_atomic_type => type_of(*start, &entry)?,
                // Declared, or left without its members as the unit uses none.
                tag if is_record(tag) && entry.attr(gimli::DW_AT_byte_size).is_none() => {
                    let name = self.name(unit, &entry)?;
                    self.records.get(&name).copied().flatten()?.0
                }
                _ => return Some((*start, unit, entry)),
            };
        }
        None
    }

    fn name(&self, unit: &Unit<Bytes>, entry: &Entry) -> Option<String> {
        let name = self.dwarf.attr_string(unit, entry.attr_value(gimli::DW_AT_name)?).ok()?;
        Some(String::from_utf8_lossy(name.bytes()).into_owned())
    }
}

fn is_record(tag: gimli::DwTag) -> bool {
    matches!(tag, gimli::DW_TAG_structure_type | gimli::DW_TAG_class_type | gimli::DW_TAG_union_type)
}

/// The type that an entry says it is of, or leads to.
fn type_of(start: usize, entry: &Entry) -> Option<TypeId> {
    match entry.attr_value(gimli::DW_AT_type)? {
        AttributeValue::UnitRef(offset) => Some(TypeId(start + offset.0)),
        AttributeValue::DebugInfoRef(offset) => Some(TypeId(offset.0)),
        _ => None,
    }
}

fn number(entry: &Entry, name: gimli::DwAt) -> Option<u64> {
    entry.attr(name)?.udata_value()
}

/// The lengths of an array's dimensions; 0 where there is none.
fn lengths(unit: &Unit<Bytes>, entry: &Entry) -> Option<Vec<u64>> {
    let mut lengths = Vec::new();
    for_each_child(unit, entry, |child| {
        if child.tag() == gimli::DW_TAG_subrange_type {
            let count = number(child, gimli::DW_AT_count);
            let last = number(child, gimli::DW_AT_upper_bound);
            // GCC gives an array of no elements the last index -1.
            lengths.push(count.or(last.map(|last| last.wrapping_add(1))).unwrap_or(0));
        }
    });
    (!lengths.is_empty()).then_some(lengths)
}

fn for_each_child(unit: &Unit<Bytes>, entry: &Entry, mut each: impl FnMut(&Entry)) {
    let Ok(mut entries) = unit.entries_at_offset(entry.offset()) else { return };
    if !entry.has_children()
        || !matches!(entries.next_dfs(), Ok(Some(_)))
        || !matches!(entries.next_entry(), Ok(true))
    {
        return;
    }
    loop {
        match entries.current() {
            Some(child) => each(child),
            None => return,
        }
        if !matches!(entries.next_sibling(), Ok(Some(_))) {
            return;
        }
    }
}
