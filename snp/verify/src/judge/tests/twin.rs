//! [`Twin`] is a firmware, a PSP and a TPM in one: it holds the private keys and so can sign what no honest one would.

use super::authority::{self, Processor, TURIN_TCB};
use super::{issuer, vtpm};
use crate::chip::VLEK_GUID;
use crate::evidence::boot_log::BootLog;
use crate::evidence::event_log::{Event, EventLog, initial_pcrs};
use crate::evidence::folder::{Evidence, Kind};
use crate::evidence::ima::Measurements;
use crate::evidence::userspace::UserspaceLog;
use crate::evidence::wire::{Curve, Key, Public, RH_ENDORSEMENT, alg, sha256_selection, tpm2b};
use crate::evidence::{credential, manifest, template};
use crate::input::certificates::complete;
use crate::input::{self, Found};
use crate::judge::Expectations;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use core::time::Duration;
use host::psp::Identity;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use rsa::traits::PublicKeyParts;
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::time::SystemTime;
use x509_cert::ext::Extension;

/// Bits of the policy: the one that must be one, and SMT allowed.
pub(crate) const POLICY: u64 = 0x3_0000;
pub(crate) const RH_OWNER: u32 = 0x4000_0001;

/// What a dishonest platform could make, part by part. Everything is derived from these fields by [`Twin::evidence`].
pub(crate) struct Twin {
    pub(crate) identity: Identity,
    pub(crate) vcek: p384::ecdsa::SigningKey,
    pub(crate) ak: p256::ecdsa::SigningKey,
    pub(crate) ek_public: Public,
    pub(crate) ak_public: Public,
    pub(crate) report: Vec<u8>,
    pub(crate) report_nonce: Vec<u8>,
    pub(crate) quote: Quote,
    pub(crate) log: EventLog,
    pub(crate) boot_events: Vec<u8>,
    pub(crate) ima: Vec<u8>,
    pub(crate) userspace: Vec<u8>,
    pub(crate) secrets: credential::Secrets,
}

pub(crate) struct Quote {
    pub(crate) magic: u32,
    pub(crate) kind: u16,
    pub(crate) hierarchy: u32,
    pub(crate) extra_data: Vec<u8>,
    pub(crate) selection: Vec<u8>,
    /// Flipped in the digest of the PCRs.
    pub(crate) digest_flip: u8,
}

impl Twin {
    pub(crate) fn new() -> Self {
        let identity = Identity::development();
        let ak = p256::ecdsa::SigningKey::from_slice(&[0x4B; 32]).unwrap();
        let mut modulus = vec![0xC3; 256];
        modulus[255] = 0x01;
        let ek_public = Public { key: Key::Rsa { bits: 2048, modulus }, ..template::ek_rsa_2048() };
        let ak_public = Public { key: point(&ak), ..template::ak_p256() };
        Self {
            vcek: p384::ecdsa::SigningKey::from_slice(&identity.vcek_scalar).unwrap(),
            report: report(&identity),
            identity,
            ak,
            ek_public,
            ak_public,
            report_nonce: vec![0x17; 64],
            quote: Quote {
                magic: 0xFF54_4347,
                kind: 0x8018,
                hierarchy: RH_ENDORSEMENT,
                extra_data: vec![0x29; 32],
                selection: sha256_selection(0x00FF_FFFF),
                digest_flip: 0,
            },
            log: EventLog { banks: vec![alg::SHA1, alg::SHA256], events: Vec::new() },
            boot_events: Vec::new(),
            ima: Vec::new(),
            userspace: Vec::new(),
            secrets: credential::Secrets { credential: vec![1; 32], seed: vec![2; 32], oaep_seed: vec![3; 32] },
        }
    }

