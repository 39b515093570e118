//! What the Rust victims share.

/// Makes the compiler forget where a pointer came from.
#[inline(always)]
pub fn hide<T>(pointer: *mut T) -> *mut T {
    std::hint::black_box(pointer)
}

/// The heap still works; then the last line.
pub fn survived() {
    for bytes in [8, 24, 100, 1000, 5000, 40000, 1 << 20] {
        let count = if bytes > 10000 { 8 } else { 300 };
        let blocks: Vec<Vec<u8>> =
            (0..count).map(|i| std::hint::black_box(vec![(i * 7 + 1) as u8; bytes])).collect();
        for (i, block) in blocks.iter().enumerate() {
            assert!(block.iter().all(|&byte| byte == (i * 7 + 1) as u8), "a block taken after the bug");
        }
    }
    println!("survived");
}
