//! The disk, for [`tpm_core::store`]: one slot that is replaced as a whole. What is to be saved, and when, is the
//! store's rule; what a cut leaves is the disk's.

use crate::device::BlockDevice;
use crate::disk::{Room, StateDisk};
use crate::refusal::Refusal;
use tpm_core::store::Disk;

impl<R: Room, D: BlockDevice> Disk for StateDisk<R, D> {
    type Error = Refusal<D::Error>;
    const SLOTS: usize = 1;

    /// The record that was found when the disk was opened. None of a new one.
    fn read(&mut self, _slot: usize, out: &mut [u8]) -> Result<usize, Self::Error> {
        if self.is_moved() {
            return Err(Refusal::Moved);
        }
        let record = self.tpm();
        out.get_mut(..record.len()).ok_or(Refusal::Room)?.copy_from_slice(record);
        Ok(record.len())
    }

    fn write(&mut self, _slot: usize, record: &[u8]) -> Result<(), Self::Error> {
        self.commit(record)
    }
}