    pub(crate) fn evidence(&self) -> Evidence {
        let ak_name = self.ak_public.name();
        let mut log = self.log.clone();
        log.events.extend([Event::of_report(&self.report_nonce), Event::of_key(&ak_name)]);
        let mut pcrs = initial_pcrs();
        BootLog::parse(&self.boot_events).unwrap().replay(&mut pcrs).unwrap();
        Measurements::parse(&self.ima).unwrap().replay(&mut pcrs).unwrap();
        UserspaceLog::parse(&self.userspace).unwrap().replay(&mut pcrs).unwrap();
        let pcrs = log.replay_after(pcrs).unwrap();
        let pcrs = pcrs.concat();
        Evidence {
            report: self.signed_report(&self.ek_public.to_bytes()),
            ark: self.identity.ark.clone(),
            ask: self.identity.ask.clone(),
            vcek: self.identity.vcek.clone(),
            certificates: self.certificate_table(),
            nonce: self.report_nonce.clone(),
            measurement: measurement().to_vec(),
            events: log.to_bytes().unwrap(),
            ima: self.ima.clone(),
            userspace: self.userspace.clone(),
            kind: Kind::Quoin,
            ..self.answers(&self.ek_public, pcrs)
        }
    }

    /// What the TPM with this EK has, and answers to a challenge and for a quote of PCRs with these values.
    fn answers(&self, ek: &Public, pcrs: Vec<u8>) -> Evidence {
        let ak_name = self.ak_public.name();
        let challenge = credential::make(ek, &ak_name, &self.secrets).unwrap();
        let quote = self.attest(&pcrs);
        Evidence {
            manifest: ek.to_bytes(),
            ak: tpm2b(&self.ak_public.to_bytes()),
            quote_signature: self.sign(&quote),
            quote,
            quote_nonce: vec![0x29; 32],
            pcrs,
            ak_name,
            credential: self.secrets.credential.clone(),
            seed: self.secrets.seed.clone(),
            oaep_seed: self.secrets.oaep_seed.clone(),
            blob: challenge.blob,
            encrypted_seed: challenge.encrypted_seed,
            answer: self.secrets.credential.clone(),
            boot_events: self.boot_events.clone(),
            ..Evidence::default()
        }
    }

    /// Another processor: its certificates, and a report of its kind.
    pub(crate) fn become_of(&mut self, processor: &Processor) {
        self.identity = processor.identity.clone();
        self.report = report(&self.identity);
        self.report[0x188..0x18A].copy_from_slice(&processor.cpu);
        if processor.cpu[0] == 0x1A {
            for at in [0x38, 0x180, 0x1E0, 0x1F0] {
                self.report[at..at + 8].copy_from_slice(&TURIN_TCB);
            }
        }
        self.report[0x48] = if processor.is_vlek { 4 } else { 0 };
    }

    fn certificate_table(&self) -> Vec<u8> {
        let mut table = self.identity.certificate_table();
        if self.report[0x48] & 4 != 0 {
            table[..16].copy_from_slice(&VLEK_GUID);
        }
        table
    }

    /// A report alone, without a manifest.
    pub(crate) fn report_alone(&self) -> Evidence {
        let mut data = [0; 64];
        data[..32].copy_from_slice(&self.report_nonce[..32]);
        Evidence {
            kind: Kind::Report,
            report: self.signed(&data),
            nonce: self.report_nonce[..32].to_vec(),
            ark: self.identity.ark.clone(),
            ask: self.identity.ask.clone(),
            vcek: self.identity.vcek.clone(),
            ..Evidence::default()
        }
    }

    /// What this TPM answers over its TCTI: no report, and a certificate of its EK.
    pub(crate) fn tpm(&self) -> Evidence {
        let key = issuer::ek();
        let modulus = key.to_public_key().n().to_bytes_be();
        let ek_public = Public { key: Key::Rsa { bits: 2048, modulus }, ..template::ek_rsa_2048() };
        let mut pcrs = initial_pcrs();
        BootLog::parse(&self.boot_events).unwrap().replay(&mut pcrs).unwrap();
        Evidence {
            kind: Kind::Tpm,
            ek_certificate: issuer::ek_certificate(),
            ek_chain: issuer::ek_issuer(),
            ..self.answers(&ek_public, pcrs.concat())
        }
    }

