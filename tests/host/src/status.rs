//! What exit statuses mean by which a guest's end is told.

/// `guest`: it has ended, or has done nothing in its time, without a sign of a running system.
pub const GUEST_NOT_STARTED: u8 = 40;
/// `guest`: it has asked for a restart.
pub const GUEST_RESTART: u8 = 41;
/// `guest`: its processor waits for nothing.
pub const GUEST_HALT: u8 = 42;
/// `guest`: its kernel says that it cannot go on.
pub const GUEST_PANIC: u8 = 43;
/// `guest`: it has ended without having meant to.
pub const GUEST_CRASH: u8 = 44;
/// `guest`: it has run until its time was over.
pub const GUEST_RUNNING: u8 = 45;
