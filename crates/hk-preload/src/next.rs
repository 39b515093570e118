//! Functions of libc that this library stands in front of.

use core::ffi::{CStr, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

/// The next function of a name in the order of symbol look-up, looked up once.
#[repr(C)]
pub struct Next {
    address: AtomicPtr<c_void>,
    /// It is not libc's: another library has one of that name.
    is_foreign: AtomicBool,
    name: &'static CStr,
}

/// Where [`Next`] has what [`unless_foreign`] reads.
pub const IS_FOREIGN: usize = core::mem::offset_of!(Next, is_foreign);
const _: () = assert!(core::mem::offset_of!(Next, address) == 0);

/// Where libc lies, and its libraries of threads and of queues, which were such before glibc 2.34. Nowhere before the start.
static LIBC: [(AtomicU64, AtomicU64); 3] = [const { (AtomicU64::new(0), AtomicU64::new(0)) }; 3];

/// At the start.
pub fn begin() {
    for (place, name) in LIBC.iter().zip([c"gnu_get_libc_version", c"pthread_create", c"mq_send"]) {
        let (start, end) = hk_recorder::module_range(look_up(name).addr() as u64).unwrap_or_default();
        // Relaxed everywhere here: what other threads read was written before they were started.
        place.0.store(start, Ordering::Relaxed);
        place.1.store(end, Ordering::Relaxed);
    }
}

/// The next function of a name; null if there is none.
pub fn look_up(name: &CStr) -> *mut c_void {
    // SAFETY: a NUL-terminated name.
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }
}

/// Whether an address is libc's; false before the start.
pub fn is_of_libc(address: *mut c_void) -> bool {
    let address = address.addr() as u64;
    let lies_in = |place: &(AtomicU64, AtomicU64)| {
        (place.0.load(Ordering::Relaxed)..place.1.load(Ordering::Relaxed)).contains(&address)
    };
    LIBC.iter().any(lies_in)
}

impl Next {
    /// Not looked up yet.
    pub const fn new(name: &'static CStr) -> Self {
        Next { address: AtomicPtr::new(null_mut()), is_foreign: AtomicBool::new(false), name }
    }

    /// Looks it up, where that is harmless, so that it is known where it is not. It may not exist.
    pub fn look_up(&self) {
        let address = look_up(self.name);
        self.address.store(address, Ordering::Relaxed);
        let is_started = LIBC[0].1.load(Ordering::Relaxed) != 0;
        // Release: who sees it has the address.
        self.is_foreign.store(is_started && !address.is_null() && !is_of_libc(address), Ordering::Release);
    }

    /// Its address; null if there is none.
    pub fn find(&self) -> *mut c_void {
        if self.address.load(Ordering::Relaxed).is_null() {
            self.look_up();
        }
        self.address.load(Ordering::Relaxed)
    }

    /// Its address.
    ///
    /// # Panics
    /// If libc lacks it.
    pub fn get(&self) -> *mut c_void {
        let found = self.find();
        assert!(!found.is_null(), "libc lacks {:?}", self.name);
        found
    }
}

/// Exports a function under a name of libc's. Where another library has one of that name, that one is called instead, with all arguments as they are: it may
/// be one of its own that has nothing to do with libc's.
macro_rules! unless_foreign {
    ($($name:ident => $ours:ident, $next:ident;)+) => {$(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        extern "C" fn $name() {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "cmp byte ptr [rip + {next} + {is_foreign}], 0",
                "jne 2f",
                "jmp {ours}",
                "2:",
                "jmp qword ptr [rip + {next}]",
                ".cfi_endproc",
                next = sym $next,
                is_foreign = const crate::next::IS_FOREIGN,
                ours = sym $ours,
            )
        }
    )+};
}
pub(crate) use unless_foreign;
