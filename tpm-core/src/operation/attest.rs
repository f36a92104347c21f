//! Attestation structures (Part 1, 28; Part 3, 18.1): what is the same in all of them, and their signature.

use crate::crypto::hash::{HashAlg, Hasher};
use crate::crypto::kdf;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::operation::object::sign::Signer;
use crate::profile;
use crate::rc::{Fmt1, Rc};
use crate::wire::{
    Attest, AttestBuffer, Attested, ClockInfo, Data, Handle, INTERNAL_HASH, Marshal, Name, Signature, Tpm2b,
    handle_name,
};

impl Tpm {
    /// TPMS_CLOCK_INFO as it is now.
    pub(crate) fn clock_info(&self) -> ClockInfo {
        ClockInfo {
            clock: self.persistent.clock_ms,
            reset_count: self.persistent.reset_count,
            restart_count: self.reset.restart_count,
            safe: self.ram.clock_safe,
        }
    }

    /// A TPMS_ATTEST in octets (Part 2, 10.12.12). The scheme of an anonymous signer leaves out what would tell him:
    /// qualifiedSigner and extraData.
    pub(crate) fn attest_data(
        &self,
        signer: &Signer,
        qualifying_data: Data<'_>,
        attested: Attested<'_>,
    ) -> Result<AttestBuffer, Rc> {
        let qualified_signer = match signer {
            s if s.is_anonymous() => Name::new(),
            s if s.is_null() => handle_name(Handle::NULL),
            s => self.qualified_name_of(s.key),
        };
        let extra_data = if signer.is_anonymous() { Tpm2b(&[]) } else { qualifying_data };
        let (clock_info, firmware_version) = self.clock_and_firmware(signer, &qualified_signer);
        let attest = Attest { qualified_signer, extra_data, clock_info, firmware_version, attested };
        AttestBuffer::of(|w| attest.marshal(w)).map_err(|_| Fault::Capacity.into())
    }

    /// clockInfo and firmwareVersion. Outside the endorsement and platform hierarchies they could be used to tell TPMs
    /// apart, so that resetCount, restartCount and firmwareVersion are changed by a number that is always the same for
    /// one key.
    fn clock_and_firmware(&self, signer: &Signer, qualified_signer: &Name) -> (ClockInfo, u64) {
        let mut clock = self.clock_info();
        let mut firmware = firmware_version();
        let hierarchy = self.object(signer.key).map_or(Handle::NULL, |o| o.hierarchy);
        if !matches!(hierarchy, Handle::ENDORSEMENT | Handle::PLATFORM) {
            let name_alg = self.object(signer.key).and_then(|o| o.public.name_alg);
            let [a, b, c, d] = self.obfuscation(name_alg.unwrap_or(INTERNAL_HASH), qualified_signer);
            firmware = firmware.wrapping_add(u64::from(a) << 32 | u64::from(b));
            clock.reset_count = clock.reset_count.wrapping_add(c);
            clock.restart_count = clock.restart_count.wrapping_add(d);
        }
        (clock, firmware)
    }

    fn obfuscation(&self, alg: HashAlg, qualified_signer: &Name) -> [u32; 4] {
        let mut words = [[0; 4]; 4];
        let proof = self.persistent.storage_proof.as_slice();
        kdf::kdfa(alg, proof, b"OBFUSCATE", qualified_signer.as_slice(), &[], words.as_flattened_mut());
        words.map(u32::from_be_bytes)
    }

    /// Signs a TPMS_ATTEST; the NULL Signature without a key. A signed clock must not go back: TPM2_Shutdown no longer
    /// counts.
    ///
    /// - what [`Tpm::sign`] says
    pub(crate) fn sign_attest(
        &mut self,
        signer: &Signer,
        qualifying_data: Data<'_>,
        attest: &AttestBuffer,
    ) -> Result<Signature, Rc> {
        if signer.is_null() {
            return Ok(Signature::Null);
        }
        let signature = if let Some(hash) = signer.scheme.hash() {
            let mut digest = Hasher::new(hash).chain(attest.as_slice()).finish();
            if signer.is_anonymous() && !qualifying_data.0.is_empty() {
                digest = Hasher::new(hash).chain(qualifying_data.0).chain(digest.as_slice()).finish();
            }
            self.sign(signer, digest.as_slice())?
        } else {
            let key = self.object(signer.key).ok_or(Fault::NoObject)?;
            let mu = key.mu(&[attest.as_slice()]).ok_or(Fmt1::SCHEME.plain())?;
            self.sign_ml_dsa(signer.key, &mu)?
        };
        self.void_shutdown();
        Ok(signature)
    }

    /// Both in one: the structure and its signature.
    ///
    /// - what [`Tpm::sign`] says
    pub(crate) fn attest(
        &mut self,
        signer: &Signer,
        qualifying_data: Data<'_>,
        attested: Attested<'_>,
    ) -> Result<(AttestBuffer, Signature), Rc> {
        let attest = self.attest_data(signer, qualifying_data, attested)?;
        let signature = self.sign_attest(signer, qualifying_data, &attest)?;
        Ok((attest, signature))
    }
}

/// firmwareVersion: TPM_PT_FIRMWARE_VERSION_1 and _2.
pub(crate) fn firmware_version() -> u64 {
    let [first, second] = profile::FIRMWARE_VERSION;
    u64::from(first) << 32 | u64::from(second)
}
