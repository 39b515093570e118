//! The expressions that unwind tables use where a register plus an offset does not do: linkage tables
//! (PLT entries) and signal trampolines.

use super::Values;
use crate::probe::Probe;
use gimli::{Encoding, EndianSlice, Format, LittleEndian, Operation};

/// Values on the stack at most; linkage tables need four.
const STACK_VALUES: usize = 16;
/// Operations at most, so that a loop ends.
const OPERATIONS_MAX: usize = 256;

type Code = EndianSlice<'static, LittleEndian>;

/// The value of `code`; it begins with `initial` on its stack if there is one. None if it is damaged, or
/// reads what cannot be read.
pub(super) fn evaluate(code: Code, initial: Option<u64>, values: &Values, probe: &mut Probe) -> Option<u64> {
    let encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 4 };
    let mut stack = Stack { values: [0; STACK_VALUES], len: 0 };
    if let Some(value) = initial {
        stack.push(value)?;
    }
    let mut rest = code;
    for _ in 0..OPERATIONS_MAX {
        if rest.is_empty() {
            return stack.pop();
        }
        let operation = Operation::parse(&mut rest, encoding).ok()?;
        match operation {
            Operation::Bra { target } => {
                if stack.pop()? != 0 {
                    rest = jump(code, rest, target)?;
                }
            }
            Operation::Skip { target } => rest = jump(code, rest, target)?,
            operation => execute(&mut stack, &operation, values, probe)?,
        }
    }
    None
}

/// What is left of `code` when it goes on `target` bytes after the start of `rest`.
fn jump(code: Code, rest: Code, target: i16) -> Option<Code> {
    let at = (code.len() - rest.len()).checked_add_signed(isize::from(target))?;
    (at <= code.len()).then(|| code.range_from(at..))
}

fn execute(stack: &mut Stack, operation: &Operation<Code>, values: &Values, probe: &mut Probe) -> Option<()> {
    let value = match *operation {
        Operation::Nop => return Some(()),
        Operation::Drop => return stack.pop().map(|_| ()),
        Operation::Swap => return stack.swap(),
        Operation::Rot => return stack.rotate(),
        Operation::Pick { index } => stack.peek(usize::from(index))?,
        Operation::Address { address } => address,
        Operation::UnsignedConstant { value } => value,
        Operation::SignedConstant { value } => value as u64,
        Operation::RegisterOffset { register, offset, .. } => {
            values.get(usize::from(register.0))?.wrapping_add_signed(offset)
        }
        Operation::PlusConstant { value } => stack.pop()?.wrapping_add(value),
        Operation::Deref { size, space: false, .. } => {
            let word = probe.word(stack.pop()?)?;
            match size {
                8 => word,
                1 | 2 | 4 => word & ((1 << (8 * size)) - 1),
                _ => return None,
            }
        }
        Operation::Abs => (stack.pop()? as i64).unsigned_abs(),
        Operation::Neg => stack.pop()?.wrapping_neg(),
        Operation::Not => !stack.pop()?,
        _ => {
            let right = stack.pop()?;
            let left = stack.pop()?;
            two_operands(operation, left, right)?
        }
    };
    stack.push(value)
}

fn two_operands(operation: &Operation<Code>, left: u64, right: u64) -> Option<u64> {
    let (signed_left, signed_right) = (left as i64, right as i64);
    Some(match *operation {
        Operation::And => left & right,
        Operation::Or => left | right,
        Operation::Xor => left ^ right,
        Operation::Plus => left.wrapping_add(right),
        Operation::Minus => left.wrapping_sub(right),
        Operation::Mul => left.wrapping_mul(right),
        Operation::Div => signed_left.checked_div(signed_right)? as u64,
        Operation::Mod => left.checked_rem(right)?,
        Operation::Shl => left.checked_shl(u32::try_from(right).ok()?).unwrap_or(0),
        Operation::Shr => left.checked_shr(u32::try_from(right).ok()?).unwrap_or(0),
        Operation::Shra => (signed_left >> right.min(63)) as u64,
        Operation::Eq => u64::from(left == right),
        Operation::Ne => u64::from(left != right),
        Operation::Ge => u64::from(signed_left >= signed_right),
        Operation::Gt => u64::from(signed_left > signed_right),
        Operation::Le => u64::from(signed_left <= signed_right),
        Operation::Lt => u64::from(signed_left < signed_right),
        _ => return None,
    })
}

struct Stack {
    values: [u64; STACK_VALUES],
    len: usize,
}

impl Stack {
    fn push(&mut self, value: u64) -> Option<()> {
        *self.values.get_mut(self.len)? = value;
        self.len += 1;
        Some(())
    }

    fn pop(&mut self) -> Option<u64> {
        self.len = self.len.checked_sub(1)?;
        Some(self.values[self.len])
    }

    fn peek(&self, depth: usize) -> Option<u64> {
        Some(self.values[self.len.checked_sub(depth + 1)?])
    }

    fn swap(&mut self) -> Option<()> {
        let below = self.len.checked_sub(2)?;
        self.values.swap(below, below + 1);
        Some(())
    }

    /// The top becomes the third.
    fn rotate(&mut self) -> Option<()> {
        let third = self.len.checked_sub(3)?;
        self.values[third..self.len].rotate_right(1);
        Some(())
    }
}
