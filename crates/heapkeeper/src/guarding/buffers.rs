//! What system calls are given: the kernel answers EFAULT at a guard, or does a part, and no trap tells.
//!
//! What goes out is looked at before the call, as its length is what is read. What comes in is looked at afterwards, for as much as came, as
//! programs may offer more room than they have and know that less will come: the pages behind the block are open meanwhile, lest a message be lost.

use super::findings::{Told, kind_of, place_of};
use crate::process::{Host, ProcessHeap};
use hk_format::{AccessKind, Call, Evidence};
use hk_guard::{Fault, Life};
use hk_heap::REQUEST_BYTES_MAX;
use hk_recorder::{Access, Registers};

/// A buffer that something is about to come into.
#[derive(Clone, Copy, Debug)]
pub struct Incoming {
    address: usize,
    /// Bytes from there on that are the block's own.
    own: usize,
    /// The block, if the buffer goes beyond it.
    beyond: Option<Life>,
    end: usize,
}

impl<H: Host> ProcessHeap<H> {
    /// Whether a buffer may be of a guarded block, so that it is worth a look.
    #[inline]
    pub fn may_be_guarded(&self, buffer: *const u8) -> bool {
        self.guarding.guards.contains(buffer.addr())
    }

    /// Looks at a buffer that goes out: reports if it is not a live block's own, and opens its pages, so that the call does what it would do
    /// without guards. True if it did.
    #[cold]
    #[inline(never)]
    pub fn check_outgoing(&self, buffer: *const u8, bytes: usize) -> bool {
        self.check_buffer(buffer.addr(), bytes, AccessKind::Read)
    }

    /// The same of what the call fills as a whole.
    #[cold]
    #[inline(never)]
    pub fn check_filled(&self, buffer: *const u8, bytes: usize) -> bool {
        self.check_buffer(buffer.addr(), bytes, AccessKind::Write)
    }

    #[inline(always)]
    fn check_buffer(&self, address: usize, bytes: usize, access: AccessKind) -> bool {
        let guards = &self.guarding.guards;
        let Some((own, Some(fault))) = guards.buffer_at(address, bytes) else { return false };
        self.report_buffer(&fault, address + own, bytes - own, access, &Registers::capture());
        guards.open_pages(address + own, address.saturating_add(bytes))
    }

    /// The same of a buffer of which the call fills as much as comes, which is not known yet: that it is larger than its block is no mistake.
    #[cold]
    #[inline(never)]
    pub fn check_room(&self, buffer: *const u8, bytes: usize) {
        let guards = &self.guarding.guards;
        let address = buffer.addr();
        if let Some((0, Some(fault))) = guards.buffer_at(address, bytes) {
            self.report_buffer(&fault, address, 0, AccessKind::Write, &Registers::capture());
            guards.open_pages(address, address.saturating_add(bytes));
        }
    }

    /// The same of a text that ends with a NUL.
    #[cold]
    #[inline(never)]
    pub fn check_text(&self, text: *const u8) {
        let guards = &self.guarding.guards;
        let address = text.addr();
        let (fault, from, end) = match guards.buffer_at(address, REQUEST_BYTES_MAX) {
            Some((own, Some(fault))) if own > 0 => {
                // SAFETY: so many bytes are a live block's own.
                let found = unsafe { libc::memchr(text.cast(), 0, own) };
                if !found.is_null() {
                    return;
                }
                (fault, address + own, address + own + 1)
            }
            // How far a freed text went nobody knows any more.
            Some((_, Some(fault))) => {
                (fault, address, (fault.life.start + fault.life.requested_bytes).max(address + 1))
            }
            _ => return,
        };
        self.report_buffer(&fault, from, 0, AccessKind::Read, &Registers::capture());
        guards.open_pages(from, end);
    }

    /// Before something comes into a buffer. One of a freed block is reported at once.
    #[cold]
    #[inline(never)]
    pub fn before_incoming(&self, buffer: *const u8, bytes: usize) -> Incoming {
        let guards = &self.guarding.guards;
        let (address, end) = (buffer.addr(), buffer.addr().saturating_add(bytes));
        let (own, fault) = guards.buffer_at(address, bytes).unwrap_or((bytes, None));
        let mut incoming = Incoming { address, own, beyond: None, end };
        let Some(fault) = fault else { return incoming };
        if !fault.life.is_live {
            self.report_buffer(&fault, address, bytes, AccessKind::Write, &Registers::capture());
            incoming.own = bytes;
        } else {
            incoming.beyond = Some(fault.life);
        }
        guards.open_pages(address + own, end);
        incoming
    }

    /// `came` bytes have come.
    #[cold]
    #[inline(never)]
    pub fn after_incoming(&self, incoming: &Incoming, came: usize) {
        let Incoming { address, own, beyond: Some(life), end } = *incoming else { return };
        let guards = &self.guarding.guards;
        if came <= own {
            return guards.close_behind(&life, end);
        }
        let came = came.min(end - address);
        let fault = guards.buffer_at(address, came).and_then(|(_, fault)| fault);
        if let Some(fault) = fault {
            self.report_buffer(&fault, address + own, came - own, AccessKind::Write, &Registers::capture());
        }
    }

    fn report_buffer(
        &self,
        fault: &Fault,
        address: usize,
        bytes: usize,
        access: AccessKind,
        registers: &Registers,
    ) {
        let _errno = hk_os::Errno::keep();
        let told = Told {
            kind: kind_of(fault.kind, access),
            call: Call::SystemCall,
            place: place_of(&fault.life, address),
            address,
            evidence: Evidence::Buffer,
            access: Access { kind: Some(access), bytes: bytes as u64, code: &[] },
            opened: true,
        };
        self.report_fault(fault, &told, registers);
    }
}
