//! PCR selections (Part 2, 10.6).

use super::{Each, Ha, List, Marshal, PCR_COUNT, Reader, Unmarshal, Writer};
use crate::rc::Fmt1;
use tpm_crypto::hash::{Digest, HashAlg};

/// Octets of a PCR bit map that the TPM writes: TPMS_PCR_SELECT_MIN and _MAX are the same.
pub const PCR_SELECT_SIZE: u8 = 3;

/// TPMS_PCR_SELECTION (10.6.2). Bit `n` of `select` is PCR `n`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BankSelection {
    /// hash
    pub hash: HashAlg,
    /// sizeofSelect as it came, or PCR_SELECT_SIZE
    pub size: u8,
    /// pcrSelect
    pub select: u32,
}

impl BankSelection {
    /// The numbers of the selected PCR, ascending.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        let mut rest = self.select;
        core::iter::from_fn(move || {
            let next = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            (next < PCR_COUNT).then_some(next)
        })
    }
}

impl Unmarshal<'_> for BankSelection {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let hash = r.get()?;
        let size: u8 = r.get()?;
        if size != PCR_SELECT_SIZE {
            return Err(Fmt1::VALUE);
        }
        let select = r.take(size.into())?.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        Ok(Self { hash, size, select })
    }
}

impl Marshal for BankSelection {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.hash.marshal(w);
        self.size.marshal(w);
        let bytes = self.select.to_le_bytes();
        w.put(bytes.get(..self.size.into()).unwrap_or_default());
    }
}

/// The number of banks a selection may name: one for each hash that is implemented.
pub const MAX_BANKS: usize = HashAlg::ALL.len();
/// TPML_PCR_SELECTION (10.9.7)
pub type PcrSelection = List<BankSelection, MAX_BANKS>;
/// TPML_DIGEST (10.9.4) holds at most eight digests.
pub type DigestList = List<Digest, 8>;
/// TPML_DIGEST_VALUES (10.9.6): at most one digest for each hash that is implemented.
pub type EachDigestValue<'a> = Each<'a, Ha, { HashAlg::ALL.len() }>;
/// TPML_DIGEST_VALUES of a response.
pub type DigestValues = List<Ha, { HashAlg::ALL.len() }>;
