//! Sequence objects (Part 1, 29.4): a hash, MAC or event that is computed over several commands. They take slots of
//! transient objects, have an authValue but no policy, the Empty Buffer as Name, and no part in dictionary-attack
//! protection.

use super::message::Message;
use crate::crypto::cmac::Cmac;
use crate::crypto::hash::{Digest, HashAlg, Hasher};
use crate::crypto::hmac::Hmac;
use crate::crypto::sym::{self, BLOCK, SymAlg};
use crate::rc::Fmt1;
use crate::secret::Secret;
use crate::wire::{Auth, GENERATED_VALUE, Marshal, PCR_BANKS, Reader, Tpm2b, Unmarshal, Writer};

/// A sequence object.
pub(crate) struct Sequence {
    /// authValue
    pub(crate) auth: Auth,
    /// what it computes
    pub(crate) work: Work,
    /// its result has been given: it is flushed when the response is written
    pub(crate) complete: bool,
}

/// What a sequence computes.
pub(crate) enum Work {
    /// a hash
    Hash {
        /// the computation
        hasher: Hasher,
        /// whether the first block allows a ticket; `None` before it
        safe: Option<bool>,
    },
    /// an HMAC or CMAC
    Mac(Mac),
    /// the digest of each PCR bank
    Event([Hasher; PCR_BANKS.len()]),
    /// a message to be signed, or of which a signature is to be verified (1.85)
    Message(Message),
}

/// A message authentication code in progress.
pub(crate) enum Mac {
    /// HMAC
    Hmac(Hmac),
    /// CMAC, and the key to go on with it after it was saved
    Cmac {
        /// the computation
        cmac: Cmac,
        /// its cipher
        alg: SymAlg,
        /// its key
        key: Secret<{ sym::MAX_KEY }>,
    },
}

impl Mac {
    /// A CMAC; `None` if the cipher has no keys of this length.
    pub(crate) fn cmac(alg: SymAlg, key: &[u8]) -> Option<Self> {
        Some(Self::Cmac { cmac: Cmac::new(alg, key).ok()?, alg, key: Secret::from_slice(key).ok()? })
    }

    /// Takes in data.
    pub(crate) fn update(&mut self, data: &[u8]) {
        match self {
            Self::Hmac(hmac) => hmac.update(data),
            Self::Cmac { cmac, .. } => cmac.update(data),
        }
    }

    /// The code over everything taken in.
    pub(crate) fn finish(&self) -> Digest {
        match self {
            Self::Hmac(hmac) => hmac.duplicate().finish(),
            Self::Cmac { cmac, .. } => Digest::from_slice(&cmac.duplicate().finish()).unwrap_or_default(),
        }
    }
}

impl Sequence {
    /// A sequence that has taken in nothing.
    pub(crate) fn new(mut auth: Auth, work: Work) -> Self {
        auth.trim_trailing_zeros();
        Self { auth, work, complete: false }
    }

    /// Takes in data.
    pub(crate) fn update(&mut self, data: &[u8]) {
        match &mut self.work {
            Work::Hash { hasher, safe } => {
                safe.get_or_insert_with(|| is_safe_to_sign(data));
                hasher.update(data);
            }
            Work::Mac(mac) => mac.update(data),
            Work::Event(hashers) => hashers.iter_mut().for_each(|hasher| hasher.update(data)),
            Work::Message(message) => message.update(data),
        }
    }
}

impl Work {
    /// A hash.
    pub(crate) fn hash(alg: HashAlg) -> Self {
        Self::Hash { hasher: Hasher::new(alg), safe: None }
    }

    /// An event.
    pub(crate) fn event() -> Self {
        Self::Event(PCR_BANKS.map(Hasher::new))
    }
}

/// Whether what begins with this block is not one of the TPM's own structures, so that a ticket for it may be given
/// (Part 3, 17.8). Four octets tell: after fewer the rest could still make it one.
pub(crate) fn is_safe_to_sign(first_block: &[u8]) -> bool {
    first_block.len() >= 4 && !first_block.starts_with(&GENERATED_VALUE.to_be_bytes())
}

/// The saved form, for contexts and for the state of the TPM: authValue, selector, computation.
impl Marshal for Sequence {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.auth.marshal(w);
        match &self.work {
            Work::Hash { hasher, safe } => {
                w.put(&[0, safe.map_or(2, u8::from)]);
                hasher.marshal(w);
            }
            Work::Mac(Mac::Hmac(hmac)) => {
                let (inner, outer) = hmac.parts();
                w.put(&[1]);
                inner.marshal(w);
                outer.marshal(w);
            }
            Work::Mac(Mac::Cmac { cmac, alg, key }) => {
                let (chain, pending) = cmac.state();
                w.put(&[3]);
                alg.id().marshal(w);
                key.marshal(w);
                w.put(&chain);
                w.sized(|w| w.put(pending));
            }
            Work::Message(message) => {
                w.put(&[4]);
                message.marshal(w);
            }
            Work::Event(hashers) => {
                w.put(&[2]);
                hashers.iter().for_each(|hasher| hasher.marshal(w));
            }
        }
    }
}

impl Unmarshal<'_> for Sequence {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let auth = r.get()?;
        let work = match r.get::<u8>()? {
            0 => {
                let safe = match r.get::<u8>()? {
                    0 => Some(false),
                    1 => Some(true),
                    2 => None,
                    _ => return Err(Fmt1::VALUE),
                };
                Work::Hash { hasher: r.get()?, safe }
            }
            1 => Work::Mac(Mac::Hmac(Hmac::from_parts(r.get()?, r.get()?).ok_or(Fmt1::HASH)?)),
            2 => {
                let mut hashers = PCR_BANKS.map(Hasher::new);
                for hasher in &mut hashers {
                    let saved: Hasher = r.get()?;
                    if saved.alg() != hasher.alg() {
                        return Err(Fmt1::HASH);
                    }
                    *hasher = saved;
                }
                Work::Event(hashers)
            }
            3 => Work::Mac(unmarshal_cmac(r)?),
            4 => Work::Message(r.get()?),
            _ => return Err(Fmt1::SELECTOR),
        };
        Ok(Self { auth, work, complete: false })
    }
}

