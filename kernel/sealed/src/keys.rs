//! Keys. No (key, nonce) pair ever seals two things, whatever the disk holds, however often it is turned back, and
//! however many copies of it are booted:
//!
//! - The contents' key is drawn at each boot ([`Fresh`], which is not copied and is used up), lives in this memory
//!   alone, and counts what it has sealed. Neither the key nor the count is ever read from a disk, so there is nothing
//!   that a disk could turn back.
//! - Keys that wrap it are each derived with a salt of 256 bits that is as fresh, and each seals one thing, with
//!   nonce 0. So is the key of the outer part, which counts as the contents' key does.

use crate::contents::Beside;
use crate::layout::{Head, MAX_OUTER, ROOM, TAG, Wrap};
use crate::refusal::Refusal;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce};
use core::ops::Range;
use snp::message::key::{KeyRequest, RootKey, field};
use snp::rmp::Vmpl;
use tpm_crypto::ecc::{Curve, Point, Scalar};
use tpm_crypto::hash::HashAlg;
use tpm_crypto::kdf::{hkdf_expand, hkdf_extract};
use tpm_crypto::{Error, Rng};
use zerocopy::byteorder::little_endian::{U32, U64};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Roots that a record may be sealed to, as bits of [`Head::roots`].
pub mod root {
    /// The chip's, with measurement, policy and TCB. Always.
    pub const CHIP: u32 = 1;
    /// The share of the anchors, which is needed beside the chip's.
    pub const SHARE: u32 = 1 << 1;
    /// The operator's recovery key, which opens it instead of both.
    pub const RECOVERY: u32 = 1 << 2;
}

/// What MSG_KEY_REQ mixes into the chip's root (docs/persistence.md has what each forbids, and why the others are not
/// in it).
pub const FIELDS: u64 = field::MEASUREMENT | field::POLICY | field::TCB_VERSION;

/// The request for the chip's root, under the TCB that a record names ([`Head::tcb`]), or for a new one under the
/// committed TCB of this boot's report.
#[must_use]
pub fn chip_request(tcb: u64) -> KeyRequest {
    KeyRequest { tcb_version: U64::new(tcb), ..KeyRequest::new(RootKey::Vcek, FIELDS, Vmpl::Vmpl0) }
}

/// The octets of a root. Not printed, copied or compared; wiped when it goes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Root([u8; 32]);

impl Root {
    /// A root with these octets.
    #[must_use]
    pub const fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }
}

/// All that a firmware seals to.
pub struct Roots {
    /// What the secure processor gives for [`chip_request`].
    pub chip: Root,
    /// What anchors give, where the measured settings ask for it: then nothing opens without both.
    pub share: Option<Root>,
    /// The operator's key from the measured settings. (From the disk it could be the host's.)
    pub recovery: Option<RecoveryPoint>,
}

impl Roots {
    /// As in [`Head::roots`].
    #[must_use]
    pub fn bits(&self) -> u32 {
        let share = if self.share.is_some() { root::SHARE } else { 0 };
        let recovery = if self.recovery.is_some() { root::RECOVERY } else { 0 };
        root::CHIP | share | recovery
    }

    /// A key from the chip's root and the share, if there is one: both, or another key.
    fn derive(&self, salt: &[u8], label: &[u8], out: &mut [u8]) {
        let share = self.share.as_ref().map_or(&[][..], |share| &share.0);
        derive(salt, &[&self.chip.0, share], &[label, &[u8::from(self.share.is_some())]], out);
    }

    /// The firmware's own half of the agreement with the recovery key. It is as secret as the roots are.
    fn recovery_scalar(&self) -> Result<Scalar, Error> {
        let mut octets = Zeroizing::new([0; WIDE]);
        self.derive(&[], b"Quoin state 2: firmware and recovery", &mut *octets);
        scalar(&octets)
    }
}

/// HKDF with SHA-256 (RFC 5869).
fn derive(salt: &[u8], ikm: &[&[u8]], info: &[&[u8]], out: &mut [u8]) {
    let extracted = Zeroizing::new(hkdf_extract(HashAlg::Sha256, salt, ikm));
    // It fails for more than 255 digests only.
    if hkdf_expand(HashAlg::Sha256, extracted.as_slice(), info, out).is_err() {
        out.zeroize();
    }
}

/// Octets from which a scalar of P-384 is made: eight more than it has (FIPS 186-5, A.2.1).
const WIDE: usize = 48 + 8;

/// Octets that are drawn once.
struct Drawn<'a>(&'a [u8; WIDE]);

impl Rng for Drawn<'_> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        if out.len() != WIDE {
            return Err(Error::Length);
        }
        out.copy_from_slice(self.0);
        Ok(())
    }
}

