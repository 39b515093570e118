//! The rules by which a frame's caller is found, from `.eh_frame`.
//!
//! gimli parses; the rows are computed here, since gimli's own table keeps a stack of wide rows and a copy
//! of the initial one, where a caller on a small stack cannot have them.

use super::expression;
use super::{REGISTER_COUNT, RIP, Values};
use crate::probe::Probe;
use gimli::{
    BaseAddresses, CallFrameInstruction, EhFrame, EhFrameHdr, EndianSlice, FrameDescriptionEntry,
    LittleEndian, ParsedEhFrameHdr, UnwindExpression, UnwindSection,
};

/// Rows that a function's instructions may put aside at the same time. Compilers use one.
const REMEMBERED_MAX: usize = 2;
/// Bytes of an address.
const ADDRESS_BYTES: u8 = 8;

type Reader = EndianSlice<'static, LittleEndian>;
pub(super) type Fde = FrameDescriptionEntry<Reader>;
type Instruction = CallFrameInstruction<usize>;

/// A place in `.eh_frame` that holds an expression.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpressionRef {
    offset: u32,
    len: u32,
}

/// How the canonical frame address is found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Base {
    Register { register: usize, offset: i64 },
    Expression(ExpressionRef),
}

/// How the caller's value of a register is found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    Same,
    Undefined,
    /// Stored at the frame address plus this.
    Offset(i64),
    /// The frame address plus this.
    ValOffset(i64),
    /// What this register holds.
    Register(u8),
    /// Stored where the expression says.
    Expression(ExpressionRef),
    /// What the expression says.
    ValExpression(ExpressionRef),
}

/// The rules at one program counter.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) base: Base,
    pub(super) rules: [Rule; REGISTER_COUNT],
}

impl Row {
    /// All registers kept, and no frame address: there is no such register.
    const EMPTY: Row = Row {
        base: Base::Register { register: REGISTER_COUNT, offset: 0 },
        rules: [Rule::Same; REGISTER_COUNT],
    };
}

/// Where the unwind tables of a module lie.
#[derive(Clone, Copy)]
pub(super) struct TableBytes {
    /// Address of the search table.
    address: u64,
    header: &'static [u8],
    frames: &'static [u8],
}

impl TableBytes {
    /// Those whose search table lies at `address`, in `header`; `segment_from` finds the bytes of another
    /// address of the module.
    pub(super) fn new(
        address: u64,
        header: &'static [u8],
        segment_from: impl FnOnce(u64) -> Option<&'static [u8]>,
    ) -> Option<TableBytes> {
        let (_, _, start) = parse_header(address, header)?;
        Some(TableBytes { address, header, frames: segment_from(start)? })
    }

    /// The tables.
    pub(super) fn parse(self) -> Option<Tables> {
        let (header, bases, start) = parse_header(self.address, self.header)?;
        let mut frames = EhFrame::new(self.frames, LittleEndian);
        frames.set_address_size(ADDRESS_BYTES);
        Some(Tables { header, frames, bases: bases.set_eh_frame(start) })
    }
}

/// The search table at `address`, what its addresses are relative to, and where `.eh_frame` begins.
fn parse_header(
    address: u64,
    bytes: &'static [u8],
) -> Option<(ParsedEhFrameHdr<Reader>, BaseAddresses, u64)> {
    let bases = BaseAddresses::default().set_eh_frame_hdr(address);
    let header = EhFrameHdr::new(bytes, LittleEndian).parse(&bases, ADDRESS_BYTES).ok()?;
    let start = header.eh_frame_ptr().direct().ok()?;
    Some((header, bases, start))
}

/// The unwind tables of a module.
pub(super) struct Tables {
    header: ParsedEhFrameHdr<Reader>,
    frames: EhFrame<Reader>,
    bases: BaseAddresses,
}

impl Tables {
    /// The description of the function at `pc`.
    #[inline(never)]
    pub(super) fn find(&self, pc: u64) -> Option<Fde> {
        let table = self.header.table()?;
        let found = table.lookup(pc, &self.bases).ok()?.direct().ok()?;
        let start = self.header.eh_frame_ptr().direct().ok()?;
        let offset = usize::try_from(found.checked_sub(start)?).ok()?;
        let fde = self.frames.fde_from_offset(&self.bases, offset.into(), EhFrame::cie_from_offset).ok()?;
        fde.contains(pc).then_some(fde)
    }

    /// The rules at `pc`, in the function of `fde`.
    // Not inlined, nor the others so marked: what they need on the stack is not to add up.
    #[inline(never)]
    pub(super) fn row(&self, fde: &Fde, pc: u64) -> Option<Row> {
        let cie = fde.cie();
        if usize::from(cie.return_address_register().0) != RIP {
            return None;
        }
        let mut machine = Machine {
            row: Row::EMPTY,
            remembered: [Row::EMPTY; REMEMBERED_MAX],
            depth: 0,
            location: fde.initial_address(),
            code_factor: cie.code_alignment_factor(),
            data_factor: cie.data_alignment_factor(),
        };
        let mut instructions = cie.instructions(&self.frames, &self.bases);
        while let Some(instruction) = instructions.next().ok()? {
            machine.execute(&instruction, None)?;
        }
        let initial = machine.row;
        let mut instructions = fde.instructions(&self.frames, &self.bases);
        while let Some(instruction) = instructions.next().ok()? {
            if machine.next_location(&instruction)? > pc {
                break;
            }
            machine.execute(&instruction, Some(&initial))?;
        }
        Some(machine.row)
    }