fn unmarshal_cmac(r: &mut Reader<'_>) -> Result<Mac, Fmt1> {
    let alg = SymAlg::from_id(r.get()?).ok_or(Fmt1::SYMMETRIC)?;
    let key: Secret<{ sym::MAX_KEY }> = r.get()?;
    let chain = r.take(BLOCK)?.try_into().map_err(|_| Fmt1::SIZE)?;
    let pending: Tpm2b<'_, BLOCK> = r.get()?;
    let cmac = Cmac::resume(alg, key.as_slice(), chain, pending.0).map_err(|_| Fmt1::VALUE)?;
    Ok(Mac::Cmac { cmac, alg, key })
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "lengths of test data")]
mod tests {
    use super::*;
    use crate::crypto::hash::digest;
    use crate::crypto::hmac::hmac;

    fn saved_and_restored(sequence: &Sequence) -> Sequence {
        let mut bytes = [0; 4096];
        let mut w = Writer::new(&mut bytes);
        sequence.marshal(&mut w);
        assert!(w.fits());
        let mut r = Reader::new(w.written(0));
        let again = Sequence::unmarshal(&mut r).unwrap();
        assert!(r.is_empty());
        again
    }

    #[test]
    fn a_sequence_goes_on_after_it_was_saved_at_any_point() {
        let data: [u8; 300] = core::array::from_fn(|i| i as u8);
        for at in [0, 1, 55, 63, 64, 65, 127, 128, 129, 255, 300] {
            let (before, after) = data.split_at(at);
            let works = HashAlg::ALL.iter().map(|&alg| Work::hash(alg));
            let macs = HashAlg::ALL.iter().map(|&alg| Work::Mac(Mac::Hmac(Hmac::new(alg, b"key"))));
            for work in works.chain(macs).chain([Work::event(), Work::Mac(Mac::cmac(SymAlg::Aes, &[7; 32]).unwrap())]) {
                let mut sequence = Sequence::new(Auth::from_slice(b"auth\0\0").ok().unwrap(), work);
                sequence.update(before);
                let mut sequence = saved_and_restored(&sequence);
                sequence.update(after);
                assert!(sequence.auth.ct_eq(b"auth"));
                match sequence.work {
                    Work::Hash { hasher, .. } => {
                        assert_eq!(hasher.clone().finish(), digest(hasher.alg(), &[&data]));
                    }
                    Work::Mac(mac) => {
                        let expected = match &mac {
                            Mac::Hmac(state) => hmac(state.alg(), b"key", &[&data]),
                            Mac::Cmac { .. } => {
                                let whole = Cmac::new(SymAlg::Aes, &[7; 32]).ok().unwrap().chain(&data).finish();
                                Digest::from_slice(&whole).unwrap()
                            }
                        };
                        assert_eq!(mac.finish(), expected);
                    }
                    Work::Message(_) => unreachable!(),
                    Work::Event(hashers) => {
                        for hasher in hashers {
                            assert_eq!(hasher.clone().finish(), digest(hasher.alg(), &[&data]));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn whether_a_ticket_is_safe_is_saved_too() {
        for (first, expected) in [(None, None), (Some(&b"\xffTCG"[..]), Some(false)), (Some(b"abcd"), Some(true))] {
            let mut sequence = Sequence::new(Auth::new(), Work::hash(HashAlg::Sha256));
            if let Some(first) = first {
                sequence.update(first);
            }
            let again = saved_and_restored(&sequence);
            assert!(matches!(again.work, Work::Hash { safe, .. } if safe == expected));
        }
    }

    #[test]
    fn what_was_not_saved_so_is_refused() {
        let mut bytes = [0; 1000];
        let mut w = Writer::new(&mut bytes);
        Sequence::new(Auth::new(), Work::hash(HashAlg::Sha256)).marshal(&mut w);
        let whole = w.written(0);
        for cut in 0..whole.len() {
            assert!(Sequence::unmarshal(&mut Reader::new(&whole[..cut])).is_err());
        }
        for (at, value) in [(2, 3), (3, 3), (4, 0xff), (7, 0xff)] {
            let old = core::mem::replace(&mut whole[at], value);
            assert!(Sequence::unmarshal(&mut Reader::new(whole)).is_err(), "{at}");
            whole[at] = old;
        }
        assert!(Sequence::unmarshal(&mut Reader::new(whole)).is_ok());
    }

    /// Found by fuzzing: what it wrote again was not what it had read.
    #[test]
    fn a_message_is_hashed_by_the_algorithm_that_is_named_before_the_hash() {
        for (named, good) in [(HashAlg::Sha1, true), (HashAlg::Sha256, false)] {
            let mut bytes = [0; 1000];
            let mut w = Writer::new(&mut bytes);
            // An empty authValue; a message that is to be signed, for no key, without a context, nothing of it read.
            w.put(&[0, 0, 4, 1, 0, 0, 0, 0, 0, 0]);
            named.marshal(&mut w);
            Hasher::new(HashAlg::Sha1).marshal(&mut w);
            assert_eq!(Sequence::unmarshal(&mut Reader::new(w.written(0))).is_ok(), good, "{named:?}");
        }
    }
}