fn scalar(octets: &[u8; WIDE]) -> Result<Scalar, Error> {
    Curve::NistP384.random_scalar(&mut Drawn(octets))
}

/// The operator's public key for recovery: a point of P-384.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveryPoint(Point);

impl RecoveryPoint {
    /// The point x ‖ y, big-endian. `None`: it is not on the curve.
    #[must_use]
    pub fn new(octets: &[u8; 96]) -> Option<Self> {
        let (x, y) = octets.split_at(48);
        Point::new(Curve::NistP384, x, y).ok().map(Self)
    }

    /// x ‖ y.
    #[must_use]
    pub fn octets(&self) -> [u8; 96] {
        octets_of(&self.0)
    }
}

fn octets_of(point: &Point) -> [u8; 96] {
    let mut octets = [0; 96];
    let both = point.x().as_slice().iter().chain(point.y().as_slice());
    octets.iter_mut().zip(both).for_each(|(to, from)| *to = *from);
    octets
}

/// The operator's recovery key: 32 octets, from which the private key is derived. It is never on a machine of the
/// host's but when it is used.
pub struct RecoveryKey(Scalar, RecoveryPoint);

impl RecoveryKey {
    /// The key that these octets are.
    ///
    /// # Errors
    /// What the derivation gives, which no octets are known for.
    pub fn new(octets: &[u8; 32]) -> Result<Self, Error> {
        let mut wide = Zeroizing::new([0; WIDE]);
        derive(&[], &[octets], &[b"Quoin state 2: recovery key"], &mut *wide);
        let d = scalar(&wide)?;
        let public = RecoveryPoint(Curve::NistP384.public(d.as_slice())?);
        Ok(Self(d, public))
    }

    /// What goes into the measured settings.
    #[must_use]
    pub const fn public(&self) -> &RecoveryPoint {
        &self.1
    }
}

/// Who opens a record, or seals one.
pub(crate) enum Holder<'a> {
    /// The firmware, by its own roots.
    Firmware(&'a Roots),
    /// The firmware, by what it has in common with the operator.
    Addressee(&'a Roots),
    /// The operator, by the recovery key.
    Operator(&'a RecoveryKey),
}

/// A key that wraps: for one thing.
pub(crate) struct WrapKey(Zeroizing<[u8; 32]>);

impl WrapKey {
    /// That of [`Head::own`].
    pub(crate) fn own(roots: &Roots, salt: &[u8; 32]) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        roots.derive(salt, b"Quoin state 2: own", &mut *key);
        Self(key)
    }

    /// That of [`Head::recovery`], and the firmware's point: ECDH of the firmware's static key with the operator's, so
    /// that each of the two can make it and nobody else.
    pub(crate) fn recovery(
        roots: &Roots,
        operator: &RecoveryPoint,
        salt: &[u8; 32],
    ) -> Result<(Self, [u8; 96]), Error> {
        let d = roots.recovery_scalar()?;
        let firmware = octets_of(&Curve::NistP384.public(d.as_slice())?);
        Ok((Self::agreed(&d, &operator.0, salt, &firmware, &operator.octets())?, firmware))
    }

    /// The same, as the operator makes it for a firmware's point.
    pub(crate) fn operators(key: &RecoveryKey, firmware: &[u8; 96], salt: &[u8; 32]) -> Result<Self, Error> {
        let (x, y) = firmware.split_at(48);
        let point = Point::new(Curve::NistP384, x, y)?;
        Self::agreed(&key.0, &point, salt, firmware, &key.1.octets())
    }

    fn agreed(
        d: &Scalar,
        other: &Point,
        salt: &[u8; 32],
        firmware: &[u8; 96],
        operator: &[u8; 96],
    ) -> Result<Self, Error> {
        let shared = Zeroizing::new(Curve::NistP384.multiply(d.as_slice(), other)?);
        let mut key = Zeroizing::new([0; 32]);
        derive(salt, &[shared.x().as_slice()], &[b"Quoin state 2: recovery", firmware, operator], &mut *key);
        Ok(Self(key))
    }

    /// The key that opens a record's wrap, and the wrap.
    fn opening<'h>(holder: &Holder<'_>, head: &'h Head) -> Result<(Self, &'h Wrap), Error> {
        match holder {
            Holder::Firmware(roots) => Ok((Self::own(roots, &head.own.salt), &head.own)),
            Holder::Addressee(roots) => {
                let operator = roots.recovery.as_ref().ok_or(Error::Range)?;
                let (agreed, _) = Self::recovery(roots, operator, &head.recovery.salt)?;
                Ok((agreed, &head.recovery))
            }
            Holder::Operator(key) => {
                Ok((Self::operators(key, &head.recovery_point, &head.recovery.salt)?, &head.recovery))
            }
        }
    }

    /// Wraps a key. The salt is that by which `self` was made; it goes.
    pub(crate) fn wrap(self, salt: [u8; 32], head: &Head, contents: &ContentsKey) -> Option<Wrap> {
        let mut wrap = Wrap { salt, key: *contents.key, tag: [0; TAG] };
        #[cfg(test)]
        crate::tests::nonces::sealed(&self.0, 0, head.of_writer(), &wrap.key);
        let tag = cipher(&self.0)
            .encrypt_inout_detached(&nonce(0), head.of_writer(), wrap.key.as_mut_slice().into())
            .map_err(|_| wrap.key.zeroize())
            .ok()?;
        wrap.tag = tag.into();
        Some(wrap)
    }
}

