//! Filters are asked, and set for real in a child.

use super::Forbidden;
use super::filter::{Call, Instruction, allows};

/// A generator of numbers (xorshift64*, Vigna 2016).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as u32) % below
    }
}

const ALLOW: u32 = 0x7FFF_0000;
const REFUSE: u32 = 0x0005_0000 | libc::EPERM as u32;

fn plain(code: u16, operand: u32) -> Instruction {
    Instruction { code, if_true: 0, if_false: 0, operand }
}

fn returns(answer: u32) -> Instruction {
    plain(0x06, answer)
}

/// An instruction that may do anything but jump backwards or return.
fn any(numbers: &mut Numbers, left: u8) -> Instruction {
    let operand = [1, 2, 3, 7, 31, 0xFF, 0xFFFF_FFFF][numbers.next(7) as usize];
    let word = [0, 4, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60][numbers.next(14) as usize];
    let memory = numbers.next(16);
    match numbers.next(12) {
        0..3 => plain(0x20, word),
        3 => plain([0x00, 0x01][numbers.next(2) as usize], operand),
        4 => plain([0x80, 0x81][numbers.next(2) as usize], 0),
        5 => plain([0x60, 0x61, 0x02, 0x03][numbers.next(4) as usize], memory),
        6 => plain([0x07, 0x87][numbers.next(2) as usize], 0),
        7 | 8 => {
            let codes =
                [0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0xA4, 0x0C, 0x1C, 0x2C, 0x3C, 0x4C, 0x5C, 0xAC, 0x84];
            plain(codes[numbers.next(15) as usize], operand)
        }
        9 => plain([0x64, 0x74, 0x6C, 0x7C][numbers.next(4) as usize], operand % 32),
        10 => plain(0x05, numbers.next(u32::from(left))),
        _ => Instruction {
            code: [0x15, 0x25, 0x35, 0x45][numbers.next(4) as usize] | [0, 8][numbers.next(2) as usize],
            if_true: numbers.next(u32::from(left)) as u8,
            if_false: numbers.next(u32::from(left)) as u8,
            operand,
        },
    }
}

/// A filter that lets a process exit, and says to all else what its instructions come to. Memory is written before it is read, as the
/// kernel demands.
fn random_filter(numbers: &mut Numbers) -> Vec<Instruction> {
    let exit = Instruction { code: 0x15, if_true: 0, if_false: 1, operand: libc::SYS_exit_group as u32 };
    let mut filter = vec![plain(0x20, 0), exit, returns(ALLOW)];
    filter.extend((0..16).map(|place| plain(0x02, place)));
    let count = 1 + numbers.next(24) as u8;
    filter.extend((0..count).map(|nth| any(numbers, count - nth)));
    let odd = Instruction { code: 0x45, if_true: 0, if_false: 1, operand: 1 };
    filter.extend([odd, returns(ALLOW), returns(REFUSE)]);
    filter
}

/// Whether the kernel lets the call through, in a child with that filter. None if it did not take the filter.
fn kernel_allows(filter: &[Instruction], call: &Call) -> Option<bool> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut().cast() };
    // SAFETY: the child makes system calls alone.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: no pointers but to the filter, which the kernel reads.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        }
        // SAFETY: as above.
        let taken =
            unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0) }
                == 0;
        let [first, second, third, fourth, fifth, sixth] = call.arguments;
        // SAFETY: getppid looks at no argument.
        let made =
            unsafe { libc::syscall(i64::from(call.number), first, second, third, fourth, fifth, sixth) };
        // SAFETY: ends the child.
        unsafe { libc::syscall(libc::SYS_exit_group, if !taken { 2 } else { i32::from(made >= 0) }) };
    }
    let mut status = 0;
    // SAFETY: our child, and a place for its status.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    // Ended by a signal: the filter said so.
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 0 };
    (code != 2).then_some(code == 1)
}

#[test]
#[cfg_attr(miri, ignore = "asks the kernel")]
fn a_filter_is_understood_as_the_kernel_does() {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let (mut allowed, mut refused) = (0, 0);
    for _ in 0..1500 {
        let filter = random_filter(&mut numbers);
        let arguments = [0; 6].map(|_: u64| u64::from(numbers.next(9)) << (numbers.next(2) * 32));
        let call = Call { number: libc::SYS_getppid as u32, arguments };
        let Some(expected) = kernel_allows(&filter, &call) else {
            panic!("not taken: {filter:?}");
        };
        assert_eq!(allows(&filter, &call), expected, "{filter:?} {call:?}");
        *if expected { &mut allowed } else { &mut refused } += 1;
    }
    assert!(allowed > 100 && refused > 100, "{allowed} {refused}");
}

#[test]
fn a_filter_that_no_kernel_would_take_comes_to_an_end() {
    let mut numbers = Numbers(0x2545_F491_4F6C_DD1D);
    let call = Call { number: libc::SYS_getppid as u32, arguments: [u64::MAX; 6] };
    for _ in 0..20_000 {
        let mut word = || numbers.next(u32::MAX);
        let filter: [Instruction; 8] = std::array::from_fn(|_| Instruction {
            code: word() as u16,
            if_true: word() as u8 % 10,
            if_false: word() as u8 % 10,
            operand: word(),
        });
        let _ = allows(&filter, &call);
    }
    assert!(!allows(&[], &call));
}

#[test]
fn what_the_kernel_refused_is_taken_back_unless_more_was_added() {
    let forbidden = Forbidden::new();
    forbidden.add(0b001);
    let refused = forbidden.add(0b011);
    assert_eq!(forbidden.calls(), 0b011);
    forbidden.take_back(&refused);
    assert_eq!(forbidden.calls(), 0b001);
    let refused = forbidden.add(0b010);
    forbidden.add(0b010);
    forbidden.take_back(&refused);
    assert_eq!(forbidden.calls(), 0b011);
}
