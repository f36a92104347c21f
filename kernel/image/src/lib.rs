//! Packs the measured image: an IGVM file (docs/boot.md) of the firmware and what it starts at VMPL2.
//!
//! | module | is |
//! |---|---|
//! | [`elf`] | the pages and symbols of a program |
//! | [`guest`] | what is at VMPL2: its pages, registers, memory map and events |
//! | [`linux`], [`acpi`], [`ovmf`] | operating systems and their firmware as such a guest |
//! | [`pack`] | the file |
//! | [`settings`], [`state`] | what an operator wants of the firmware |
//! | [`alone`] | a file without our firmware, for tests of the machine |
//! | [`sizes`] | the bytes of a program by crate |

#![forbid(unsafe_code)]

pub mod acpi;
pub mod alone;
pub mod elf;
pub mod guest;
pub mod linux;
pub mod ovmf;
pub mod pack;
pub mod settings;
pub mod sizes;
pub mod state;
#[cfg(test)]
mod testing;
