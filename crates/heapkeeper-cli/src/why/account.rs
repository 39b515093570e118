//! The account: every resident byte is in one part, and the parts sum to what is resident.

use super::heap::HeapUse;
use super::seen::{Mapping, Seen};
use hk_format::AreaKind;
use hk_graph::Snapshot;
use serde::Serialize;
use std::collections::BTreeMap;

/// What memory is used for. If pages are there that the system does not count, as zeros that are read and were never written, they are taken off the
/// first of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Of the heap, in no span.
    FreeSpans,
    /// Free blocks of spans that are in use.
    FreeBlocks,
    /// Free blocks that threads have at hand.
    ThreadCaches,
    /// Freed blocks that are retained.
    Retained,
    /// What guarded blocks leave of their pages.
    Guards,
    /// The library's own.
    Own,
    /// Live blocks, as requested.
    Live,
    /// What rounding up made live blocks larger by.
    Rounding,
    /// Mappings without a file.
    Anonymous,
    /// What brk(2) gave.
    Brk,
    /// Stacks of threads.
    Stacks,
    /// What the program and its libraries have written to.
    ModuleData,
    /// What they have not.
    ModuleCode,
    /// Mapped files.
    File,
    /// Pages of files mapped for this process alone, that it has written to.
    FileCopies,
    /// Shared memory.
    Shared,
    /// What came between the look at mappings and that at pages.
    Meanwhile,
}

/// A part, of one kind and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Resident bytes.
    pub bytes: u64,
    /// The largest mapping, if it is of mappings, by what is resident: bytes and first address.
    pub largest: (u64, u64),
}

/// See the module head.
#[derive(Debug, Default)]
pub struct Account {
    /// By kind, and the name of a file or mapping. None is empty.
    pub parts: BTreeMap<(Kind, String), Part>,
    /// All parts together.
    pub resident: u64,
}

impl Account {
    /// Of a process that was looked at right after the moment of the snapshot.
    pub fn new(snapshot: &Snapshot, seen: &Seen, heap: &HeapUse) -> Account {
        let mut account = Account { resident: seen.resident(), ..Account::default() };
        let rounding = heap.rounding.unwrap_or(0);
        account.add(Kind::Live, heap.live - rounding);
        account.add(Kind::Rounding, rounding);
        account.add(Kind::Retained, heap.retained);
        account.add(Kind::ThreadCaches, heap.available);
        account.add(Kind::FreeBlocks, heap.free);
        account.add(Kind::FreeSpans, heap.free_spans);
        account.add(Kind::Guards, heap.guards);
        account.add(Kind::Own, heap.own);
        let mut uncounted = 0;
        for mapping in &seen.mappings {
            uncounted += account.mapping(mapping, snapshot, seen);
        }
        account.take_off(uncounted);
        account.parts.retain(|_, part| part.bytes > 0);
        account
    }

    /// Adds a mapping, less what of it is the heap's and was added before. Gives the bytes by which its pages are more than the system counts.
    fn mapping(&mut self, mapping: &Mapping, snapshot: &Snapshot, seen: &Seen) -> u64 {
        let (kind, name) = owner(mapping, snapshot);
        if !mapping.is_paged {
            self.add_files(mapping, kind, name);
            return 0;
        }
        let paged = seen.present.bytes(mapping.start, mapping.end);
        let of_areas = snapshot.areas.iter().map(|area| {
            let (start, end) = (area.start.max(mapping.start), (area.start + area.bytes).min(mapping.end));
            if start < end { seen.present.bytes(start, end) } else { 0 }
        });
        let left = paged.saturating_sub(of_areas.sum());
        if left > 0 {
            self.add_mapping(mapping, kind, name, left);
        }
        self.add(Kind::Meanwhile, mapping.resident.saturating_sub(paged));
        paged.saturating_sub(mapping.resident)
    }

    /// A mapping of a file: pages that are no file's any more are apart.
    fn add_files(&mut self, mapping: &Mapping, kind: Kind, name: String) {
        let copies = match kind {
            Kind::ModuleCode => Some((Kind::ModuleData, String::new())),
            Kind::File => Some((Kind::FileCopies, name.clone())),
            _ => None,
        };
        let Some((copies, copies_name)) = copies else {
            return self.add_mapping(mapping, kind, name, mapping.resident);
        };
        let copied = mapping.anonymous.min(mapping.resident);
        self.add_mapping(mapping, copies, copies_name, copied);
        self.add_mapping(mapping, kind, name, mapping.resident - copied);
    }

