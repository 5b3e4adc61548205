//! Asking for memory before it is needed.

/// Asks for the line of memory with that row, if there is such a row. Nothing is read: unlike a load, the processor does
/// not wait for it, however far away the line is.
#[inline(always)]
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "no safe function of the language does this"))]
pub fn prefetch<T>(rows: &[T], row: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(row) = rows.get(row) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint that changes nothing and cannot fault; and the address is that of a row.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(row).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (rows, row);
}
