//! The host's side of the software SEV-SNP machine: what the verbs of `cargo xtask` and the suites have in common.
//!
//! | module | is |
//! |---|---|
//! | [`anchors`], [`relays`] | anchors on this computer, and the way to them |
//! | [`boot`] | a boot, to the start of what is at VMPL2 |
//! | [`mod@build`] | cargo calls for what runs without an operating system |
//! | [`child`] | children that end with us |
//! | [`collect`] | gathering evidence |
//! | [`devices`] | the firmware's own disk and console |
//! | [`debian`], [`fetch`] | programs from Debian packages |
//! | [`fat`], [`uki`] | disks and unified kernel images for OVMF |
//! | [`figures`] | what verbs have measured, for docs/figures.md |
//! | [`guest`] | operating systems at VMPL2 |
//! | [`image`] | the image, packed and measured |
//! | [`nbd`] | a disk that QEMU reaches at a socket of ours |
//! | [`pages`] | what verbs write into docs/ as a whole |
//! | [`progress`], [`timeline`] | status lines, and what a boot says |
//! | [`psp`] | the mock secure processor's identity |
//! | [`qemu`] | the machine in QEMU |
//! | [`relay`] | the client of the payload at VMPL2 |
//! | [`status`] | exit statuses of guests' ends |
//! | [`terminal`] | keys for a guest |
//! | [`watch`] | one boot of an operating system, moment by moment |
//! | [`workspace`] | where things lie |
//! | [`wrapper`] | what makes two checkouts give the same image |

#![forbid(unsafe_code)]

pub mod anchors;
pub mod boot;
pub mod build;
pub mod child;
pub mod collect;
pub mod debian;
pub mod devices;
pub mod fat;
pub mod fetch;
pub mod figures;
pub mod guest;
pub mod image;
pub mod nbd;
pub mod pages;
pub mod progress;
pub mod psp;
pub mod qemu;
pub mod relay;
pub mod relays;
pub mod shell;
pub mod status;
pub mod terminal;
pub mod timeline;
pub mod uki;
pub mod watch;
pub mod workspace;
pub mod wrapper;