    fn add_mapping(&mut self, mapping: &Mapping, kind: Kind, name: String, bytes: u64) {
        if bytes > 0 {
            let part = self.parts.entry((kind, name)).or_default();
            part.bytes += bytes;
            part.largest = part.largest.max((bytes, mapping.start));
        }
    }

    fn add(&mut self, kind: Kind, bytes: u64) {
        self.parts.entry((kind, String::new())).or_default().bytes += bytes;
    }

    /// What a heap gives back is free memory: so that goes first.
    fn take_off(&mut self, mut bytes: u64) {
        for part in self.parts.values_mut() {
            let taken = part.bytes.min(bytes);
            part.bytes -= taken;
            bytes -= taken;
        }
    }

    /// Tenths of a percent of all parts, in their order. They sum to 1000 exactly: what rounding down leaves goes to those that lost most by it.
    pub fn permilles(&self) -> Vec<u64> {
        let whole = u128::from(self.resident.max(1));
        let thousands: Vec<u128> = self.parts.values().map(|part| u128::from(part.bytes) * 1000).collect();
        let mut permilles: Vec<u64> = thousands.iter().map(|part| (part / whole) as u64).collect();
        let mut order: Vec<usize> = (0..permilles.len()).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(thousands[at] % whole));
        let left = 1000_u64.saturating_sub(permilles.iter().sum()) as usize;
        order.iter().take(left).for_each(|&at| permilles[at] += 1);
        permilles
    }
}

/// Whose a mapping is, and its name, where that tells more.
fn owner(mapping: &Mapping, snapshot: &Snapshot) -> (Kind, String) {
    let name = &mapping.name;
    let overlaps = |start: u64, end: u64| mapping.start < end && start < mapping.end;
    let is_own = snapshot
        .areas
        .iter()
        .any(|area| area.kind == AreaKind::Own as u32 && overlaps(area.start, area.start + area.bytes));
    let is_of_module =
        || snapshot.modules.iter().any(|module| overlaps(module.header.start, module.header.end));
    let is_stack = || {
        let mut threads = snapshot.threads.iter();
        threads.any(|thread| (mapping.start..mapping.end).contains(&thread.stack_pointer))
    };
    let is_memory =
        ["/dev/shm/", "/memfd:", "/SYSV", "/dev/zero"].iter().any(|start| name.starts_with(start));
    match () {
        () if mapping.has_file && (is_own || file_name(name).starts_with("libheapkeeper-")) => {
            (Kind::Own, String::new())
        }
        () if mapping.has_file && is_memory => (Kind::Shared, name.clone()),
        () if mapping.has_file && is_of_module() => (Kind::ModuleCode, String::new()),
        () if mapping.has_file => (Kind::File, name.clone()),
        () if name == "[heap]" => (Kind::Brk, String::new()),
        () if name == "[stack]" || is_stack() => (Kind::Stacks, String::new()),
        () if is_of_module() => (Kind::ModuleData, String::new()),
        () if mapping.is_shared => (Kind::Shared, name.clone()),
        // The kernel's pages, which programs call: [vdso].
        () if name.starts_with("[v") => (Kind::ModuleCode, String::new()),
        () => (Kind::Anonymous, name.clone()),
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(parts: &[(Kind, u64)]) -> Account {
        let mut account =
            Account { resident: parts.iter().map(|(_, bytes)| bytes).sum(), ..Account::default() };
        parts.iter().for_each(|&(kind, bytes)| account.add(kind, bytes));
        account
    }

    #[test]
    fn tenths_of_percents_sum_to_a_hundred_percent() {
        let thirds = account(&[(Kind::FreeBlocks, 1), (Kind::Own, 1), (Kind::Live, 1)]);
        assert_eq!(thirds.permilles(), [334, 333, 333]);
        let sixths = account(&[(Kind::FreeBlocks, 1), (Kind::Own, 4), (Kind::Live, 1)]);
        assert_eq!(sixths.permilles(), [167, 667, 166]);
        assert_eq!(account(&[(Kind::Live, u64::MAX)]).permilles(), [1000]);
        assert!(Account::default().permilles().is_empty());
    }

    #[test]
    fn what_the_system_does_not_count_is_taken_off_free_memory_first() {
        let mut account = account(&[(Kind::Live, 100), (Kind::FreeSpans, 10), (Kind::FreeBlocks, 20)]);
        account.take_off(25);
        let left: Vec<(Kind, u64)> =
            account.parts.iter().map(|((kind, _), part)| (*kind, part.bytes)).collect();
        assert_eq!(left, [(Kind::FreeSpans, 0), (Kind::FreeBlocks, 5), (Kind::Live, 100)]);
    }
}
