//! Anchors: small servers that know which state of a TPM is its newest, so that a host cannot put an old one back.
//!
//! A host owns the disk on which a TPM keeps its state. Encryption hides the state, but nothing on a disk says that it
//! is the newest copy, or the only one that runs. So a TPM has `n` anchors. Each keeps for a TPM its last [`Head`]
//! (epoch, boot nonce, state digest), and a TPM starts, and acknowledges a commit, when `k` of them have accepted its
//! new head. This crate has the messages byte by byte, the rules of an anchor ([`keeper`]) and those of a TPM
//! ([`client`]). It has no sockets, clocks or disks: octets in, octets out.
//!
//! # What a quorum proves
//!
//! A TPM *holds* the quorum while the newest accepted head is its own. The `k` anchors are acceptors of Paxos, as
//! CASPaxos uses them for one register that is changed again and again: a boot first has `k` anchors promise not to
//! accept anything of an earlier [`Ballot`], and is shown what each accepted last. The newest of these is what it goes
//! on from, if its record on the disk is that one or names it as its predecessor; if not, the record is old, and the
//! TPM does not start.
//!
//! - Two sets of `k` of `n` have `2k − n` anchors in common. While fewer than `2k − n` of all anchors lie, an honest
//!   one is among those, and it has promised the later boot to refuse the earlier one. So `k > n/2` is the least that
//!   gives anything, and [`quorum`] refuses less: with `k ≤ n/2` a host that cuts the network in two runs two copies.
//!   `k = n/2 + 1/2` (2 of 3, 3 of 5) bears no anchor that lies, 3 of 4 and 4 of 5 bear one and two, `k = n` bears
//!   `n − 1` and no anchor that is away.
//! - **No old state starts.** What `k` anchors have accepted, every later boot is shown by one honest anchor.
//! - **Two live copies never both hold a quorum**: the older one learns it at its next commit, which is refused by so
//!   many anchors that `k` are not left. Between two commits it does not know, and what it reads or signs then is of
//!   the state that it had: an answer says only that at some moment since the question nobody else had started. Whoever
//!   must know more has it register before it attests ([`client::Client::register`] with the head that it has), or
//!   compares boot nonces of two attestations.
//! - **A crash locks nobody out.** A new record is first flushed to the disk, then registered, then acknowledged. So
//!   the disk is never behind the anchors, and what is on it names what the anchors may know ([`Mark`]). A boot
//!   *settles* what it was shown: it has that accepted under its own ballot before it writes what names less.
//!
//! Anchors and network may lose, delay, repeat and reorder; no clock is used. Requests are signed by the TPM's own key
//! ([`keys`]), which is in its sealed state: anchors can show only what a TPM of this identity has asked for once.
//!
//! | module | is |
//! |---|---|
//! | [`wire`] | requests and replies |
//! | [`quorum`] | which anchors, and the policy: part of the measured settings |
//! | [`keys`] | ECDSA P-384 |
//! | [`mark`] | what a record on the disk says of what the anchors may know |
//! | [`client`] | a TPM's side |
//! | [`drive`] | the rounds of a boot and of a commit |
//! | [`keeper`] | an anchor's side |
//! | [`share`] | a part of a secret that an anchor keeps for whoever holds the newest state |

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

#[cfg(test)]
extern crate std;

pub mod client;
pub mod drive;
pub mod keeper;
pub mod keys;
pub mod mark;
pub mod quorum;
pub mod share;
pub mod wire;

pub use client::{Client, State};
pub use keys::{Keys, P384};
pub use mark::Mark;
pub use quorum::Quorum;
pub use wire::{Ballot, Head, Key, Reply, Request};

#[cfg(test)]
mod tests;
