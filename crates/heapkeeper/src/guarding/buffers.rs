//! What system calls are given: the kernel answers EFAULT at a guard, or does a part, and no trap tells.
//!
//! What goes out is looked at before the call, as its length is what is read. What comes in is looked at afterwards, for as much as came, as
//! programs may offer more room than they have and know that less will come: the pages behind the block are open meanwhile, lest a message be lost.

use super::findings::{Told, kind_of, place_of};
use crate::process::{Host, ProcessHeap};
use hk_format::{AccessKind, Call, Evidence};
use hk_guard::{Fault, Life};
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
        let (address, end) = (buffer.addr(), buffer.addr().saturating_add(bytes));
        let Some((own, Some(fault))) = self.guarding.guards.buffer_at(address, bytes) else { return false };
        self.report_buffer(&fault, address + own, bytes - own, AccessKind::Read, &Registers::capture());
        self.guarding.guards.open_pages(address + own, end)
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
