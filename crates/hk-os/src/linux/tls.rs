//! One thread-local pointer in two instructions.
//!
//! std's `thread_local!` in a shared library becomes a call of `__tls_get_addr`, which may allocate; stable
//! Rust without std has no thread-locals at all. A symbol in `.tdata`, addressed by the initial-exec model
//! (Drepper, "ELF Handling For Thread-Local Storage", 4.1.6), is a load of an offset and a load from `fs:`.
//! It needs static TLS space, which a preloaded library and an executable always have.

/// Declares a thread-local word `$name` with the accessors `get` and `set`. In a new thread it is the address of the
/// static `$first`: the loader relocates the image that threads' words are copied from, so no code has to run for that.
#[macro_export]
macro_rules! thread_local_word {
    ($vis:vis mod $name:ident = $symbol:literal, $first:path) => {
        $vis mod $name {
            #[cfg(target_arch = "x86_64")]
            core::arch::global_asm!(
                concat!(".pushsection .tdata.", $symbol, ",\"awT\",@progbits"),
                ".balign 8",
                concat!(".hidden ", $symbol),
                concat!(".globl ", $symbol),
                concat!(".type ", $symbol, ", @object"),
                concat!(".size ", $symbol, ", 8"),
                concat!($symbol, ":"),
                ".quad {first}",
                ".popsection",
                first = sym $first,
            );

            /// The calling thread's word.
            #[cfg(target_arch = "x86_64")]
            #[inline(always)]
            pub fn get() -> usize {
                let value: usize;
                // SAFETY: the symbol is eight bytes of this thread's static TLS; the load has no side effect.
                unsafe {
                    core::arch::asm!(
                        concat!("mov {0}, qword ptr [rip + ", $symbol, "@GOTTPOFF]"),
                        "mov {0}, qword ptr fs:[{0}]",
                        out(reg) value,
                        options(nostack, preserves_flags, readonly),
                    );
                }
                value
            }

            /// Sets the calling thread's word.
            #[cfg(target_arch = "x86_64")]
            #[inline(always)]
            pub fn set(value: usize) {
                // SAFETY: the symbol is eight bytes of this thread's static TLS, which only this thread accesses.
                unsafe {
                    core::arch::asm!(
                        concat!("mov {0}, qword ptr [rip + ", $symbol, "@GOTTPOFF]"),
                        "mov qword ptr fs:[{0}], {1}",
                        out(reg) _,
                        in(reg) value,
                        options(nostack, preserves_flags),
                    );
                }
            }
        }
    };
}