    /// What this TPM answers, and a report over its EK.
    pub(crate) fn tpm_with_report(&self) -> Evidence {
        let tpm = self.tpm();
        Evidence {
            report: self.signed_report(&tpm.manifest),
            ark: self.identity.ark.clone(),
            ask: self.identity.ask.clone(),
            vcek: self.identity.vcek.clone(),
            nonce: self.report_nonce.clone(),
            ..tpm
        }
    }

    /// A certificate of the firmware's, of this boot's P-256 AK, as the TPM has it.
    pub(crate) fn certificate(&self) -> Evidence {
        self.certificate_of(0, vtpm::P256_AK)
    }

    /// That in another index, or of another boot.
    pub(crate) fn certificate_of(&self, boot: u8, index: u32) -> Evidence {
        self.as_certificate(&vtpm::index(self, boot, index))
    }

    fn as_certificate(&self, der: &[u8]) -> Evidence {
        let Found { mut evidence, mut certificates } = input::of_file(der).unwrap();
        certificates.extend([self.identity.ask.clone(), self.identity.ark.clone()]);
        complete(&mut evidence, &certificates).unwrap();
        evidence
    }

    /// The certificate that an operator has issued for the key by which this boot's firmware issues.
    pub(crate) fn of_the_operator(&self) -> Evidence {
        self.certified_by_the_operator(0, &[issuer::constraints(true, Some(0))])
    }

    /// The same for another boot's, or with other extensions.
    pub(crate) fn certified_by_the_operator(&self, boot: u8, extensions: &[Extension]) -> Evidence {
        let own = vtpm::index(self, boot, vtpm::ISSUER);
        self.as_certificate(&issuer::by_the_operator(&own, extensions))
    }

    /// What configfs-tsm gives: a report over a manifest.
    pub(crate) fn over(&self, manifest: Vec<u8>) -> Evidence {
        Evidence {
            report: self.signed_report(&manifest),
            manifest,
            nonce: self.report_nonce.clone(),
            ..self.report_alone()
        }
    }

    /// The same of a manifest of version 1, with EK and AK.
    pub(crate) fn listed(&self) -> Evidence {
        self.over(manifest::tests::of(&[self.ek_public.to_bytes(), self.ak_public.to_bytes()]))
    }

    /// The same of a manifest of version 2, with a state.
    pub(crate) fn stateful(&self) -> Evidence {
        self.of_state(&manifest::tests::KEPT)
    }

    /// The same with another state.
    pub(crate) fn of_state(&self, kept: &manifest::Kept) -> Evidence {
        self.over(manifest::tests::with(&[self.ek_public.to_bytes(), self.ak_public.to_bytes()], kept))
    }

