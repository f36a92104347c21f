//! The host's virtio devices, driven from VMPL0: a disk and a console, over PCI or MMIO.
//!
//! The device is the host, and lies. The drivers are those of the crate `virtio-drivers`, which believes its rings: it
//! waits for ever for an answer, takes a length as it is, and reads memory that the device may change meanwhile. So
//! here it sees nothing of the host's at all. Its rings and buffers are the firmware's private memory (`hal`), and
//! the transport below it (`transport`) is the device that it talks to: it copies each request into pages that are
//! shared with the host (`ring`), waits for the answer no longer than it is told, copies that back once, and gives
//! the driver only what has passed every check. The first lie ends the device: whatever is asked of it after that is an
//! error.
//!
//! What the host says in the end is data. That a disk answers with the octets that were written is nobody's promise;
//! who needs it, authenticates.
//!
//! | module | is |
//! |---|---|
//! | `host` | what this crate wants of the firmware: registers of devices, shared pages, time |
//! | `pci`, `mmio` | where a device's registers are |
//! | `hal` | private memory for the drivers |
//! | `ring` | a queue that is shared with the host |
//! | `transport` | a device, as the drivers see it |
//! | `disk`, `console` | sectors, and a stream of octets |
#![no_std]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod console;
pub mod disk;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod fault;
pub mod hal;
pub mod host;
pub mod mmio;
pub mod pci;
pub mod registers;
mod ring;
#[cfg(test)]
mod tests;
mod transport;

pub use fault::Fault;
