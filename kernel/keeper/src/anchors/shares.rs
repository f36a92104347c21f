//! The share of the state's key, where it is a root.

use alloc::vec::Vec;

use anchor::client::Client;
use anchor::share::{Covered, Exchange, Secret, combine, commitment, new_correction, point};
use anchor::{P384, drive};
use kernel::fatal::{Fatal, Reason};
use tpm_core::Entropy;
use zeroize::{Zeroize, Zeroizing};

use super::{Anchored, scalar};
use crate::outer::Share;

impl Anchored {
    /// The share of the state's key, where it is a root: of `k` anchors, or a new one, of which all get a part.
    ///
    /// # Errors
    /// `Anchors`: there is none; `Entropy`.
    pub(super) fn secret(&mut self, entropy: &mut dyn Entropy) -> Result<Option<Zeroizing<[u8; 32]>>, Fatal> {
        let Some(exchange) = self.exchange.take() else { return Ok(None) };
        let count = if self.outer.shares.is_empty() { self.quorum.n() } else { self.quorum.k() };
        let given = if self.outer.shares.is_empty() {
            self.new_secret(&exchange, entropy)
        } else {
            Ok(self.known_secret(&exchange))
        };
        if !matches!(given, Ok(Some(_))) {
            // They may be asked again.
            self.exchange = Some(exchange);
        }
        given?.map(Some).ok_or_else(|| Fatal::new(Reason::Anchors, format_args!("not {count} give their share")))
    }

    fn new_secret(
        &mut self,
        exchange: &Exchange,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<Zeroizing<[u8; 32]>>, Fatal> {
        let anchors = usize::try_from(self.quorum.n()).unwrap_or(usize::MAX);
        if !self.ask(|way, client| drive::gather(way, client, |client| client.shares().count() == anchors)) {
            return Ok(None);
        }
        let mut random = Zeroizing::new([[0; 32]; 16]);
        for part in random.iter_mut() {
            entropy.fill(part).map_err(Fatal::because(Reason::Entropy))?;
        }
        let Some(secret) = Secret::new(self.quorum.k(), &random) else { return Ok(None) };
        let stored = |(number, covered): (usize, &Covered)| {
            let (number, share) = (u8::try_from(number).ok()?, covered.open(exchange)?);
            Some(Share { correction: secret.correction(number, &share), commitment: commitment(number, &share) })
        };
        let shares: Option<Vec<Share>> = self.client.shares().map(stored).collect();
        Ok(shares.map(|shares| {
            self.outer.shares = shares;
            Zeroizing::new(*secret.octets())
        }))
    }

    /// The others are waited for a little then: an anchor that has lost its database gives another share than it did,
    /// and counts again when the next record has the correction for that.
    fn known_secret(&mut self, exchange: &Exchange) -> Option<Zeroizing<[u8; 32]>> {
        let (k, n) = (usize::try_from(self.quorum.k()).ok()?, usize::try_from(self.quorum.n()).ok()?);
        let mut stored = core::mem::take(&mut self.outer.shares);
        let enough = self.ask(|way, client| {
            drive::gather(way, client, |client| Points::of(client, &stored, exchange, k).0.len() == k)
        });
        if enough {
            self.ask(|way, client| {
                way.hurry();
                drive::gather(way, client, |client| client.shares().count() == n)
            });
        }
        let points = Points::of(&self.client, &stored, exchange, k);
        let secret = if enough { combine(&points.0) } else { None };
        if secret.is_some() {
            self.correct(&mut stored, &points, exchange);
        }
        self.outer.shares = stored;
        secret
    }

    /// Stores corrections for shares that are others than those that were given when the state was made.
    fn correct(&self, stored: &mut [Share], points: &Points, exchange: &Exchange) {
        for (number, covered) in self.client.shares() {
            let (Some(of), Ok(number)) = (stored.get_mut(number), u8::try_from(number)) else { continue };
            let Some(share) = covered.open(exchange) else { continue };
            let commitment = commitment(number, &share);
            if commitment != of.commitment
                && let Some(correction) = new_correction(&points.0, number, &share)
            {
                *of = Share { correction, commitment };
            }
        }
    }
}

/// Numbers of anchors, and what their shares are at these.
struct Points(Vec<(u8, [u8; 32])>);

impl Points {
    /// Of `k` anchors whose shares are right.
    fn of(client: &Client<'_, P384>, stored: &[Share], exchange: &Exchange, k: usize) -> Self {
        let right = client.shares().filter_map(|(number, covered)| {
            let (of, number) = (stored.get(number)?, u8::try_from(number).ok()?);
            let share = covered.open(exchange)?;
            (commitment(number, &share) == of.commitment).then_some((number, point(&share, &of.correction)))
        });
        // No larger buffer takes its place while it is filled.
        let mut points = Self(Vec::with_capacity(k));
        points.0.extend(right.take(k));
        points
    }
}

impl Drop for Points {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|(_, point)| point.zeroize());
    }
}

pub(super) fn exchange(entropy: &mut dyn Entropy) -> Result<Exchange, Fatal> {
    let scalar = scalar(entropy)?;
    Exchange::new(&scalar).ok_or_else(Fatal::plain(Reason::Entropy))
}
