//! PCR in the state of the TPM.

use super::{Pcrs, Root, is_possible};
use crate::crypto::hash::{Digest, Hasher};
use crate::data::measurement::Measurement;
use crate::rc::Fmt1;
use crate::wire::{Marshal, Optional, PCR_BANKS, Reader, Unmarshal, Writer};

/// For each bank what is allocated, and all values without their sizes.
impl Marshal for Pcrs {
    fn marshal(&self, w: &mut Writer<'_>) {
        for (bank, allocated) in self.banks.iter().zip(self.allocated) {
            allocated.marshal(w);
            bank.iter().for_each(|value| w.put(value.as_slice()));
        }
    }
}

impl Unmarshal<'_> for Pcrs {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let mut pcrs = Self::new([0; PCR_BANKS.len()]);
        for ((bank, allocated), alg) in pcrs.banks.iter_mut().zip(&mut pcrs.allocated).zip(PCR_BANKS) {
            *allocated = r.get()?;
            for value in bank {
                *value = Digest::from_slice(r.take(alg.digest_size())?).ok_or(Fmt1::SIZE)?;
            }
        }
        if is_possible(&pcrs.allocated) { Ok(pcrs) } else { Err(Fmt1::VALUE) }
    }
}

impl Optional for Pcrs {}

impl Marshal for Root {
    fn marshal(&self, w: &mut Writer<'_>) {
        w.put(&[match self {
            Self::Locality0 => 0,
            Self::Locality3 => 3,
            Self::HCrtm => 4,
        }]);
    }
}

impl Unmarshal<'_> for Root {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        match r.get::<u8>()? {
            0 => Ok(Self::Locality0),
            3 => Ok(Self::Locality3),
            4 => Ok(Self::HCrtm),
            _ => Err(Fmt1::VALUE),
        }
    }
}

impl Optional for Measurement {}

impl Marshal for Measurement {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.0.marshal(w);
    }
}

impl Unmarshal<'_> for Measurement {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let mut hashers = PCR_BANKS.map(Hasher::new);
        for hasher in &mut hashers {
            let stored: Hasher = r.get()?;
            if stored.alg() != hasher.alg() {
                return Err(Fmt1::HASH);
            }
            *hasher = stored;
        }
        Ok(Self(hashers))
    }
}
