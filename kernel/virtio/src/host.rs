//! What the firmware lends to a driver.

use snp::ghcb::SharedMemory;
use snp::ghcb::call::Width;

/// Octets of a page.
pub const PAGE: usize = 4096;

/// A page that the host reads and writes, and its GPA, which is what a device knows it by.
#[derive(Debug)]
pub struct SharedPage<S> {
    /// The page.
    pub bytes: S,
    /// Its GPA.
    pub gpa: u64,
}

/// The way to a device's registers, and time. Each value that is read is the host's word.
pub trait Host {
    /// Pages that are shared with the host.
    type Shared: SharedMemory;

    /// Reads a register at `gpa`. `None`: the host refuses.
    fn read(&mut self, gpa: u64, width: Width) -> Option<u32>;
    /// Writes a register at `gpa`. `None`: the host refuses.
    fn write(&mut self, gpa: u64, width: Width, value: u32) -> Option<()>;
    /// A page for good, zeroed and shared. `None`: there is none.
    fn share(&mut self) -> Option<SharedPage<Self::Shared>>;
    /// A counter that never stands still.
    fn ticks(&mut self) -> u64;
    /// Passes time while an answer is waited for.
    fn wait(&mut self) {}
}

/// The way to the configuration space of PCI functions on bus 0, by words of 32 bits.
pub trait Configuration {
    /// Reads the word at `offset`, a multiple of 4. `None`: the host refuses.
    fn config_read(&mut self, function: Function, offset: u8) -> Option<u32>;
    /// Writes the word at `offset`.
    fn config_write(&mut self, function: Function, offset: u8, value: u32) -> Option<()>;
}

/// A PCI function of bus 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    device: u8,
    function: u8,
}

impl Function {
    /// Device 0 to 31, function 0 to 7.
    #[must_use]
    pub const fn new(device: u8, function: u8) -> Option<Function> {
        if device < 32 && function < 8 { Some(Function { device, function }) } else { None }
    }

    /// What is written to port 0xCF8 to reach the word at `offset`.
    #[must_use]
    pub const fn address(self, offset: u8) -> u32 {
        1 << 31 | (self.device as u32) << 11 | (self.function as u32) << 8 | (offset & 0xFC) as u32
    }
}
