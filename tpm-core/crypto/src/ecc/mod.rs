//! Elliptic curves: [`Curve`] is the table.
//!
//! | module | is |
//! |---|---|
//! | `curve`, `point` | the table of curves; numbers, points and signatures |
//! | `params` | the constants of each curve |
//! | `fixed` | multiples of the base points of P-256 and P-384, from tables |
//! | `weierstrass`, `bn` | what every curve computes: over the RustCrypto curves, and our own for the BN curve |
//! | `operation` | keys, ECDH and ECDSA over these |
//! | `scheme` | what is written once over these: ECDAA, ECSchnorr, SM2, ECMQV |
//!
//! Scalars and coordinates are big-endian and of the curve's full size; shorter ones from outside are taken as numbers.

mod bn;
mod curve;
mod fixed;
mod operation;
mod params;
mod point;
mod scheme;
mod weierstrass;

pub use curve::Curve;
pub use params::Parameters;
pub use point::{MAX_SIZE, Number, Point, Scalar, Signature};
