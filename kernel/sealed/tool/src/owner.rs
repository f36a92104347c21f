//! The owner's key, and what is signed with it: that one firmware may follow another (docs/migration.md).

use crate::key::{self, hex};
use anyhow::{Context, Result, ensure};
use data_encoding::HEXLOWER_PERMISSIVE;
use migration::{Grant, Identity, Measurement};
use std::path::Path;
use tpm_crypto::ecc::{Curve, Scalar};
use tpm_crypto::hash::HashAlg;
use tpm_crypto::kdf::{hkdf_expand, hkdf_extract};
use tpm_crypto::{Error, Rng};
use zeroize::Zeroizing;

/// Octets from which a scalar of P-384 is made: eight more than it has (FIPS 186-5, A.2.1).
const WIDE: usize = 48 + 8;

/// Octets that are drawn once.
struct Drawn<'a>(&'a [u8; WIDE]);

impl Rng for Drawn<'_> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        ensure_length(out.len()).map(|()| out.copy_from_slice(self.0))
    }
}

fn ensure_length(octets: usize) -> Result<(), Error> {
    if octets == WIDE { Ok(()) } else { Err(Error::Length) }
}

/// The system's random octets.
struct System;

impl Rng for System {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        getrandom::fill(out).map_err(|_| Error::Reseed)
    }
}

/// The private key that these octets are.
fn private(octets: &[u8; 32]) -> Result<Scalar> {
    let extracted = Zeroizing::new(hkdf_extract(HashAlg::Sha384, &[], &[octets]));
    let mut wide = Zeroizing::new([0; WIDE]);
    let expanded = hkdf_expand(HashAlg::Sha384, extracted.as_slice(), &[b"Quoin migration 1: owner's key"], &mut *wide);
    expanded.ok().context("no key follows from it")?;
    Curve::NistP384.random_scalar(&mut Drawn(&wide)).ok().context("no key follows from it")
}

/// x ‖ y.
fn point(key: &Scalar) -> Result<Vec<u8>> {
    let point = Curve::NistP384.public(key.as_slice()).ok().context("no point follows from it")?;
    Ok([point.x().as_slice(), point.y().as_slice()].concat())
}

/// A new key, as text.
pub(crate) fn new_key() -> Result<String> {
    let octets = key::draw()?;
    Ok(format!(
        "# Quoin's key of a state's owner. Whoever has it lets TPMs go to other firmwares, where the settings have the\n\
         # public key. It is not kept anywhere: write it down, or lose it.\n{}\n# The public key, for the measured \
         settings:\n# {}\n",
        *key::text(&octets),
        hex(&point(&private(&octets)?)?)
    ))
}

/// The public key of a key's file.
pub(crate) fn public(file: &Path) -> Result<String> {
    Ok(format!("{}\n", hex(&point(&private(&*key::octets(file)?)?)?)))
}

/// What is granted.
pub(crate) struct Terms<'a> {
    pub(crate) identity: Option<Identity>,
    pub(crate) from: &'a Measurement,
    pub(crate) to: &'a Measurement,
    pub(crate) until: u64,
}

/// Signs it.
pub(crate) fn grant(file: &Path, terms: &Terms<'_>) -> Result<Vec<u8>> {
    ensure!(terms.from != &[0; 48] && terms.to != &[0; 48], "a measurement cannot be left open");
    let key = private(&*key::octets(file)?)?;
    let Terms { identity, from, to, until } = *terms;
    let grant = Grant { identity: identity.unwrap_or_default(), from: *from, to: *to, until, signature: [0; 96] };
    let signed = grant.sign(key.as_slice(), &mut System).map_err(|why| anyhow::anyhow!("it is not signed: {why}"))?;
    Ok(signed.octets().to_vec())
}

/// An option's measurement.
pub(crate) fn measurement(text: &str) -> Result<Measurement> {
    let octets = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).context("it is not hexadecimal")?;
    octets.try_into().ok().context("it has not 48 octets")
}