    /// What Azure's vTPM gives: claims, a quote by the RSA key that they name, and PCRs.
    pub(crate) fn azure(&self) -> Evidence {
        let key = authority::azure_ak();
        let modulus = key.to_public_key().n().to_bytes_be();
        let n = URL_SAFE_NO_PAD.encode(&modulus);
        let web_key = |kid: &str| format!(r#"{{"kid":"{kid}","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":"{n}"}}"#);
        let user_data = crate::digest::hex(&self.report_nonce);
        let keys = [web_key("HCLAkPub"), web_key("HCLEkPub")].join(",");
        let claims = format!(r#"{{"keys":[{keys}],"vm-configuration":{{}},"user-data":"{user_data}"}}"#).into_bytes();
        let mut data = [0; 64];
        data[..32].copy_from_slice(&Sha256::digest(&claims));
        let public = Public { key: Key::Rsa { bits: 2048, modulus }, ..template::ak_rsa_2048() };
        let mut pcrs = initial_pcrs();
        BootLog::parse(&self.boot_events).unwrap().replay(&mut pcrs).unwrap();
        Measurements::parse(&self.ima).unwrap().replay(&mut pcrs).unwrap();
        UserspaceLog::parse(&self.userspace).unwrap().replay(&mut pcrs).unwrap();
        let pcrs = pcrs.concat();
        let quote = self.attest_by(&public, &pcrs);
        let signature = authority::rsassa(&key, &quote);
        Evidence {
            kind: Kind::Azure,
            boot_events: self.boot_events.clone(),
            ima: self.ima.clone(),
            userspace: self.userspace.clone(),
            report: self.signed(&data),
            claims,
            quote_signature: [[0, 0x14, 0, 0x0B].as_slice(), &tpm2b(&signature)].concat(),
            quote,
            quote_nonce: vec![0x29; 32],
            pcrs,
            ark: self.identity.ark.clone(),
            ask: self.identity.ask.clone(),
            vcek: self.identity.vcek.clone(),
            ..Evidence::default()
        }
    }

    pub(crate) fn signed_report(&self, manifest: &[u8]) -> Vec<u8> {
        let data = Sha512::new().chain_update(&self.report_nonce).chain_update(manifest).finalize();
        self.signed(&data.into())
    }

    pub(crate) fn signed(&self, data: &[u8; 64]) -> Vec<u8> {
        let mut report = self.report.clone();
        report[0x50..0x90].copy_from_slice(data);
        let signature: p384::ecdsa::Signature = self.vcek.sign_prehash(&Sha384::digest(&report[..0x2A0])).unwrap();
        for (component, at) in signature.to_bytes().chunks(48).zip([0x2A0, 0x2E8]) {
            let little_endian: Vec<u8> = component.iter().rev().copied().collect();
            report[at..at + 48].copy_from_slice(&little_endian);
        }
        report
    }

    /// `TPMS_ATTEST`.
    pub(crate) fn attest(&self, pcrs: &[u8]) -> Vec<u8> {
        self.attest_by(&self.ak_public, pcrs)
    }

    fn attest_by(&self, ak: &Public, pcrs: &[u8]) -> Vec<u8> {
        let Quote { magic, kind, hierarchy, extra_data, selection, digest_flip } = &self.quote;
        let name = ak.name();
        let qualified = Sha256::new().chain_update(hierarchy.to_be_bytes()).chain_update(&name).finalize();
        let mut digest = Sha256::digest(pcrs).to_vec();
        digest[0] ^= digest_flip;
        let mut attest = magic.to_be_bytes().to_vec();
        attest.extend(kind.to_be_bytes());
        attest.extend(tpm2b(&[alg::SHA256.to_be_bytes().as_slice(), &qualified].concat()));
        attest.extend(tpm2b(extra_data));
        attest.extend([0; 8 + 4 + 4]);
        attest.push(1);
        attest.extend([0; 8]);
        attest.extend(selection);
        attest.extend(tpm2b(&digest));
        attest
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: p256::ecdsa::Signature = self.ak.sign_prehash(&Sha256::digest(message)).unwrap();
        let (r, s) = signature.split_bytes();
        let head = [alg::ECDSA.to_be_bytes(), alg::SHA256.to_be_bytes()].concat();
        [head, tpm2b(&r), tpm2b(&s)].concat()
    }
}

pub(crate) fn point(key: &p256::ecdsa::SigningKey) -> Key {
    let sec1 = key.verifying_key().to_encoded_point(false);
    let bytes = sec1.as_bytes();
    Key::Ecc { curve: Curve::P256, x: bytes[1..33].to_vec(), y: bytes[33..].to_vec() }
}

pub(crate) fn measurement() -> [u8; 48] {
    [0x90; 48]
}

/// Version 3, of a Milan.
pub(crate) fn report(identity: &Identity) -> Vec<u8> {
    let mut report = vec![0; 0x4A0];
    let mut put = |at: usize, bytes: &[u8]| report[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[3]);
    put(8, &POLICY.to_le_bytes());
    put(0x34, &[1]);
    put(0x90, &measurement());
    put(0x188, &[0x19, 0x01, 0x01]);
    put(0x1A0, &identity.chip_id);
    for at in [0x38, 0x180, 0x1E0, 0x1F0] {
        put(at, &identity.tcb.to_bytes());
    }
    report
}

pub(crate) fn expectations() -> Expectations {
    Expectations {
        development_root: true,
        measurement: Some(measurement()),
        policy: Some(POLICY),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        ..Expectations::default()
    }
}