    /// The code of an expression.
    pub(super) fn code(&self, expression: ExpressionRef) -> Option<&'static [u8]> {
        let place = UnwindExpression { offset: expression.offset as usize, length: expression.len as usize };
        Some(place.get(&self.frames).ok()?.0.slice())
    }

    /// The value of an expression; it begins with `initial` on its stack if there is one.
    #[inline(never)]
    pub(super) fn evaluate(
        &self,
        expression: ExpressionRef,
        initial: Option<u64>,
        values: &Values,
        probe: &mut Probe,
    ) -> Option<u64> {
        let place = UnwindExpression { offset: expression.offset as usize, length: expression.len as usize };
        let code = place.get(&self.frames).ok()?.0;
        expression::evaluate(code, initial, values, probe)
    }
}

/// Runs the instructions of a function's description.
struct Machine {
    row: Row,
    remembered: [Row; REMEMBERED_MAX],
    depth: usize,
    location: u64,
    code_factor: u64,
    data_factor: i64,
}

impl Machine {
    /// Where the row after `instruction` begins, if it begins one; else where the present one began.
    fn next_location(&self, instruction: &Instruction) -> Option<u64> {
        match *instruction {
            CallFrameInstruction::SetLoc { address } => Some(address),
            CallFrameInstruction::AdvanceLoc { delta } => {
                self.location.checked_add(u64::from(delta).checked_mul(self.code_factor)?)
            }
            _ => Some(self.location),
        }
    }

    /// None if the instruction makes no sense here. `initial` is the row that the function begins with.
    fn execute(&mut self, instruction: &Instruction, initial: Option<&Row>) -> Option<()> {
        use CallFrameInstruction as I;
        match *instruction {
            I::SetLoc { .. } | I::AdvanceLoc { .. } => self.location = self.next_location(instruction)?,
            I::DefCfa { .. }
            | I::DefCfaSf { .. }
            | I::DefCfaRegister { .. }
            | I::DefCfaOffset { .. }
            | I::DefCfaOffsetSf { .. }
            | I::DefCfaExpression { .. } => self.row.base = self.new_base(instruction)?,
            I::Restore { register } => {
                let rule = initial?.rules.get(usize::from(register.0)).copied();
                self.set(register, rule.unwrap_or(Rule::Same));
            }
            I::RememberState => {
                *self.remembered.get_mut(self.depth)? = self.row;
                self.depth += 1;
            }
            I::RestoreState => {
                self.depth = self.depth.checked_sub(1)?;
                self.row = self.remembered[self.depth];
            }
            I::ArgsSize { .. } | I::Nop => {}
            _ => self.set_rule(instruction)?,
        }
        Some(())
    }

    fn new_base(&self, instruction: &Instruction) -> Option<Base> {
        use CallFrameInstruction as I;
        let (register, offset) = match self.row.base {
            Base::Register { register, offset } => (register, offset),
            Base::Expression(_) => (REGISTER_COUNT, 0),
        };
        let number = |register: gimli::Register| usize::from(register.0);
        Some(match *instruction {
            I::DefCfa { register, offset } => {
                Base::Register { register: number(register), offset: offset as i64 }
            }
            I::DefCfaSf { register, factored_offset } => {
                Base::Register { register: number(register), offset: self.factored(factored_offset) }
            }
            I::DefCfaRegister { register } => Base::Register { register: number(register), offset },
            I::DefCfaOffset { offset } => Base::Register { register, offset: offset as i64 },
            I::DefCfaOffsetSf { factored_offset } => {
                Base::Register { register, offset: self.factored(factored_offset) }
            }
            I::DefCfaExpression { expression } => Base::Expression(reference(expression)?),
            _ => return None,
        })
    }

    fn set_rule(&mut self, instruction: &Instruction) -> Option<()> {
        use CallFrameInstruction as I;
        let (register, rule) = match *instruction {
            I::Undefined { register } => (register, Rule::Undefined),
            I::SameValue { register } => (register, Rule::Same),
            I::Offset { register, factored_offset } => {
                (register, Rule::Offset(self.factored(factored_offset as i64)))
            }
            I::OffsetExtendedSf { register, factored_offset } => {
                (register, Rule::Offset(self.factored(factored_offset)))
            }
            I::ValOffset { register, factored_offset } => {
                (register, Rule::ValOffset(self.factored(factored_offset as i64)))
            }
            I::ValOffsetSf { register, factored_offset } => {
                (register, Rule::ValOffset(self.factored(factored_offset)))
            }
            I::Register { dest_register, src_register } => {
                (dest_register, Rule::Register(u8::try_from(src_register.0).ok()?))
            }
            I::Expression { register, expression } => (register, Rule::Expression(reference(expression)?)),
            I::ValExpression { register, expression } => {
                (register, Rule::ValExpression(reference(expression)?))
            }
            _ => return None,
        };
        self.set(register, rule);
        Some(())
    }

    /// Vector registers and the like are of no interest.
    fn set(&mut self, register: gimli::Register, rule: Rule) {
        if let Some(entry) = self.row.rules.get_mut(usize::from(register.0)) {
            *entry = rule;
        }
    }

    fn factored(&self, offset: i64) -> i64 {
        offset.wrapping_mul(self.data_factor)
    }
}

fn reference(expression: UnwindExpression<usize>) -> Option<ExpressionRef> {
    let offset = u32::try_from(expression.offset).ok()?;
    Some(ExpressionRef { offset, len: u32::try_from(expression.length).ok()? })
}