/// The octets that one boot needs, from the firmware's generator. They are used up: no two boots have the same.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Fresh {
    pub(crate) contents_key: [u8; 32],
    pub(crate) own_salt: [u8; 32],
    pub(crate) recovery_salt: [u8; 32],
    pub(crate) boot_nonce: [u8; 32],
    pub(crate) identity: [u8; 32],
}

impl Fresh {
    /// Draws them.
    ///
    /// # Errors
    /// What `fill` says.
    pub fn draw<E>(mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let zeros = [0; 32];
        let mut fresh =
            Self { contents_key: zeros, own_salt: zeros, recovery_salt: zeros, boot_nonce: zeros, identity: zeros };
        fill(&mut fresh.contents_key)?;
        fill(&mut fresh.own_salt)?;
        fill(&mut fresh.recovery_salt)?;
        fill(&mut fresh.boot_nonce)?;
        fill(&mut fresh.identity)?;
        Ok(fresh)
    }
}

impl Fresh {
    /// What this boot is known by.
    #[must_use]
    pub const fn boot_nonce(&self) -> &[u8; 32] {
        &self.boot_nonce
    }

    /// The identity of a TPM that begins now.
    #[must_use]
    pub const fn identity(&self) -> &[u8; 32] {
        &self.identity
    }
}

/// The key of the outer part: what the chip's root gives alone, since what is in it says how the share is had.
pub(crate) struct OuterKey(Zeroizing<[u8; 32]>);

impl OuterKey {
    /// That of the records that have this salt in [`Head::own`].
    pub(crate) fn new(chip: &Root, salt: &[u8; 32]) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        derive(salt, &[&chip.0], &[b"Quoin state 2: outer"], &mut *key);
        Self(key)
    }

    /// Opens it in place, in the contents' sectors; where it is then. `None`: who wrote it had not the key.
    pub(crate) fn open(&self, head: &Head, sectors: &mut [u8]) -> Option<Range<usize>> {
        let range = head.outer_range();
        if range.is_empty() {
            return Some(range);
        }
        let (outer, tag) = sectors.get_mut(range.clone())?.split_last_chunk_mut::<TAG>()?;
        cipher(&self.0)
            .decrypt_inout_detached(&nonce(head.nonce.get()), head.authenticated(), outer.into(), &(*tag).into())
            .ok()?;
        Some(range.start..range.end - TAG)
    }

    /// Seals it in place, once the contents are: under their count.
    fn seal(&self, head: &Head, sectors: &mut [u8]) -> Option<()> {
        let range = head.outer_range();
        if range.is_empty() {
            return Some(());
        }
        let (outer, at_end) = sectors.get_mut(range)?.split_last_chunk_mut::<TAG>()?;
        #[cfg(test)]
        crate::tests::nonces::sealed(&self.0, head.nonce.get(), head.authenticated(), outer);
        let tag = cipher(&self.0)
            .encrypt_inout_detached(&nonce(head.nonce.get()), head.authenticated(), (&mut *outer).into())
            .map_err(|_| outer.zeroize())
            .ok()?;
        *at_end = tag.into();
        Some(())
    }
}

/// The keys of one boot's records, and how many records they have sealed.
pub(crate) struct ContentsKey {
    key: Zeroizing<[u8; 32]>,
    outer: Option<OuterKey>,
    sealed: u64,
}

impl ContentsKey {
    /// For sealing: from a boot's own octets alone.
    pub(crate) fn new(fresh: &Fresh) -> Self {
        Self { key: Zeroizing::new(fresh.contents_key), outer: None, sealed: 0 }
    }

    /// With that of the outer part.
    pub(crate) fn with_outer(self, key: OuterKey) -> Self {
        Self { outer: Some(key), ..self }
    }

