//! From what guards say to a finding with the block's life.

use super::population::site_of;
use crate::process::{Host, ProcessHeap};
use core::sync::atomic::Ordering;
use hk_format::{AccessKind, Call, Evidence, Family, FindingKind, Place};
use hk_guard::{Damage, Event, Fault, FaultKind, Life};
use hk_recorder::{Access, BadCall, BlockEvent, BlockLife, Registers, StackId, print_line};

/// What is told of a finding beside the block's life.
pub(crate) struct Told<'a> {
    pub(crate) kind: FindingKind,
    pub(crate) call: Call,
    pub(crate) place: Place,
    pub(crate) address: usize,
    pub(crate) evidence: Evidence,
    pub(crate) access: Access<'a>,
    /// The page was opened, or will be, so that the access goes on.
    pub(crate) opened: bool,
}

/// The kind of an access beyond a block, or after its free.
pub(crate) fn kind_of(fault: FaultKind, access: AccessKind) -> FindingKind {
    match (fault, access) {
        (FaultKind::AfterFree, _) => FindingKind::UseAfterFree,
        (FaultKind::PastEnd, AccessKind::Write) => FindingKind::OverrunWrite,
        (FaultKind::PastEnd, _) => FindingKind::OverrunRead,
        (FaultKind::BeforeStart, AccessKind::Write) => FindingKind::UnderrunWrite,
        (FaultKind::BeforeStart, _) => FindingKind::UnderrunRead,
    }
}

/// Where an address lies in relation to its block.
pub(crate) fn place_of(life: &Life, address: usize) -> Place {
    let inside = (life.start..life.start + life.requested_bytes.max(1)).contains(&address);
    match (inside, life.is_live) {
        (true, true) => Place::InsideLiveBlock,
        (true, false) if address == life.start => Place::FreeBlock,
        (true, false) => Place::InsideFreeBlock,
        (false, _) => Place::NoBlock,
    }
}

fn family(number: u8) -> Family {
    Family::from_u32(u32::from(number)).unwrap_or(Family::Unknown)
}

impl<H: Host> ProcessHeap<H> {
    /// What stands beside a block was overwritten.
    pub(crate) fn report_damage(&self, call: Call, life: &Life, damage: Damage, registers: &Registers) {
        let behind = damage.start >= life.start + life.requested_bytes;
        let kind = if behind { FindingKind::OverrunWrite } else { FindingKind::UnderrunWrite };
        self.report_guarded(&overwritten(kind, call, Place::NoBlock, damage), Some(life), registers);
    }

    /// A freed block was written to while it waited for its guards.
    pub(crate) fn report_written(&self, life: &Life, damage: Damage, registers: &Registers) {
        let place = place_of(life, damage.start);
        let told = overwritten(FindingKind::UseAfterFree, Call::Exit, place, damage);
        self.report_guarded(&told, Some(life), registers);
    }

    pub(crate) fn report_mismatch(&self, call: Call, life: &Life, registers: &Registers) {
        let told = call_told(FindingKind::MismatchedDeallocation, call, Place::InsideLiveBlock, life.start);
        self.report_guarded(&told, Some(life), registers);
    }

    pub(crate) fn report_layout(&self, call: Call, life: &Life, registers: &Registers) {
        let told = call_told(FindingKind::WrongLayout, call, Place::InsideLiveBlock, life.start);
        self.report_guarded(&told, Some(life), registers);
    }

    pub(crate) fn report_freed_block(&self, call: Call, address: usize, life: &Life, registers: &Registers) {
        let kind = match call {
            Call::UsableSize => FindingKind::UseAfterFree,
            _ => FindingKind::DoubleFree,
        };
        self.report_guarded(&call_told(kind, call, Place::FreeBlock, address), Some(life), registers);
    }

    pub(crate) fn report_not_start(&self, call: Call, address: usize, life: &Life, registers: &Registers) {
        let place = place_of(life, address);
        let kind = match place {
            Place::NoBlock => FindingKind::NotOfHeap,
            _ => FindingKind::NotBlockStart,
        };
        self.report_guarded(&call_told(kind, call, place, address), Some(life), registers);
    }

