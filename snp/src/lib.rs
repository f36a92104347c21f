//! What an SEV-SNP guest speaks: to the CPU, to its hypervisor, to the secure processor (PSP), and, as an SVSM, to its
//! own guest.
//!
//! Principles:
//! - The host is an adversary that may answer anything, and may change shared memory at any moment. What comes from
//!   shared memory is copied out once, the copy is checked, and only the copy is used.
//! - All `unsafe` stands in [`instr`]. Everything else is plain code that is tested on a development machine against a
//!   host and a PSP that lie; the hardware stands behind the traits [`ghcb::Hypervisor`], [`ghcb::SharedMemory`] and
//!   [`message::Transport`].
//! - A refusal is a value. Nothing that a host or guest sends makes this crate panic.
//! - No policy: whether an error ends the guest is for the kernel to say.
//!
//! | module | subject | source |
//! |---|---|---|
//! | [`rmp`] | VMPLs, permissions, result codes of PVALIDATE and RMPADJUST | APM volume 3 |
//! | [`instr`] | the instructions themselves | APM volume 3 |
//! | [`ghcb`] | GHCB page protocol and MSR protocol | GHCB (56421) 2.04 |
//! | [`vc`] | decoding of the instruction behind a #VC exception | APM volume 2, 15.35 |
//! | [`message`] | guest messages to the PSP, reports, derived keys | SNP firmware ABI (56860) 1.58 |
//! | [`report`] | the attestation report | same, chapter 7 |
//! | [`cpuid`], [`secrets`], [`vmsa`] | the pages that exist at launch | same, chapter 8; APM volume 2, appendix B |
//! | [`svsm`] | structures of the SVSM's protocols | SVSM (58019) 1.01 |
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod bits;
pub mod cpuid;
pub mod ghcb;
pub mod guid;
#[cfg(target_arch = "x86_64")]
pub mod instr;
pub mod message;
pub mod report;
pub mod rmp;
pub mod secrets;
pub mod svsm;
pub mod vc;
pub mod vmsa;

/// Bytes of the page on which all of SEV-SNP's protocols work.
pub const PAGE_SIZE: usize = 4096;

/// A private copy of one 4 KiB page.
pub type Page = [u8; PAGE_SIZE];
