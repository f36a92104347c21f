//! A disk, as whoever drives it offers it.

/// Octets of a sector. A device writes one wholly or not at all: that, and [`BlockDevice::flush`], is all that is asked
/// of it.
pub const SECTOR: usize = 512;

/// A disk of sectors of 512 octets, whose owner may be the enemy.
pub trait BlockDevice {
    /// What can go wrong with it.
    type Error;
    /// How many sectors there are. It may lie.
    fn sectors(&self) -> u64;
    /// Reads whole sectors, from `first` on.
    ///
    /// # Errors
    /// The device's.
    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), Self::Error>;
    /// Writes whole sectors, from `first` on.
    ///
    /// # Errors
    /// The device's: each of the sectors may then hold what was there or what was to be.
    fn write(&mut self, first: u64, octets: &[u8]) -> Result<(), Self::Error>;
    /// When this returns, all writes before it are there whatever happens.
    ///
    /// # Errors
    /// The device's: nobody knows then what is there.
    fn flush(&mut self) -> Result<(), Self::Error>;
}

/// A device that someone else has.
impl<D: BlockDevice + ?Sized> BlockDevice for &mut D {
    type Error = D::Error;

    fn sectors(&self) -> u64 {
        (**self).sectors()
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), D::Error> {
        (**self).read(first, out)
    }

    fn write(&mut self, first: u64, octets: &[u8]) -> Result<(), D::Error> {
        (**self).write(first, octets)
    }

    fn flush(&mut self) -> Result<(), D::Error> {
        (**self).flush()
    }
}
