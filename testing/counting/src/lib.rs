//! A global allocator that counts what each thread holds.
//!
//! What C libraries allocate goes past it; that is seen in the memory of the whole process ([`status`]).
//!
//! UNSAFETY: `GlobalAlloc` is an unsafe trait; every call goes on to the system's allocator as it
//! came.
#![expect(
    unsafe_code,
    reason = "a global allocator that counts is an unsafe impl"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The allocator; a program that measures makes it its global one.
#[derive(Debug)]
pub struct Counting;

thread_local! {
    // Signed: a thread may free what another one allocated.
    static HELD: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

/// What `work` gives, and the most bytes this thread held at one time during it, over what it held
/// before.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    let peak = PEAK.get().saturating_sub(before);
    (result, u64::try_from(peak).unwrap_or(0))
}

/// The most memory this process ever had resident, in bytes, C libraries and mappings included.
///
/// # Errors
/// As [`status`].
pub fn process_peak() -> Result<u64, String> {
    status("VmHWM")
}

/// A figure about this process in bytes, such as `VmRSS` (proc_pid_status(5)).
///
/// # Errors
/// When `/proc/self/status` does not say.
pub fn status(field: &str) -> Result<u64, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let figure = status.lines().find_map(|line| {
        let line = line.strip_prefix(field)?.strip_prefix(':')?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    figure
        .map(|kib| kib.saturating_mul(1024))
        .ok_or_else(|| format!("/proc/self/status has no {field}"))
}

fn took(bytes: usize) {
    // At the end of a thread its counters are gone; nothing is measured there.
    let _ = HELD.try_with(|held| {
        held.set(held.get().saturating_add(bytes as i64));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

fn gave(bytes: usize) {
    let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(bytes as i64)));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        gave(layout.size());
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        gave(layout.size());
        took(size);
        // SAFETY: the caller keeps `realloc`'s contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    #[test]
    fn counts_the_most_that_was_held_and_nothing_of_other_threads() {
        let (kept, peak) = peak_of(|| {
            let other = std::thread::spawn(|| drop(vec![0_u8; 1 << 20]));
            drop(vec![0_u8; 1 << 16]);
            other.join().unwrap();
            vec![0_u8; 100]
        });
        assert_eq!(kept.len(), 100);
        assert!(((1 << 16)..(1 << 17)).contains(&peak), "{peak}");
    }

    #[test]
    fn the_process_holds_some_memory_and_no_unknown_figure() {
        assert!(process_peak().unwrap() >= 4096);
        assert!(status("VmNothing").is_err());
    }
}
