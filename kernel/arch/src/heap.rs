//! The allocator: what the ELF leaves of the firmware's 8 MiB, what the file reserves behind them, and what the guest
//! deposits for the firmware's use.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use linked_list_allocator::Heap;
use spin::Mutex;

use crate::layout;

struct Locked(Mutex<Heap>);

#[global_allocator]
static HEAP: Locked = Locked(Mutex::new(Heap::empty()));

/// Gives the allocator its memory. To be called once; before it, every allocation fails.
pub fn start() {
    let start = layout::firmware_end() as *mut u8;
    let len = layout::VIRTUAL_BASE + layout::SIZE - layout::firmware_end();
    let mut heap = HEAP.0.lock();
    if heap.size() == 0 {
        // SAFETY: linker.ld ends everything else at `__firmware_end`, and the page tables map the rest of the 8 MiB as
        // data.
        unsafe { heap.init(start, usize::try_from(len).unwrap_or(0)) };
    }
}

/// Gives the allocator the next pages behind those that it has.
///
/// # Safety
/// They are mapped as private data for good, and nobody's.
pub unsafe fn extend(len: usize) {
    // SAFETY: as the caller says.
    unsafe { HEAP.0.lock().extend(len) };
}

/// Bytes in use and bytes free.
pub fn usage() -> (usize, usize) {
    let heap = HEAP.0.lock();
    (heap.used(), heap.free())
}

// SAFETY: the heap hands out disjoint blocks of memory that nothing else uses, aligned as asked, and null if it has
// none.
unsafe impl GlobalAlloc for Locked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().allocate_first_fit(layout).map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: the caller got the block from `alloc` with this layout.
            unsafe { self.0.lock().deallocate(block, layout) };
        }
    }
}
