//! How the issuer of this boot comes by a certificate of the operator's.

use alloc::vec::Vec;

use tpm_core::{Entropy, Tpm};

use super::{ISSUER_INDEX, Identity};
use crate::attest::Reports;
use crate::sync::Mutex;
use authority::{Authorities, Channel, NotIssued, Request};

impl Identity {
    /// Asks the operator's program for a certificate of the issuer's, and issues under its name if an authority is
    /// above it. Otherwise nothing has changed, and the issuer's certificate is its own. To be called before a command
    /// is executed.
    // Once in a boot, if at all: what is cold is made small.
    #[cold]
    pub(crate) fn certify(
        &mut self,
        tpm: &mut Tpm,
        entropy: &mut dyn Entropy,
        reports: &Mutex<dyn Reports + '_>,
        authorities: &Authorities,
        channel: &mut dyn Channel,
        now_ms: &mut dyn FnMut() -> u64,
    ) -> Result<(), NotIssued> {
        let (request, key_info) = self.request(entropy, reports).ok_or(NotIssued::NoReport)?;
        let answer = authority::ask(channel, &request, authorities.wait_s, now_ms)?;
        let certified = authority::accept(&answer, authorities, &key_info)?;
        let above = self.above_index();
        self.chain = certified.chain;
        for (index, certificate) in (ISSUER_INDEX..).zip(self.chain.clone()) {
            // What a guest has there in a state that was kept stays its own.
            let _ = self.provide(tpm, index, certificate);
        }
        if above != self.above_index() {
            let _ = tpm.provide_index(self.above_index(), 0);
        }
        if let Some(issuer) = &mut self.issuer {
            issuer.take_name(certified.name, certified.key_id);
        }
        Ok(())
    }

    /// A request for the issuer, and its SubjectPublicKeyInfo.
    #[cold]
    fn request(&mut self, entropy: &mut dyn Entropy, reports: &Mutex<dyn Reports + '_>) -> Option<(Vec<u8>, Vec<u8>)> {
        let wrappers = self.wrappers(entropy, reports).ok()?;
        let issuer = self.issuer.as_mut()?;
        // With the certificate of the report's key, however long that is.
        let wrapper = wrappers.first()?;
        let (certificate, pkcs10) = (issuer.own(wrapper)?, issuer.request(wrapper)?);
        let above = self.evidence.as_ref().map(|evidence| evidence.above.clone()).unwrap_or_default();
        Some((Request { certificate, above, pkcs10 }.to_bytes()?, issuer.key_info.clone()))
    }
}
