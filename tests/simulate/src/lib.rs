//! Simulations of what disks, networks and hosts do to a TPM's kept state. Each schedule is made of one seed: what is
//! found is played again by its seed.
//!
//! | module | is |
//! |---|---|
//! | [`drive`] | a disk with a cache, whose power goes |
//! | [`state`] | schedules of boots, commits, cuts, rollbacks, clones; and a disk that answers garbage |
//! | [`migration`] | what tests/migration plays, many times |
//! | [`runs`] | many schedules, on all processors |

pub use client::chance;

pub mod drive;
pub mod migration;
pub mod runs;
pub mod state;
