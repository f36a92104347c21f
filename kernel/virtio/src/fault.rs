//! What can be wrong with a device.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU8, Ordering};

/// Why there is no device, or none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// The host does not let registers be read or written.
    NoAnswer = 1,
    /// There is no device, or another one.
    Absent,
    /// Its list of capabilities has no end, or leads out of where it may be.
    Capabilities,
    /// A structure of registers is missing, or lies outside of its BAR.
    Registers,
    /// It does not take the features that are needed.
    Features,
    /// It has no such queue, or none of that size.
    Queue,
    /// It does not become what was written to its status.
    Status,
    /// It claims to have used requests that were not made.
    UsedIndex,
    /// It claims to have used another request than the one that was made.
    UsedId,
    /// It claims to have written more than there was room for, or nothing where there must be something.
    Length,
    /// It has not answered in time.
    Stalled,
    /// It says that the request has failed.
    Failed,
    /// There are no such sectors.
    Range,
    /// It cannot be written.
    ReadOnly,
    /// The firmware's memory is used up.
    Memory,
}

impl Fault {
    const ALL: [Fault; 15] = [
        Fault::NoAnswer,
        Fault::Absent,
        Fault::Capabilities,
        Fault::Registers,
        Fault::Features,
        Fault::Queue,
        Fault::Status,
        Fault::UsedIndex,
        Fault::UsedId,
        Fault::Length,
        Fault::Stalled,
        Fault::Failed,
        Fault::Range,
        Fault::ReadOnly,
        Fault::Memory,
    ];
}

snp::error_words! { Fault {
    Self::NoAnswer => "the host does not let the device's registers be reached",
    Self::Absent => "there is no such device",
    Self::Capabilities => "the device's list of capabilities leads nowhere",
    Self::Registers => "the device's registers are not where they may be",
    Self::Features => "the device does not offer what is needed",
    Self::Queue => "the device has no queue of the size that is needed",
    Self::Status => "the device does not take its status",
    Self::UsedIndex => "the device has used what was not asked",
    Self::UsedId => "the device has used another request",
    Self::Length => "the device has written more, or less, than it can have",
    Self::Stalled => "the device does not answer",
    Self::Failed => "the device says that the request has failed",
    Self::Range => "there are no such sectors",
    Self::ReadOnly => "the device cannot be written",
    Self::Memory => "there is no memory for the device",
} }

/// Whether a device still is one. The first fault stays: a device that has lied once, or still has a request of ours,
/// is not asked again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health(Arc<AtomicU8>);

impl Health {
    /// Notes a fault, unless there was one before.
    pub(crate) fn note(&self, fault: Fault) {
        let _ = self.0.compare_exchange(0, fault as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The fault, if there is one.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let code = self.0.load(Ordering::Acquire);
        match Fault::ALL.into_iter().find(|fault| *fault as u8 == code) {
            None => Ok(()),
            Some(fault) => Err(fault),
        }
    }
}
