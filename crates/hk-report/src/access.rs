//! What a recorded instruction reads or writes.

use hk_format::AccessKind;
use iced_x86::{Decoder, DecoderOptions, Formatter, InstructionInfoFactory, IntelFormatter, OpAccess};

/// A decoded instruction.
pub(crate) struct Decoded {
    /// Bytes that it reads or writes at once; None for those that repeat, whose count is in a register.
    pub(crate) bytes: Option<u64>,
    /// In Intel's syntax.
    pub(crate) text: String,
}

/// Decodes the instruction at `address`. None if the bytes are none.
pub(crate) fn decode(code: &[u8], address: u64, kind: AccessKind) -> Option<Decoded> {
    if code.is_empty() || kind == AccessKind::Execute {
        return None;
    }
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return None;
    }
    let mut text = String::new();
    IntelFormatter::new().format(&instruction, &mut text);
    let mut factory = InstructionInfoFactory::new();
    let used = factory.info(&instruction).used_memory();
    let wanted = |access: OpAccess| match kind {
        AccessKind::Write => {
            matches!(
                access,
                OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
            )
        }
        _ => matches!(
            access,
            OpAccess::Read | OpAccess::CondRead | OpAccess::ReadWrite | OpAccess::ReadCondWrite
        ),
    };
    let bytes = used
        .iter()
        .filter(|memory| wanted(memory.access()))
        .map(|memory| memory.memory_size().size() as u64)
        .find(|&bytes| bytes != 0)
        .filter(|_| !instruction.has_rep_prefix() && !instruction.has_repne_prefix());
    Some(Decoded { bytes, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_how_many_bytes_an_instruction_accesses() {
        for (code, kind, bytes, text) in [
            (&[0x8b, 0x03][..], AccessKind::Read, Some(4), "mov eax,[rbx]"),
            (&[0xc6, 0x00, 0x41], AccessKind::Write, Some(1), "mov byte ptr [rax],41h"),
            (&[0xc5, 0xfe, 0x7f, 0x07], AccessKind::Write, Some(32), "vmovdqu [rdi],ymm0"),
            (&[0xf0, 0x48, 0xff, 0x07], AccessKind::Read, Some(8), "lock inc qword ptr [rdi]"),
            (&[0xf3, 0xa4], AccessKind::Write, None, "rep movsb [rdi],[rsi]"),
        ] {
            let decoded = decode(code, 0x1000, kind).unwrap();
            assert_eq!((decoded.bytes, decoded.text.as_str()), (bytes, text));
        }
        assert!(decode(&[0x06], 0x1000, AccessKind::Read).is_none());
        assert!(decode(&[], 0x1000, AccessKind::Read).is_none());
    }
}
