// SPDX-License-Identifier: MPL-2.0

//! Memory of this thread: how much is held, and how much was at most.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(by: isize) {
    // At a thread's end there may be no counter any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + by);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: all is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Memory from here on.
pub struct Memory {
    base: isize,
}

impl Memory {
    pub fn new() -> Self {
        Memory { base: HELD.get() }
    }

    /// Bytes held now beyond the beginning.
    pub fn held(&self) -> usize {
        usize::try_from(HELD.get() - self.base).unwrap_or(0)
    }

    /// Bytes that `f` took at most while it ran, beyond what was held before.
    pub fn most<T>(f: impl FnOnce() -> T) -> (usize, T) {
        let before = HELD.get();
        MOST.set(before);
        let result = f();
        (usize::try_from(MOST.get() - before).unwrap_or(0), result)
    }
}
