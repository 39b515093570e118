//! What system calls are given: the kernel answers EFAULT at a guard, and no trap tells.

use super::findings::{Told, kind_of, place_of};
use crate::process::{Host, ProcessHeap};
use hk_format::{AccessKind, Call, Evidence};
use hk_recorder::{Access, Registers};

const PAGE_BYTES: usize = 4096;

impl<H: Host> ProcessHeap<H> {
    /// Whether a buffer may be of a guarded block, so that it is worth a look.
    #[inline]
    pub fn may_be_guarded(&self, buffer: *const u8) -> bool {
        self.guarding.guards.contains(buffer.addr())
    }

    /// Looks at a buffer that a system call is given: reports if it is not a live block's own, and opens its pages, so that the call does what
    /// it would do without guards. `writes`: the system is to write there.
    #[cold]
    #[inline(never)]
    pub fn check_buffer(&self, buffer: *const u8, bytes: usize, writes: bool) {
        let guards = &self.guarding.guards;
        let Some((own, Some(fault))) = guards.buffer_at(buffer.addr(), bytes) else { return };
        let _errno = hk_os::Errno::keep();
        let access = if writes { AccessKind::Write } else { AccessKind::Read };
        let address = buffer.addr() + own;
        let told = Told {
            kind: kind_of(fault.kind, access),
            call: Call::SystemCall,
            place: place_of(&fault.life, address),
            address,
            evidence: Evidence::Buffer,
            access: Access { kind: Some(access), bytes: (bytes - own) as u64, code: &[] },
            opened: true,
        };
        self.report_fault(&fault, &told, &Registers::capture());
        let mut page = address;
        while page < buffer.addr() + bytes && guards.open_page(page) {
            page = (page / PAGE_BYTES + 1) * PAGE_BYTES;
        }
    }
}
