//! What is x86-64, SNP and an image's at VMPL0 alone: the entry, descriptor tables, exceptions, page tables in use, the
//! way to the host.
//!
//! With `mem`'s functions and the allocator this is all of the image's `unsafe`; `kernel` decides, this carries out. It
//! is laid out by linker.ld, and comes up to a function `kernel_main` of the program's, on the large stack.
//!
//! The firmware is this crate's program and uses all of it. Another image, with a GHCB, page ownership and a loop of
//! its own, takes what is above the line, so that it has no start-up code to write (tests/paravisor).
//!
//! | module | is |
//! |---|---|
//! | `entry.s` | the first instructions, 32-bit |
//! | [`layout`] | where the linker put things |
//! | [`cell`] | statics that boot hands out once |
//! | [`descriptors`] | GDT, TSS, IDT |
//! | [`exceptions`] | all vectors; #VC |
//! | [`memory`] | page tables in use, the direct map, guest pages |
//! | [`heap`] | the allocator |
//! | `mem` | `memcpy` and its kin |
//! | [`settings`] | the measured settings that are obeyed |
//! | [`platform`] | what is made sure of before there is a TPM |
//! | [`programs`] | the way to programs at the host |
//! | [`operator`] | who certifies the TPM's keys |
//! | [`state`] | the disk with the TPM's state, and how the TPM begins |
//! | [`moving`] | how it comes from another firmware, or leaves for one |
//! | [`source`] | RDSEED and RDRAND |
//! | [`fatal`] | the end, with a reason |
//! | **above this line** | **what an image of another kind takes** |
//! | [`host`] | GHCB, console, guest messages |
//! | [`devices`] | the host's virtio devices |
//! | [`hv`] | #HV and its doorbell page |
//! | [`processor`] | what each processor has of its own; starting another |
//! | [`guest_vmsa`] | the register state of the guest's first vCPU |
//! | [`stack`] | the TPM's stack, and how much of it has been used |
#![no_std]

extern crate alloc;

pub mod cell;
pub mod descriptors;
pub mod devices;
pub mod exceptions;
pub mod fatal;
pub mod guest_vmsa;
pub mod heap;
pub mod host;
pub mod hv;
pub mod layout;
mod mem;
pub mod memory;
pub mod moving;
pub mod operator;
pub mod platform;
pub mod processor;
pub mod programs;
pub mod settings;
pub mod source;
pub mod stack;
pub mod state;

core::arch::global_asm!(include_str!("entry.s"), paint = const stack::PAINT);