    /// Seals `room`'s front in place, with the tag behind it. The count goes into the head, and on, before anything is
    /// sealed: whatever happens then, this nonce is used. `None`: none is left, or there is no room.
    pub(crate) fn seal(&mut self, head: &mut Head, room: &mut [u8], length: usize) -> Option<()> {
        let count = self.sealed;
        self.sealed = count.checked_add(1)?;
        head.nonce = U64::new(count);
        let (contents, rest) = room.split_at_mut_checked(length)?;
        let at_end = rest.first_chunk_mut::<TAG>()?;
        #[cfg(test)]
        crate::tests::nonces::sealed(&self.key, count, head.authenticated(), contents);
        let tag = cipher(&self.key)
            .encrypt_inout_detached(&nonce(count), head.authenticated(), (&mut *contents).into())
            .map_err(|_| contents.zeroize())
            .ok()?;
        *at_end = tag.into();
        Some(())
    }
}

impl ContentsKey {
    /// Seals sections in `room`, and `outer` behind them; how many octets of whole sectors they are, zeros at the end
    /// of each. After an error `room` may hold anything.
    pub(crate) fn seal_sections<E>(
        &mut self,
        head: &mut Head,
        beside: &Beside,
        outer: &[u8],
        tpm: &[u8],
        room: &mut [u8],
    ) -> Result<usize, Refusal<E>> {
        let length = beside.write(tpm, room).ok_or(Refusal::Room)?;
        let octets = length.checked_add(TAG).filter(|octets| *octets <= ROOM).ok_or(Refusal::Room)?;
        head.octets = U32::new(u32::try_from(octets).map_err(|_| Refusal::Room)?);
        let with_tag = if outer.is_empty() { 0 } else { outer.len().saturating_add(TAG) };
        head.outer = U32::new(u32::try_from(with_tag).map_err(|_| Refusal::Room)?);
        let (range, sectors) = (head.outer_range(), head.sealed_octets());
        if outer.len() > MAX_OUTER {
            return Err(Refusal::Room);
        }
        room.get_mut(octets..sectors).ok_or(Refusal::Room)?.fill(0);
        room.get_mut(range).ok_or(Refusal::Room)?.iter_mut().zip(outer).for_each(|(to, from)| *to = *from);
        self.seal(head, room, length).ok_or(Refusal::Exhausted)?;
        match &self.outer {
            Some(key) => key.seal(head, room).ok_or(Refusal::Exhausted)?,
            None if outer.is_empty() => {}
            None => return Err(Refusal::Key),
        }
        Ok(sectors)
    }
}

/// The key of a record that is read. It seals nothing.
pub(crate) struct OpeningKey(Zeroizing<[u8; 32]>);

impl OpeningKey {
    /// That of a record. `None`: the holder has not what opens it.
    pub(crate) fn of(head: &Head, holder: &Holder<'_>) -> Option<Self> {
        let (wrapping, wrap) = WrapKey::opening(holder, head).ok()?;
        let mut key = Zeroizing::new(wrap.key);
        cipher(&wrapping.0)
            .decrypt_inout_detached(&nonce(0), head.of_writer(), key.as_mut_slice().into(), &wrap.tag.into())
            .ok()?;
        Some(Self(key))
    }

    /// A scalar of P-384 that follows from a record, and from no other; big-endian.
    pub(crate) fn scalar(&self, label: &[u8]) -> Result<Zeroizing<[u8; 48]>, Error> {
        let mut wide = Zeroizing::new([0; WIDE]);
        derive(&[], &[&*self.0], &[label], &mut *wide);
        let scalar = scalar(&wide)?;
        let mut octets = Zeroizing::new([0; 48]);
        octets.iter_mut().zip(scalar.as_slice()).for_each(|(to, from)| *to = *from);
        Ok(octets)
    }

    /// Opens the contents in place; how many octets they are without their tag. `None`: who wrote them had not the key.
    pub(crate) fn open(&self, head: &Head, sealed: &mut [u8]) -> Option<usize> {
        let (contents, tag) = sealed.split_last_chunk_mut::<TAG>()?;
        let length = contents.len();
        cipher(&self.0)
            .decrypt_inout_detached(&nonce(head.nonce.get()), head.authenticated(), contents.into(), &(*tag).into())
            .ok()?;
        Some(length)
    }
}

fn cipher(key: &[u8; 32]) -> Aes256Gcm {
    Aes256Gcm::new(&(*key).into())
}

/// count₈ ‖ 0₄.
fn nonce(count: u64) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = [0; 12];
    nonce.iter_mut().zip(count.to_le_bytes()).for_each(|(to, from)| *to = from);
    nonce.into()
}
