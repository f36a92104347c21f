//! Judges the evidence of a Quoin guest offline, with code that the firmware does not share.
//!
//! ```no_run
//! use quoin_verify::evidence::{boot_log, folder::Evidence};
//! use quoin_verify::{Expectations, digest, verify};
//! # fn main() -> anyhow::Result<()> {
//! let image = std::fs::read("quoin.igvm")?;
//! let expectations = Expectations {
//!     measurement: Some(digest::measure(&image)?.digest),
//!     boot_events: Some(boot_log::expected(&image)?),
//!     ..Expectations::default()
//! };
//! let evidence = Evidence::read("evidence".as_ref())?;
//! match verify(&evidence, &expectations, |step, seen| println!("ok {step}: {seen}")) {
//!     Ok(()) => println!("verified"),
//!     Err(failure) => println!("{} fails: {:#}", failure.step, failure.why),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | module | is |
//! |---|---|
//! | [`chip`] | what a secure processor says of itself: patch levels, certificate table, the development root |
//! | [`digest`] | the launch digest of an IGVM file |
//! | [`evidence`] | what is judged, and how its parts are read |
//! | [`events`] | what was measured, by name |
//! | [`input`], [`pem`] | evidence and certificates as they lie in files |
//! | [`predict`], [`corim`] | what an image's boot will show, and that as reference values |
//! | [`eat`], [`signing`] | the verdict as a signed token |
//! | [`memory`] | what is remembered of TPMs whose state outlives their VM |
//! | [`page`] | the verdict as a page |
//! | [`policy`] | the policy file |
//! | [`roots`] | AMD's own authorities |
//! | [`tcti`] | evidence of a running TPM |
//! | [`verdict`] | what has come of all steps, and the exit status |
//! | `fuzz` (feature) | what the fuzz target does with an input |
//! | [`flips`] | which step must notice that a bit is not what it was |
//! | [`judge`] | the steps and the rules, in order |
//! | `program` (feature) | the program's options, what it prints, and its exit statuses |
//! | `screen`, `pipe` (feature `program`) | lines for a reader, and one who goes |

#![forbid(unsafe_code)]

pub mod chip;
pub mod corim;
pub mod digest;
pub mod eat;
pub mod events;
pub mod evidence;
pub mod flips;
#[cfg(any(feature = "fuzz", test))]
pub mod fuzz;
pub mod input;
pub mod judge;
pub mod memory;
pub mod page;
pub mod pem;
#[cfg(feature = "program")]
pub mod pipe;
pub mod policy;
pub mod predict;
#[cfg(feature = "program")]
pub mod program;
pub mod roots;
#[cfg(feature = "program")]
pub mod screen;
pub mod signing;
pub mod tcti;
#[cfg(test)]
mod testing;
pub mod verdict;

pub use judge::{Expectations, Failure, Step, verify};
