//! What only the TPM itself reads, in its state and in saved contexts: optional values, arrays, and hash computations
//! that go on.

use super::{Handle, Marshal, Reader, Unmarshal, Writer};
use crate::fault::Fault;
use crate::rc::Fmt1;
use tpm_crypto::hash::{Digest, HashAlg, Hasher, MAX_STATE};
use tpm_crypto::secret::Secret;

/// What the state holds in its place, so that large parts need not be moved about on the stack.
pub trait Restore {
    /// Reads what [`Marshal`] wrote into a value that is as manufactured.
    ///
    /// # Errors
    /// As [`Unmarshal::unmarshal`].
    fn restore(&mut self, r: &mut Reader<'_>) -> Result<(), Fmt1>;
}

impl<T: for<'a> Unmarshal<'a>> Restore for T {
    fn restore(&mut self, r: &mut Reader<'_>) -> Result<(), Fmt1> {
        *self = r.get()?;
        Ok(())
    }
}

impl<T: Restore, const N: usize> Restore for [T; N] {
    fn restore(&mut self, r: &mut Reader<'_>) -> Result<(), Fmt1> {
        self.iter_mut().try_for_each(|element| element.restore(r))
    }
}

impl<T: Marshal, const N: usize> Marshal for [T; N] {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.iter().for_each(|element| element.marshal(w));
    }
}

/// What may be missing: a TPMI_YES_NO, and the value behind it if there is one.
pub trait Optional {}

impl<T: Marshal + Optional> Marshal for Option<T> {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.is_some().marshal(w);
        if let Some(value) = self {
            value.marshal(w);
        }
    }
}

impl<'a, T: Unmarshal<'a> + Optional> Unmarshal<'a> for Option<T> {
    fn unmarshal(r: &mut Reader<'a>) -> Result<Self, Fmt1> {
        if r.get()? { r.get().map(Some) } else { Ok(None) }
    }
}

impl Optional for bool {}
impl Optional for u8 {}
impl Optional for u16 {}
impl Optional for u32 {}
impl Optional for u64 {}
impl Optional for Fault {}

/// Its number.
impl Marshal for Fault {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.number().marshal(w);
    }
}

impl Unmarshal<'_> for Fault {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        Self::from_number(r.get()?).ok_or(Fmt1::VALUE)
    }
}
impl Optional for Digest {}
impl Optional for Handle {}
impl Optional for (HashAlg, Digest) {}

/// An authPolicy with its algorithm.
impl Marshal for (HashAlg, Digest) {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.0.marshal(w);
        self.1.marshal(w);
    }
}

impl Unmarshal<'_> for (HashAlg, Digest) {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let (alg, digest): (HashAlg, Digest) = (r.get()?, r.get()?);
        if digest.len() == alg.digest_size() { Ok((alg, digest)) } else { Err(Fmt1::SIZE) }
    }
}

/// A hash computation as it is saved: algorithm, and a TPM2B with what [`Hasher::save`] writes.
impl Marshal for Hasher {
    fn marshal(&self, w: &mut Writer<'_>) {
        let mut state = Secret::<MAX_STATE>::zeroed(MAX_STATE).unwrap_or_default();
        let len = self.save(state.as_mut_slice()).unwrap_or_default();
        self.alg().marshal(w);
        w.sized(|w| w.put(state.as_slice().get(..len).unwrap_or_default()));
    }
}

impl Unmarshal<'_> for Hasher {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        // PCR banks are hashed whether or not the profile offers their algorithm.
        let alg = HashAlg::from_id(r.get()?).ok_or(Fmt1::HASH)?;
        let len: u16 = r.get()?;
        Hasher::restore(alg, r.take(len.into())?).ok_or(Fmt1::VALUE)
    }
}