    pub(crate) fn report_no_block(&self, call: Call, address: usize, registers: &Registers) {
        let told = call_told(FindingKind::NotOfHeap, call, Place::NoBlock, address);
        self.report_guarded(&told, None, registers);
    }

    pub(crate) fn report_fault(&self, fault: &Fault, told: &Told<'_>, registers: &Registers) {
        self.report_guarded(told, Some(&fault.life), registers);
    }

    fn report_guarded(&self, told: &Told<'_>, life: Option<&Life>, registers: &Registers) {
        let time_ns = hk_os::now_ns();
        self.heap.notice_fork();
        let abort = self.abort_on_finding.load(Ordering::Relaxed);
        let life_told = life.map(|life| self.block_life(life, told.opened && !abort));
        let bad = BadCall {
            kind: told.kind,
            call: told.call,
            place: told.place,
            address: told.address as u64,
            block_start: life.map_or(0, |life| life.start as u64),
            block_bytes: life.map_or(0, |life| life.requested_bytes as u64),
            place_start: 0,
            place_end: 0,
            place_name: b"",
            aborted: abort,
            time_ns,
            evidence: told.evidence,
            access: told.access,
            life: life_told.as_ref(),
            leak: None,
        };
        self.tell(&bad, registers);
        if let Some(life) = life {
            self.watch_site_of(life);
        }
        if abort {
            self.stop.abort();
        }
    }

    /// Records it, or prints its line where there is no recording.
    pub(crate) fn tell(&self, bad: &BadCall<'_>, registers: &Registers) {
        self.stop.record(|| {
            let recorded = self.recording.record_finding(bad, registers, H::INNERMOST);
            if !self.recording.is_open() && recorded.first {
                print_line(bad, &recorded, self.recording.is_refused());
            }
        });
    }

    /// From now on all blocks of the site are guarded, for a while.
    fn watch_site_of(&self, life: &Life) {
        let guarding = &self.guarding;
        if !guarding.is_all() {
            let site = site_of(&guarding.stacks, StackId::from_number(life.allocated.stack));
            guarding.sites.watch(site);
        }
    }

    pub(crate) fn block_life(&self, life: &Life, opened: bool) -> BlockLife<'_> {
        let guarding = &self.guarding;
        let site = site_of(&guarding.stacks, StackId::from_number(life.allocated.stack));
        let figures = guarding.population.figures(site);
        BlockLife {
            requested_bytes: life.requested_bytes as u64,
            align_bytes: life.align_bytes as u64,
            pages_start: life.pages_start as u64,
            pages_end: life.pages_end as u64,
            opened,
            site_blocks: figures.blocks,
            site_frees: figures.frees,
            allocated: self.block_event(life.allocated, family(life.family)),
            freed: (life.freed.time_ns != 0).then(|| self.block_event(life.freed, Family::Unknown)),
            free_sites: figures.free_sites,
            stacks: &guarding.stacks,
        }
    }

    fn block_event(&self, event: Event, family: Family) -> BlockEvent {
        BlockEvent {
            stack: StackId::from_number(event.stack),
            time_ns: event.time_ns,
            tid: event.thread,
            thread_name: self.name_of(event.thread),
            family,
        }
    }
}

impl<H: Host> ProcessHeap<H> {
    /// A thread's name: the present one of the calling thread, else what was taken down at its first event or its end.
    fn name_of(&self, thread: u32) -> [u8; 16] {
        if thread == hk_recorder::tid() {
            hk_recorder::thread_name()
        } else {
            self.guarding.names.get(thread)
        }
    }
}

fn call_told(kind: FindingKind, call: Call, place: Place, address: usize) -> Told<'static> {
    Told { kind, call, place, address, evidence: Evidence::Call, access: Access::default(), opened: false }
}

/// What a canary tells: somebody wrote there, at some time.
fn overwritten(kind: FindingKind, call: Call, place: Place, damage: Damage) -> Told<'static> {
    let bytes = (damage.end - damage.start) as u64;
    Told {
        kind,
        call,
        place,
        address: damage.start,
        evidence: Evidence::Canary,
        access: Access { kind: Some(AccessKind::Write), bytes, code: &[] },
        opened: false,
    }
}
