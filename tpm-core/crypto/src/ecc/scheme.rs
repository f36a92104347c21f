//! Schemes that are written once over every curve: ECDAA and ECSchnorr (Part 1, C.4 and C.5), SM2 (GB/T 32918.2 and
//! .3), ECMQV (SP 800-56A, 5.7.2.3).

use super::curve::Curve;
use super::operation::{NONCE_TRIES, hedged};
use super::point::{MAX_SIZE, Number, Point, Signature};
use crate::hash::{Digest, HashAlg, Hasher};
use crate::secret::ct_eq;
use crate::{Error, Rng};

/// The two ways to make a number of half the order's length from the x coordinate of an ephemeral key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exchange {
    Mqv,
    Sm2,
}

impl Curve {
    /// Signs a digest with ECSchnorr: r = H(x of k · G ‖ digest), the leftmost bytes of it, as many as the order has;
    /// s = k + r · d.
    ///
    /// # Errors
    /// `Error::Range` unless 0 < `d` < n, `Error::Reseed` from `rng`.
    pub fn ecschnorr_sign(self, d: &[u8], hash: HashAlg, digest: &[u8], rng: &mut dyn Rng) -> Result<Signature, Error> {
        let mut nonces = hedged(d, digest, rng)?;
        for _ in 0..NONCE_TRIES {
            let (k, point) = self.generate(&mut nonces)?;
            let r = self.schnorr_hash(hash, &point, digest)?;
            if !self.is_scalar(&r) {
                continue;
            }
            let s = self.ops().mul_add(r.as_slice(), d, k.as_slice())?;
            return Ok(Signature { r, s: Number::new(s.as_slice(), self.size())? });
        }
        Err(Error::Fault)
    }

    /// Verifies an ECSchnorr signature of a digest: H(x of s · G − r · Q ‖ digest) is r.
    ///
    /// # Errors
    /// `Error::Invalid` if it does not verify, for whatever reason.
    pub fn ecschnorr_verify(
        self,
        public: &Point,
        hash: HashAlg,
        digest: &[u8],
        signature: &Signature,
    ) -> Result<(), Error> {
        self.check_signature(public, signature)?;
        let point = self
            .negative(&signature.r)
            .and_then(|minus_r| self.ops().combine(signature.s.as_slice(), minus_r.as_slice(), public))
            .map_err(|_| Error::Invalid)?;
        let r = self.schnorr_hash(hash, &point, digest)?;
        if r == signature.r { Ok(()) } else { Err(Error::Invalid) }
    }

    /// Signs a digest with ECDAA, with the scalar r of the TPM2_Commit before: nonceK is random, T = H(nonceK ‖ digest)
    /// and s = r + T · d. The signature's r is nonceK.
    ///
    /// # Errors
    /// `Error::Range` unless 0 < `d`, `commit` < n, or if s turns out to be zero; `Error::Reseed` from `rng`.
    pub fn ecdaa_sign(
        self,
        d: &[u8],
        commit: &[u8],
        hash: HashAlg,
        digest: &[u8],
        rng: &mut dyn Rng,
    ) -> Result<Signature, Error> {
        let nonce = self.random_scalar(rng)?;
        let nonce = Number::new(nonce.as_slice(), self.size())?;
        let t = Hasher::new(hash).chain(nonce.as_slice()).chain(digest).finish();
        let t = self.reduce(t.as_slice(), self.parameters().n)?;
        let s = self.ops().mul_add(t.as_slice(), d, commit)?;
        let signature = Signature { r: nonce, s: Number::new(s.as_slice(), self.size())? };
        if self.is_scalar(&signature.s) { Ok(signature) } else { Err(Error::Range) }
    }

    /// The point whose x coordinate is a digest modulo the field's prime, for TPM2_Commit (Part 3, 19.2): `digest` is
    /// H(s2), `y` is y2.
    ///
    /// # Errors
    /// `Error::Range` if it is not on the curve, `Error::Length` if `y` is longer than the curve's size.
    pub fn hashed_point(self, digest: &Digest, y: &[u8]) -> Result<Point, Error> {
        Point::new(self, self.reduce(digest.as_slice(), self.parameters().p)?.as_slice(), y)
    }

