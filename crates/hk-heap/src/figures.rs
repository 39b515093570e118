//! How large the heap is: figures that are kept current, where others may look.

use core::sync::atomic::{AtomicU64, Ordering};

/// In bytes, but the blocks. May lie in memory that other processes see.
#[derive(Debug, Default)]
#[repr(C)]
pub struct LiveFigures {
    /// Bytes of words with at least one live block, and of large blocks: never below the bytes of live blocks,
    /// but for what threads have not added up yet ([`ERROR_BYTES_PER_HEAP`] each). Exact after a count.
    pub live_bytes: AtomicU64,
    /// Live blocks; written by counts only.
    pub live_blocks: AtomicU64,
    /// Highest `live_bytes`.
    pub live_peak_bytes: AtomicU64,
    /// How far the estimate may be too low, in bytes.
    pub live_error_bytes: AtomicU64,
    /// Bytes of spans: exact.
    pub span_bytes: AtomicU64,
    /// Highest `span_bytes`: exact.
    pub span_peak_bytes: AtomicU64,
}

/// A thread adds its share up when it has changed by this much.
pub const ERROR_BYTES_PER_HEAP: u64 = 64 << 10;

impl LiveFigures {
    /// All zero.
    pub const fn new() -> Self {
        LiveFigures {
            live_bytes: AtomicU64::new(0),
            live_blocks: AtomicU64::new(0),
            live_peak_bytes: AtomicU64::new(0),
            live_error_bytes: AtomicU64::new(0),
            span_bytes: AtomicU64::new(0),
            span_peak_bytes: AtomicU64::new(0),
        }
    }

    // Relaxed throughout: figures order nothing.

    /// Adds to the live estimate.
    pub fn add_live(&self, delta: i64) {
        let now = self.live_bytes.fetch_add(delta as u64, Ordering::Relaxed).wrapping_add(delta as u64);
        if delta > 0 && (now as i64) > 0 {
            self.live_peak_bytes.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// Says how many bytes spans take.
    pub fn set_spans(&self, bytes: u64) {
        self.span_bytes.store(bytes, Ordering::Relaxed);
        self.span_peak_bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Takes over what another place has recorded so far.
    pub fn copy_from(&self, other: &LiveFigures) {
        let pairs = [
            (&self.live_bytes, &other.live_bytes),
            (&self.live_blocks, &other.live_blocks),
            (&self.live_peak_bytes, &other.live_peak_bytes),
            (&self.live_error_bytes, &other.live_error_bytes),
            (&self.span_bytes, &other.span_bytes),
            (&self.span_peak_bytes, &other.span_peak_bytes),
        ];
        for (to, from) in pairs {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}
