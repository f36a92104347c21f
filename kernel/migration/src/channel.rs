//! The keys of a run, and the messages that are sealed with them.
//!
//! Both keys come of the ephemeral keys' common secret and the digest of all that was said before, reports included;
//! one for each direction. The nonce is the number of sealed messages in that direction so far. Nothing is stored or
//! taken from a message, so no nonce can repeat: a key lives as long as its run, and no other run has it.

use alloc::vec::Vec;

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce};
use tpm_crypto::hash::HashAlg;
use tpm_crypto::kdf::{hkdf_expand, hkdf_extract};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::message::{HEADER, Kind};
use crate::octets::joined;
use crate::refusal::Refusal;
use crate::wiped::Wiped;

/// Octets of a tag.
pub const TAG: usize = 16;

/// Which side this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Has the state.
    Source,
    /// Gets it.
    Destination,
}

/// One direction.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Direction {
    key: [u8; 32],
    /// Messages so far. None after one that was not authentic: there is no next one.
    count: Option<u64>,
}

/// Both directions.
pub struct Channel {
    out: Direction,
    back: Direction,
}

impl Channel {
    /// The keys: HKDF with SHA-384, whose salt is the transcript's digest, and whose input is the common secret.
    #[must_use]
    pub fn new(side: Side, secret: &[u8], transcript: &[u8; 48]) -> Self {
        let mut root = hkdf_extract(HashAlg::Sha384, transcript, &[secret]);
        let of = |info: &[u8]| {
            let mut direction = Direction { key: [0; 32], count: Some(0) };
            // It fails for more than 255 digests only, and would leave a key of zeros.
            if hkdf_expand(HashAlg::Sha384, root.as_slice(), &[info], &mut direction.key).is_err() {
                direction.count = None;
            }
            direction
        };
        let forth = of(b"Quoin migration 1: source to destination");
        let back = of(b"Quoin migration 1: destination to source");
        root.zeroize();
        match side {
            Side::Source => Self { out: forth, back },
            Side::Destination => Self { out: back, back: forth },
        }
    }

    /// A whole message of a kind with this sealed behind its four octets.
    ///
    /// # Errors
    /// `Room`, and `Seal` if this direction has ended.
    pub fn seal(&mut self, kind: Kind, plain: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.seal_behind(&kind.header(), plain)
    }

    /// This, and behind it what is sealed; all of it is authenticated.
    pub(crate) fn seal_behind(&mut self, before: &[u8], plain: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut all = joined(&[before, plain, &[0; TAG]])?;
        let (cipher, nonce) = self.out.next()?;
        let (head, rest) = all.split_at_mut_checked(before.len()).ok_or(Refusal::Shape)?;
        let (body, tag) = rest.split_at_mut_checked(plain.len()).ok_or(Refusal::Shape)?;
        match cipher.encrypt_inout_detached(&nonce, head, (&mut *body).into()) {
            Ok(made) => {
                tag.copy_from_slice(&made);
                Ok(all)
            }
            Err(_) => {
                body.zeroize();
                Err(Refusal::Seal)
            }
        }
    }

    /// What is sealed in a message behind its four octets.
    ///
    /// # Errors
    /// `Seal` if it is not the next one of the other side: this direction has then ended. `Room`.
    pub fn open(&mut self, message: &[u8]) -> Result<Wiped, Refusal> {
        self.open_behind(HEADER, message)
    }

    pub(crate) fn open_behind(&mut self, before: usize, message: &[u8]) -> Result<Wiped, Refusal> {
        let (head, rest) = message.split_at_checked(before).ok_or(Refusal::Shape)?;
        let (body, tag) = rest.split_last_chunk::<TAG>().ok_or(Refusal::Shape)?;
        let mut plain = Wiped::of(joined(&[body])?);
        let (cipher, nonce) = self.back.next()?;
        if cipher.decrypt_inout_detached(&nonce, head, plain.as_mut_slice().into(), tag.into()).is_err() {
            self.back.count = None;
            return Err(Refusal::Seal);
        }
        Ok(plain)
    }
}

impl Direction {
    /// For the next message; there is no second time for a number.
    fn next(&mut self) -> Result<(Aes256Gcm, Nonce<aes_gcm::aead::consts::U12>), Refusal> {
        let count = self.count.ok_or(Refusal::Seal)?;
        self.count = count.checked_add(1);
        let [a, b, c, d, e, f, g, h] = count.to_be_bytes();
        Ok((Aes256Gcm::new(&self.key.into()), [0, 0, 0, 0, a, b, c, d, e, f, g, h].into()))
    }
}