    /// Signs with SM2 (GB/T 32918.2, 6.1). `digest` is e, the hash over the signer's identity and the message, as a TPM
    /// is given it.
    ///
    /// # Errors
    /// `Error::Range` unless 0 < `d` < n − 1, `Error::Reseed` from `rng`.
    pub fn sm2_sign(self, d: &[u8], digest: &[u8], rng: &mut dyn Rng) -> Result<Signature, Error> {
        let mut nonces = hedged(d, digest, rng)?;
        for _ in 0..NONCE_TRIES {
            let k = self.random_scalar(&mut nonces)?;
            if let Some(signature) = self.sm2_sign_with(d, k.as_slice(), digest)? {
                return Ok(signature);
            }
        }
        Err(Error::Fault)
    }

    /// SM2 with a given nonce; None if another one has to be drawn. (k − r · d) / (1 + d) is computed as (k + r) / (1 +
    /// d) − r.
    pub(crate) fn sm2_sign_with(self, d: &[u8], k: &[u8], digest: &[u8]) -> Result<Option<Signature>, Error> {
        let r = self.sm2_r(&self.public(k)?, digest)?;
        let k_plus_r = self.ops().mul_add(&[1], k, r.as_slice())?;
        let inverse = self.ops().invert(self.ops().mul_add(&[1], d, &[1])?.as_slice())?;
        let s = self.ops().mul_add(inverse.as_slice(), k_plus_r.as_slice(), self.negative(&r)?.as_slice())?;
        let signature = Signature { r, s: Number::new(s.as_slice(), self.size())? };
        let zero = [0; MAX_SIZE];
        let useless = ct_eq(k_plus_r.as_slice(), zero.get(..self.size()).unwrap_or_default());
        Ok((!useless && self.is_scalar(&r) && self.is_scalar(&signature.s)).then_some(signature))
    }

    /// Verifies an SM2 signature (GB/T 32918.2, 7.1).
    ///
    /// # Errors
    /// `Error::Invalid` if it does not verify, for whatever reason.
    pub fn sm2_verify(self, public: &Point, digest: &[u8], signature: &Signature) -> Result<(), Error> {
        self.check_signature(public, signature)?;
        let t = self.ops().mul_add(&[1], signature.r.as_slice(), signature.s.as_slice())?;
        let t = Number::new(t.as_slice(), self.size())?;
        if !self.is_scalar(&t) {
            return Err(Error::Invalid);
        }
        let point = self.ops().combine(signature.s.as_slice(), t.as_slice(), public).map_err(|_| Error::Invalid)?;
        if self.sm2_r(&point, digest)? == signature.r { Ok(()) } else { Err(Error::Invalid) }
    }

    /// Full MQV (SP 800-56A, 5.7.2.3): the shared point from our static and ephemeral scalars and the peer's static and
    /// ephemeral points.
    ///
    /// # Errors
    /// `Error::Range` unless the scalars are between 0 and n, the points of this curve, and the result is not at
    /// infinity.
    pub fn mqv(
        self,
        d_static: &[u8],
        d_ephemeral: &[u8],
        static_b: &Point,
        ephemeral_b: &Point,
    ) -> Result<Point, Error> {
        self.exchange(Exchange::Mqv, [d_static, d_ephemeral], [static_b, ephemeral_b])
    }

    /// The shared point of the SM2 key exchange (GB/T 32918.3, 6.1), arguments and errors as for [`Curve::mqv`].
    ///
    /// # Errors
    /// As [`Curve::mqv`].
    pub fn sm2_exchange(
        self,
        d_static: &[u8],
        d_ephemeral: &[u8],
        static_b: &Point,
        ephemeral_b: &Point,
    ) -> Result<Point, Error> {
        self.exchange(Exchange::Sm2, [d_static, d_ephemeral], [static_b, ephemeral_b])
    }

