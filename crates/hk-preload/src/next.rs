//! Functions of libc that this library stands in front of.

use core::ffi::{CStr, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

/// The next function of a name in the order of symbol look-up, looked up once.
pub struct Next {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Next {
    /// Not looked up yet.
    pub const fn new(name: &'static CStr) -> Self {
        Next { name, address: AtomicPtr::new(null_mut()) }
    }

    /// Looks it up, where that is harmless, so that it is known where it is not. It may not exist.
    pub fn look_up(&self) {
        // SAFETY: a NUL-terminated name.
        self.address.store(unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) }, Ordering::Relaxed);
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
