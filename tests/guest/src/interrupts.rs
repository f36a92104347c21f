//! The interrupt of the second serial port, by the old interrupt controllers (8259A), which tell the processor of it
//! through the local APIC as the BIOS left it.

use crate::apic;

/// Ports and what is written to them: initialisation, vectors from 0x20 and 0x28 on, the second controller at input 2,
/// no word of an interrupt's end; then all inputs masked but 3, that of COM2.
pub(crate) const COM2_ONLY: [(u16, u8); 10] = [
    (0x20, 0x11),
    (0xA0, 0x11),
    (0x21, 0x20),
    (0xA1, 0x28),
    (0x21, 4),
    (0xA1, 2),
    (0x21, 3),
    (0xA1, 3),
    (0x21, !(1 << 3)),
    (0xA1, 0xFF),
];

/// Halts until an interrupt comes. One that came before, while they were off, counts.
pub(crate) fn wait() {
    // SAFETY: the gates of all interrupts that are not masked lead to a handler that changes nothing; nothing is kept
    // below the stack pointer.
    unsafe { core::arch::asm!("sti", "hlt", "cli") };
    if apic::is_there() {
        apic::end_all();
    }
}