    /// MQV: t = d_e + avf(Q_e) · d_s and t · (Q_eB + avf(Q_eB) · Q_sB). SM2 weights the ephemeral keys instead of the
    /// static ones.
    fn exchange(self, kind: Exchange, [d_s, d_e]: [&[u8]; 2], [q_s, q_e]: [&Point; 2]) -> Result<Point, Error> {
        if q_s.curve != self || q_e.curve != self {
            return Err(Error::Range);
        }
        let (ours, theirs) = (self.associate(kind, &self.public(d_e)?)?, self.associate(kind, q_e)?);
        let (t, sum) = match kind {
            Exchange::Mqv => {
                (self.ops().mul_add(ours.as_slice(), d_s, d_e)?, self.ops().add_multiple(q_e, theirs.as_slice(), q_s)?)
            }
            Exchange::Sm2 => {
                (self.ops().mul_add(ours.as_slice(), d_e, d_s)?, self.ops().add_multiple(q_s, theirs.as_slice(), q_e)?)
            }
        };
        self.ops().multiply(t.as_slice(), &sum)
    }

    /// 2^w + (x mod 2^w), where w is half the bits of the order, rounded up, for MQV and one less for SM2.
    fn associate(self, kind: Exchange, point: &Point) -> Result<Number, Error> {
        let half = usize::from(self.bits().div_ceil(2));
        let w = if kind == Exchange::Mqv { half } else { half - 1 };
        let mut number = point.x;
        let len = number.len;
        for (i, byte) in number.bytes.iter_mut().take(len).rev().enumerate() {
            let (mask, top): (u8, u8) = match (w / 8).cmp(&i) {
                core::cmp::Ordering::Greater => (0xFF, 0),
                core::cmp::Ordering::Equal => ((1 << (w % 8)) - 1, 1 << (w % 8)),
                core::cmp::Ordering::Less => (0, 0),
            };
            *byte = *byte & mask | top;
        }
        self.reduce(number.as_slice(), self.parameters().n)
    }

    /// (e + x) mod n; the whole digest counts, not only its leftmost bits.
    fn sm2_r(self, point: &Point, digest: &[u8]) -> Result<Number, Error> {
        let (n, size) = (self.parameters().n, self.size());
        let (e, x) = (self.reduce(digest, n)?, self.reduce(point.x.as_slice(), n)?);
        Number::new(self.ops().mul_add(&[1], e.as_slice(), x.as_slice())?.as_slice(), size)
    }

    fn schnorr_hash(self, hash: HashAlg, point: &Point, digest: &[u8]) -> Result<Number, Error> {
        let r = Hasher::new(hash).chain(point.x.as_slice()).chain(digest).finish();
        Number::new(r.as_slice().get(..self.size()).unwrap_or(r.as_slice()), self.size())
    }

    /// n − a for 0 < a < n, and 0 for 0.
    fn negative(self, a: &Number) -> Result<Number, Error> {
        let mut minus_one = Number::new(self.parameters().n, self.size())?;
        if let Some(last) = minus_one.bytes.get_mut(..self.size()).and_then(<[u8]>::last_mut) {
            *last = last.wrapping_sub(1);
        }
        Number::new(self.ops().mul_add(minus_one.as_slice(), a.as_slice(), &[])?.as_slice(), self.size())
    }

    /// Whether 0 < a < n, for a number that is not secret.
    fn is_scalar(self, a: &Number) -> bool {
        a.as_slice().iter().any(|&byte| byte != 0) && a.as_slice() < self.parameters().n
    }

    fn check_signature(self, public: &Point, signature: &Signature) -> Result<(), Error> {
        let numbers = [&signature.r, &signature.s];
        let fit = numbers.into_iter().all(|number| number.len == self.size() && self.is_scalar(number));
        if fit && public.curve == self { Ok(()) } else { Err(Error::Invalid) }
    }
}
