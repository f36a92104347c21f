//! Private memory in which `virtio-drivers` keeps its rings, and private copies of its buffers. What it takes for the
//! device's addresses are addresses of this memory; `crate::transport` alone reads and writes there.
#![expect(unsafe_code, reason = "the trait is unsafe, and what it hands over is addresses")]

use alloc::alloc::{alloc_zeroed, dealloc};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};
use zeroize::Zeroize;

/// The firmware's heap.
#[derive(Debug)]
pub struct Private;

fn layout(pages: usize) -> Option<Layout> {
    Layout::from_size_align(pages.checked_mul(PAGE_SIZE)?, PAGE_SIZE).ok()
}

// SAFETY: what `dma_alloc` gives is a block of the allocator's of its own, aligned and zeroed, until `dma_dealloc`.
unsafe impl Hal for Private {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let block = layout(pages).filter(|_| pages > 0).and_then(|layout| {
            // SAFETY: the layout is not of size 0.
            NonNull::new(unsafe { alloc_zeroed(layout) })
        });
        // 0 is how the driver is told that there is none.
        block.map_or((0, NonNull::dangling()), |block| (block.as_ptr().expose_provenance() as u64, block))
    }

    unsafe fn dma_dealloc(_: PhysAddr, block: NonNull<u8>, pages: usize) -> i32 {
        if let Some(layout) = layout(pages) {
            // SAFETY: the block is of `dma_alloc`, with this layout, as the caller says.
            unsafe { dealloc(block.as_ptr(), layout) };
        }
        0
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        // Only the crate's own transports ask, and nothing here uses these.
        NonNull::dangling()
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        // SAFETY: valid, and nobody else's for the length of this call, as the caller says.
        let copy: Box<[u8]> = Vec::from(unsafe { buffer.as_ref() }).into_boxed_slice();
        Box::into_raw(copy).cast::<u8>().expose_provenance() as u64
    }

    unsafe fn unshare(copy: PhysAddr, mut buffer: NonNull<[u8]>, direction: BufferDirection) {
        let start = core::ptr::with_exposed_provenance_mut::<u8>(address(copy));
        let whole = core::ptr::slice_from_raw_parts_mut(start, buffer.len());
        // SAFETY: `share` has made the box, of as many octets, and this is the one time that it is taken back.
        let mut copy = unsafe { Box::from_raw(whole) };
        if direction == BufferDirection::DeviceToDriver {
            // SAFETY: valid, and nobody else's for the length of this call, as the caller says.
            unsafe { buffer.as_mut() }.copy_from_slice(&copy);
        }
        copy.zeroize();
    }
}

#[expect(clippy::cast_possible_truncation, reason = "addresses have 64 bits wherever this runs")]
const fn address(address: u64) -> usize {
    address as usize
}

/// Copies out of private memory.
///
/// # Safety
/// `at` and so many octets behind it are of one block that [`Private`] has handed out and not taken back, and nobody
/// writes there meanwhile.
pub(crate) unsafe fn read(at: u64, out: &mut [u8]) {
    let from = core::ptr::with_exposed_provenance::<u8>(address(at));
    // SAFETY: as the caller says; `out` is a reference's, thus elsewhere.
    unsafe { from.copy_to_nonoverlapping(out.as_mut_ptr(), out.len()) };
}

/// Copies into private memory.
///
/// # Safety
/// As for [`read`], and nobody reads there meanwhile either.
pub(crate) unsafe fn write(at: u64, octets: &[u8]) {
    let to = core::ptr::with_exposed_provenance_mut::<u8>(address(at));
    // SAFETY: as the caller says.
    unsafe { to.copy_from_nonoverlapping(octets.as_ptr(), octets.len()) };
}
