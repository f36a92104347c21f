//! What the firmware's heap holds when a guest of so many vCPUs and so much RAM starts, for `cargo xtask memory`: the
//! firmware's own ownership map and allocator, and blocks of the size that it takes for each processor, in a heap as
//! large as its own.
//!
//! Arguments: bytes of the heap; bytes of it that are in use beside map and blocks; then for each guest
//! `VCPUS:RAM:RESERVE:FROM_FILE`, RAM and what is reserved in bytes, and how many of the processors start with memory
//! of the file's. Answers with a line for each: map, blocks, used, free, and pages that the guest deposits; or `none`.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicBool, Ordering};
use std::alloc::System;
use std::sync::Mutex;

use kernel::mm::ownership::Ownership;
use kernel::mm::{PAGE, Region, memory_map};
use kernel::svsm::vcpus::{BLOCK_SIZE, LATER_PAGES};
use linked_list_allocator::Heap;

/// The firmware's heap while it is measured, the system's for everything else.
struct Measured(Mutex<Heap>, AtomicBool);

#[global_allocator]
static ALLOCATOR: Measured = Measured(Mutex::new(Heap::empty()), AtomicBool::new(false));

// SAFETY: both allocators hand out disjoint blocks; what is allocated while the heap is measured is freed then, too, or
// never.
unsafe impl GlobalAlloc for Measured {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.1.load(Ordering::Relaxed) {
            let block = self.0.lock().map(|mut heap| heap.allocate_first_fit(layout));
            return block.ok().and_then(Result::ok).map_or(core::ptr::null_mut(), |block| block.as_ptr());
        }
        // SAFETY: as the caller says.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !self.1.load(Ordering::Relaxed) {
            // SAFETY: as the caller says.
            unsafe { System.dealloc(block, layout) };
        }
    }
}

/// GPA of the firmware.
const FIRMWARE: u64 = 0x80_0000_0000;
/// A `Start` of the firmware's for each processor, and what the allocator rounds up.
const BESIDE: usize = 512;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let [heap, others, guests @ ..] = arguments.as_slice() else { panic!("the arguments are above") };
    for guest in guests {
        let [vcpus, ram, reserve, from_file]: [u64; 4] =
            guest.split(':').map(number).collect::<Vec<_>>().try_into().expect("four numbers");
        let deposited = (vcpus - from_file) * LATER_PAGES as u64;
        match measure(number(heap), number(others), from_file, ram, reserve) {
            Some([map, blocks, used, free]) => println!("{map} {blocks} {used} {free} {deposited}"),
            None => println!("none"),
        }
    }
}

fn measure(heap: u64, others: u64, vcpus: u64, ram: u64, reserve: u64) -> Option<[u64; 4]> {
    let own = Region::new(FIRMWARE, FIRMWARE + 0x80_0000 + reserve)?;
    let ranges = memory_map::check(&qemus_map(ram), own).ok()?;
    let size = usize::try_from(heap + reserve).ok()?;
    let memory = Box::leak(vec![0_u128; size / 16].into_boxed_slice());
    // SAFETY: nothing else uses the memory, and it is never freed.
    *ALLOCATOR.0.lock().ok()? = unsafe { Heap::new(memory.as_mut_ptr().cast(), size) };
    let heap = |layout: Layout| ALLOCATOR.0.lock().ok()?.allocate_first_fit(layout).ok();
    heap(Layout::from_size_align(usize::try_from(others).ok()?, 16).ok()?)?;
    ALLOCATOR.1.store(true, Ordering::Relaxed);
    let map = Ownership::new(&ranges, &[own]);
    ALLOCATOR.1.store(false, Ordering::Relaxed);
    let map = core::mem::ManuallyDrop::new(map.ok()?);
    let block = Layout::from_size_align(usize::try_from(BLOCK_SIZE).ok()?, PAGE).ok()?;
    for _ in 1..vcpus {
        heap(block)?;
        heap(Layout::from_size_align(BESIDE, 16).ok()?)?;
    }
    let (used, free) = ALLOCATOR.0.lock().map(|heap| (heap.used() as u64, heap.free() as u64)).ok()?;
    Some([map.footprint() as u64, (vcpus - 1) * BLOCK_SIZE, used, free])
}

/// RAM from 0 up to 2 GiB, the rest from 4 GiB on.
fn qemus_map(ram: u64) -> [u8; PAGE] {
    const GIB: u64 = 1 << 30;
    let below = ram.min(2 * GIB);
    let mut page = [0; PAGE];
    let entries = [(0, below), (4 * GIB, ram - below)].into_iter().filter(|(_, bytes)| *bytes > 0);
    for (entry, (start, bytes)) in page.chunks_mut(24).zip(entries) {
        entry[..8].copy_from_slice(&(start / PAGE as u64).to_le_bytes());
        entry[8..16].copy_from_slice(&(bytes / PAGE as u64).to_le_bytes());
    }
    page
}
