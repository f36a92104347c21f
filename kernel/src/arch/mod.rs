//! What is x86-64, SNP and this image's alone: the entry, descriptor tables, exceptions, page tables in use, the way to
//! the host.
//!
//! With `mem`'s functions and the allocator this is all of the image's `unsafe`; the library decides, this carries out.
//!
//! | module | is |
//! |---|---|
//! | `entry.s` | the first instructions, 32-bit |
//! | [`layout`] | where the linker put things |
//! | [`cell`] | statics that boot hands out once |
//! | [`descriptors`] | GDT, TSS, IDT |
//! | [`exceptions`] | all vectors; #VC |
//! | [`hv`] | #HV and its doorbell page |
//! | [`memory`] | page tables in use, the direct map, guest pages |
//! | [`host`] | GHCB, guest messages |
//! | [`processor`] | what each processor has of its own; starting another |
//! | [`guest_vmsa`] | the register state of the guest's first vCPU |
//! | [`heap`] | the allocator |
//! | [`stack`] | the TPM's stack, and how much of it has been used |
//! | [`mem`] | `memcpy` and its kin |
//! | [`fatal`] | the end, with a reason |

pub(crate) mod cell;
pub(crate) mod descriptors;
pub(crate) mod exceptions;
pub(crate) mod fatal;
pub(crate) mod guest_vmsa;
pub(crate) mod heap;
pub(crate) mod host;
pub(crate) mod hv;
pub(crate) mod layout;
mod mem;
pub(crate) mod memory;
pub(crate) mod processor;
pub(crate) mod stack;

core::arch::global_asm!(include_str!("entry.s"), paint = const stack::PAINT);
