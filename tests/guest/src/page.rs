//! Memory that others write, too: the firmware and, where it is shared, the host.

use core::cell::UnsafeCell;
use core::ptr;

/// Size of a page in bytes.
pub(crate) const PAGE_SIZE: usize = 4096;

/// Contiguous bytes that start a page; `N` is a multiple of a page. Identity-mapped, so that its address is its GPA.
#[repr(C, align(4096))]
pub(crate) struct Area<const N: usize>(UnsafeCell<[u8; N]>);

/// One page.
pub(crate) type Page = Area<PAGE_SIZE>;

// SAFETY: every access is a volatile copy, octet by octet, through a raw pointer, and no reference to the bytes exists;
// what two vCPUs write at once on purpose may be of either.
unsafe impl<const N: usize> Sync for Area<N> {}

impl<const N: usize> Area<N> {
    /// Zeros.
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new([0; N]))
    }

    /// Guest-physical address of the first byte.
    pub(crate) fn gpa(&self) -> u64 {
        self.0.get() as u64
    }

    /// The address of `length` bytes at `at`.
    fn bytes(&self, at: usize, length: usize) -> *mut u8 {
        assert!(at <= N && length <= N - at, "beyond the area");
        self.0.get().cast::<u8>().wrapping_add(at)
    }

    /// Reads a 64-bit number.
    pub(crate) fn read(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        self.copy_out(at, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Writes a 64-bit number.
    pub(crate) fn write(&self, at: usize, value: u64) {
        self.copy_in(at, &value.to_le_bytes());
    }

    /// Copies bytes out of the area.
    pub(crate) fn copy_out(&self, at: usize, bytes: &mut [u8]) {
        let source = self.bytes(at, bytes.len()).cast_const();
        for (index, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: `bytes` has checked the range; volatile because others write here.
            *byte = unsafe { ptr::read_volatile(source.wrapping_add(index)) };
        }
    }

    /// Copies bytes into the area.
    pub(crate) fn copy_in(&self, at: usize, bytes: &[u8]) {
        let destination = self.bytes(at, bytes.len());
        for (index, byte) in bytes.iter().enumerate() {
            // SAFETY: as in `copy_out`; the area belongs to us.
            unsafe { ptr::write_volatile(destination.wrapping_add(index), *byte) };
        }
    }

    /// Fills the area with `byte`.
    pub(crate) fn fill(&self, byte: u8) {
        // SAFETY: the whole area, which belongs to us, and to which no reference exists.
        unsafe { ptr::write_bytes(self.0.get().cast::<u8>(), byte, N) };
    }
}
