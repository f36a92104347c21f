//! Who this TPM is: its endorsement and attestation keys, and certificates over them in NV Indices, where clients look
//! for such (docs/boot.md, "Certificates").
//!
//! There is no authority at boot. The certificates' issuer is a key of this boot, and the report is over that key: who
//! believes the report believes the certificates. Each carries the report with it.
//!
//! The indices are there when the TPM is made, and take none of the guest's NV memory: the contents are here. Keys and
//! report are made when a command names an index first: a search for primes is too slow for before the guest.

mod azure;
mod certificate;
mod cmw;
mod operator;

pub use authority;

use alloc::boxed::Box;
use alloc::vec::Vec;

use sha2::{Digest, Sha512};
use snp::message::MessageError;
use snp::message::certificates::{ARK, ASK, CertificateTable, VCEK, VLEK};
use tpm_core::{AkTemplate, EkTemplate, Entropy, Failure, MAX_EK_PUBLIC, Provided, Tpm};
use zerocopy::IntoBytes;

use crate::attest::{Certificates, ReportError, Reports};
use crate::svsm::Busy;
use crate::sync::Mutex;
use authority::{MAX_CERTIFICATE, write as der};
use certificate::{Issuer, Kind, Purpose, public_key};
use cmw::{ENDORSEMENTS, EVIDENCE, Record, collection};

/// What REPORT_DATA is the SHA-512 of: this, and the issuer's SubjectPublicKeyInfo. It is longer than a nonce, and what
/// stands behind a nonce's length begins no manifest: no guest gets such a report by the attestation protocol.
pub const STATEMENT: &[u8; 96] =
    b"Quoin firmware: the key of this boot that issues the certificates of its vTPM's keys, version 1\n";

const REPORT_TYPE: &str = "application/vnd.amd.sev-snp.attestation-report";
const CERTIFICATE_TYPE: &str = "application/pkix-cert";
const STATEMENT_TYPE: &str = "application/octet-stream";

/// By which template a key is made.
#[derive(Clone, Copy)]
enum Template {
    Ek(EkTemplate),
    Ak(AkTemplate),
}

/// A key of the TPM's that can be named to others.
struct Known {
    template: Template,
    kind: Kind,
    /// The NV Index of its certificate.
    index: u32,
    /// The NV Index of its template, where clients look for one.
    template_index: Option<u32>,
}

impl Known {
    const fn ek(template: EkTemplate, kind: Kind) -> Known {
        Known { template: Template::Ek(template), kind, index: template.certificate_index(), template_index: None }
    }

    const fn ak(template: AkTemplate, kind: Kind, index: u32) -> Known {
        Known { template: Template::Ak(template), kind, index, template_index: Some(index + 1) }
    }

    /// Whether the engine's profile has the algorithms; every profile has those of attestation keys.
    fn is_offered(&self) -> bool {
        match self.template {
            Template::Ek(template) => template.is_offered(),
            Template::Ak(_) => true,
        }
    }

    const fn purpose(&self) -> Purpose {
        match self.template {
            Template::Ek(_) => Purpose::Endorsement,
            Template::Ak(_) => Purpose::Attestation,
        }
    }
}

/// All of them. Those of endorsement keys are where the TCG EK Credential Profile has them, but ML-KEM's
/// ([`EkTemplate::certificate_index`]); those of attestation keys where go-tpm-tools look for a certificate and a
/// template in a cloud's vTPM.
///
/// The first are in the manifest. Of the others some take seconds, and a manifest is asked for at every boot: who wants
/// one names its index.
const KNOWN: [Known; KEYS] = [
    Known::ek(EkTemplate::Rsa2048, Kind::Rsa(256)),
    Known::ek(EkTemplate::EccP256, Kind::P256),
    Known::ek(EkTemplate::EccP384, Kind::P384),
    Known::ak(AkTemplate::Rsa2048, Kind::Rsa(256), 0x01c1_0000),
    Known::ak(AkTemplate::EccP256, Kind::P256, 0x01c1_0002),
    Known::ek(EkTemplate::Rsa2048High, Kind::Rsa(256)),
    Known::ek(EkTemplate::EccP256High, Kind::P256),
    Known::ek(EkTemplate::EccP521, Kind::P521),
    Known::ek(EkTemplate::Rsa3072, Kind::Rsa(384)),
    Known::ek(EkTemplate::Rsa4096, Kind::Rsa(512)),
    Known::ek(EkTemplate::MlKem512, Kind::ML_KEM_512),
    Known::ek(EkTemplate::MlKem768, Kind::ML_KEM_768),
    Known::ek(EkTemplate::MlKem1024, Kind::ML_KEM_1024),
];
const KEYS: usize = 13;
/// Those in the manifest.
const NAMED: usize = 5;
/// The RSA-2048 keys, of which Azure's claims are.
const RSA_EK: usize = 0;
const RSA_AK: usize = 3;
const SLOTS: usize = KEYS + 3;
/// The issuer's certificate: the first index of an EK certificate chain.
const ISSUER_INDEX: u32 = 0x01c0_0100;
/// The second: what the host gives of the certificates above the report's, the signing key's and the root's. Where an
/// authority of the operator's is above the issuer, that comes behind its certificates.
const ABOVE_INDEX: u32 = 0x01c0_0101;

/// An index whose contents are made when they are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Key(usize),
    Issuer,
    Above,
    /// The certificate of the RSA attestation key, where Azure's guests look for it.
    AzureAk,
}

impl Slot {
    fn of_index(index: u32, above: u32) -> Option<Slot> {
        match index {
            ISSUER_INDEX => Some(Slot::Issuer),
            _ if index == above => Some(Slot::Above),
            azure::AK_CERTIFICATE_INDEX => Some(Slot::AzureAk),
            _ => KNOWN.iter().position(|known| known.index == index).map(Slot::Key),
        }
    }

    const fn number(self) -> usize {
        match self {
            Slot::Key(number) => number,
            Slot::Issuer => KEYS,
            Slot::Above => KEYS + 1,
            Slot::AzureAk => KEYS + 2,
        }
    }

    /// Whose certificate it holds, among [`KNOWN`].
    const fn key(self) -> Option<usize> {
        match self {
            Slot::Key(number) => Some(number),
            Slot::AzureAk => Some(RSA_AK),
            Slot::Issuer | Slot::Above => None,
        }
    }
}

/// The NV Indices that a command names among its handles, of which there are three at most.
fn named(command: &[u8]) -> impl Iterator<Item = u32> {
    let (handles, _) = command.get(10..).unwrap_or_default().as_chunks::<4>();
    handles.iter().take(3).map(|handle| u32::from_be_bytes(*handle))
}

/// A report over the issuer, and what the host gave with it.
struct Evidence {
    report: Vec<u8>,
    /// The certificate of the key that has signed it.
    endorsement: Option<Vec<u8>>,
    /// Those above that, one after another.
    above: Vec<u8>,
}

/// Why there is nothing to write to an index.
enum Nothing {
    /// For now.
    Busy,
    /// For good.
    Ever,
}

/// Keys and certificates of a TPM, as they have been made so far.
#[derive(Default)]
pub(crate) struct Identity {
    issuer: Option<Box<Issuer>>,
    evidence: Option<Evidence>,
    /// Public areas, and the endorsement seeds that they are of.
    keys: [Option<([u8; 32], Vec<u8>)>; KEYS],
    /// The endorsement seeds of which the slots' contents are.
    made: [Option<[u8; 32]>; SLOTS],
    /// As Azure's; what its report was made of last.
    azure: Option<Reported>,
    /// What is in the indices that this provides, as far as it has been made.
    contents: Vec<(u32, Vec<u8>)>,
    /// Certificates of the operator's, from the issuer's to the authority's; none, where the issuer has its own.
    chain: Vec<Vec<u8>>,
}

impl Provided for Identity {
    fn contents(&self, index: u32) -> Option<&[u8]> {
        self.contents.iter().find(|(of, _)| *of == index).map(|(_, contents)| &contents[..])
    }
}

/// What Azure's report says beside the keys.
struct Reported {
    /// Its user data, if there is one yet.
    user_data: Option<[u8; azure::USER_DATA_SIZE]>,
    /// The TPM's state outlives the VM.
    is_kept: bool,
}

impl Identity {
    /// Provides all indices that it can, and what is known already.
    ///
    /// # Errors
    /// [`Failure`]: one or more of them cannot be provided.
    pub(crate) fn provide_all(&mut self, tpm: &mut Tpm) -> Result<(), Failure> {
        let mut all = Ok(());
        for known in KNOWN.iter().filter(|known| known.is_offered()) {
            all = all.and(tpm.provide_index(known.index, 0));
            if let (Some(index), Template::Ak(template)) = (known.template_index, known.template) {
                let mut public = [0; MAX_EK_PUBLIC];
                let len = template.marshal(&mut public)?;
                all = all.and(self.provide(tpm, index, public.get(..len).unwrap_or_default().to_vec()));
            }
        }
        all.and(tpm.provide_index(ISSUER_INDEX, 0)).and(tpm.provide_index(ABOVE_INDEX, 0))
    }

    /// Provides these contents of an index.
    pub(crate) fn provide(&mut self, tpm: &mut Tpm, index: u32, contents: Vec<u8>) -> Result<(), Failure> {
        tpm.provide_index(index, u16::try_from(contents.len()).map_err(|_| Failure)?)?;
        self.contents.retain(|(of, _)| *of != index);
        self.contents.push((index, contents));
        Ok(())
    }

    /// Becomes what guests of Azure know, of a TPM that has been started, and whose state is kept or not. `run`
    /// executes commands.
    pub(crate) fn become_azure(&mut self, is_kept: bool, run: &mut azure::Run<'_>) -> Option<()> {
        azure::close(run)?;
        self.azure = Some(Reported { user_data: None, is_kept });
        Some(())
    }

    /// Provides what else Azure's guests read. What a guest has defined there in a state that was kept stays its own.
    /// Whether there was room for the attestation key.
    pub(crate) fn provide_azure(tpm: &mut Tpm) -> Result<bool, Failure> {
        let _ = tpm.provide_index(azure::REPORT_INDEX, 0);
        let _ = tpm.provide_index(azure::AK_CERTIFICATE_INDEX, 0);
        azure::place_key(tpm)
    }

    /// The marshalled TPMT_PUBLIC of the RSA-2048 endorsement key, and whether it was made now.
    pub(crate) fn endorsement_key(&mut self, tpm: &Tpm) -> Option<(&[u8], bool)> {
        let known = self.keys.first().is_some_and(|key| is_of(key.as_ref(), tpm));
        Some((self.public(tpm, RSA_EK)?, !known))
    }

    /// The marshalled TPMT_PUBLIC of the manifest's keys: endorsement keys, and then attestation keys.
    pub(crate) fn all(&mut self, tpm: &Tpm) -> Option<Vec<Vec<u8>>> {
        (0..NAMED).map(|number| self.public(tpm, number).map(<[u8]>::to_vec)).collect()
    }

    /// A key is kept until the endorsement seed is another, whatever has changed it.
    fn public(&mut self, tpm: &Tpm, number: usize) -> Option<&[u8]> {
        let (kept, known) = (self.keys.get_mut(number)?, KNOWN.get(number)?);
        if !is_of(kept.as_ref(), tpm) {
            let mut public = [0; MAX_EK_PUBLIC];
            let len = match known.template {
                Template::Ek(template) => tpm.endorsement_key(template, &mut public),
                Template::Ak(template) => tpm.attestation_key(template, &mut public),
            };
            *kept = Some((tpm.endorsement_seed_id()?, public.get(..len.ok()?)?.to_vec()));
        }
        kept.as_ref().map(|(_, public)| &public[..])
    }

    /// Makes ready what `command` names of the indices here. What cannot be made is removed, so that nobody finds an
    /// empty index; what somebody has undefined stays so.
    pub(crate) fn prepare(
        &mut self,
        tpm: &mut Tpm,
        entropy: &mut dyn Entropy,
        command: &[u8],
        reports: &Mutex<dyn Reports + '_>,
    ) -> Result<(), Busy> {
        for index in named(command) {
            // What somebody else has defined there since is not ours to change.
            if tpm.fault().is_some() || !tpm.has_provided_index(index) {
                continue;
            }
            if index == azure::REPORT_INDEX && self.azure.is_some() {
                self.prepare_azure(tpm, command, reports)?;
            }
            let Some(slot) = Slot::of_index(index, self.above_index()) else { continue };
            let Some(seed) = tpm.endorsement_seed_id() else { continue };
            let made = self.made.get(slot.number()).copied().flatten();
            if made.is_some_and(|made| made == seed || slot.key().is_none()) {
                continue;
            }
            let written = match self.contents(slot, tpm, entropy, reports) {
                Ok(contents) => self.provide(tpm, index, contents).is_ok(),
                Err(Nothing::Busy) => return Err(Busy),
                Err(Nothing::Ever) => false,
            };
            if !written {
                tpm.remove_provided_index(index);
            }
            if let Some(made) = self.made.get_mut(slot.number()) {
                *made = Some(seed);
            }
        }
        Ok(())
    }

    /// Where the host's certificates are.
    fn above_index(&self) -> u32 {
        // One index at least is the issuer's own.
        (ABOVE_INDEX..).zip(self.chain.iter().skip(1)).map(|(index, _)| index + 1).last().unwrap_or(ABOVE_INDEX)
    }

    /// Makes Azure's report anew, where there is none, or the guest has written other user data since; but not amid a
    /// read in several parts.
    fn prepare_azure(&mut self, tpm: &mut Tpm, command: &[u8], reports: &Mutex<dyn Reports + '_>) -> Result<(), Busy> {
        let user_data = azure::user_data(tpm);
        let last = self.azure.as_ref().and_then(|reported| reported.user_data);
        if last == Some(user_data) || last.is_some() && is_later_part(command) {
            return Ok(());
        }
        let provided = match self.azure_contents(tpm, &user_data, reports) {
            Ok(contents) => self.provide(tpm, azure::REPORT_INDEX, contents).is_ok(),
            Err(Nothing::Busy) => return Err(Busy),
            Err(Nothing::Ever) => false,
        };
        if !provided {
            tpm.remove_provided_index(azure::REPORT_INDEX);
        } else if let Some(reported) = &mut self.azure {
            reported.user_data = Some(user_data);
        }
        Ok(())
    }

    /// The keys are those that the seed gives, and not what is at any handle.
    fn azure_contents(
        &mut self,
        tpm: &Tpm,
        user_data: &[u8; azure::USER_DATA_SIZE],
        reports: &Mutex<dyn Reports + '_>,
    ) -> Result<Vec<u8>, Nothing> {
        let is_kept = self.azure.as_ref().is_some_and(|reported| reported.is_kept);
        let ak = self.public(tpm, RSA_AK).ok_or(Nothing::Ever)?.to_vec();
        let ek = self.public(tpm, RSA_EK).ok_or(Nothing::Ever)?;
        let claims = azure::claims(&ak, ek, user_data, is_kept);
        let evidence = evidence(&azure::report_data(&claims), reports)?;
        azure::contents(&evidence.report, &claims).ok_or(Nothing::Ever)
    }

    /// What is to be in an index: a certificate with all that it can carry.
    fn contents(
        &mut self,
        slot: Slot,
        tpm: &Tpm,
        entropy: &mut dyn Entropy,
        reports: &Mutex<dyn Reports + '_>,
    ) -> Result<Vec<u8>, Nothing> {
        let wrappers = self.wrappers(entropy, reports)?;
        if slot == Slot::Above {
            let above = self.evidence.as_ref().map_or(&[][..], |evidence| &evidence.above);
            return if above.is_empty() { Err(Nothing::Ever) } else { Ok(above.to_vec()) };
        }
        if let (Slot::Issuer, Some(certificate)) = (slot, self.chain.first()) {
            return Ok(certificate.clone());
        }
        let key = match slot.key() {
            Some(number) => {
                let known = KNOWN.get(number).ok_or(Nothing::Ever)?;
                let public = self.public(tpm, number).ok_or(Nothing::Ever)?;
                Some((known, public_key(known.kind, public).ok_or(Nothing::Ever)?))
            }
            None => None,
        };
        let issuer = self.issuer.as_mut().ok_or(Nothing::Ever)?;
        let mut certificates = wrappers.iter().filter_map(|wrapper| match &key {
            Some((known, key_info)) => issuer.issue(known.purpose(), known.kind, key_info, wrapper),
            None => issuer.own(wrapper),
        });
        certificates.find(|certificate| certificate.len() <= MAX_CERTIFICATE).ok_or(Nothing::Ever)
    }

    /// What certificates carry: the report, what it says, and the certificate of the key that has signed it; and the
    /// same without that, where it would be too long.
    fn wrappers(
        &mut self,
        entropy: &mut dyn Entropy,
        reports: &Mutex<dyn Reports + '_>,
    ) -> Result<Vec<Vec<u8>>, Nothing> {
        if self.issuer.is_none() {
            let mut seed = zeroize::Zeroizing::new([0; 48]);
            entropy.fill(&mut *seed).map_err(|_| Nothing::Ever)?;
            self.issuer = Some(Box::new(Issuer::new(&seed).ok_or(Nothing::Ever)?));
        }
        let issuer = self.issuer.as_ref().ok_or(Nothing::Ever)?;
        let statement = [&STATEMENT[..], &issuer.key_info].concat();
        if self.evidence.is_none() {
            self.evidence = Some(evidence(&Sha512::digest(&statement).into(), reports)?);
        }
        let evidence = self.evidence.as_ref().ok_or(Nothing::Ever)?;
        let bare = [
            Record { label: "issuer", kind: STATEMENT_TYPE, value: &statement, indicator: EVIDENCE },
            Record { label: "report", kind: REPORT_TYPE, value: &evidence.report, indicator: EVIDENCE },
        ];
        let endorsement = evidence.endorsement.as_deref().map(|value| {
            let endorsement = Record { label: "endorsement", kind: CERTIFICATE_TYPE, value, indicator: ENDORSEMENTS };
            let [issuer, report] = &bare;
            collection(&[issuer, report, &endorsement])
        });
        Ok(endorsement.into_iter().chain([collection(&bare.each_ref())]).collect())
    }
}

/// TPM2_NV_Read from another place than the first.
fn is_later_part(command: &[u8]) -> bool {
    const NV_READ: [u8; 4] = [0, 0, 1, 0x4e];
    command.get(6..10) == Some(&NV_READ) && command.last_chunk::<2>().is_some_and(|offset| *offset != [0; 2])
}

fn is_of(key: Option<&([u8; 32], Vec<u8>)>, tpm: &Tpm) -> bool {
    key.is_some_and(|(seed, _)| tpm.endorsement_seed_id() == Some(*seed))
}

/// Asks for a report over this REPORT_DATA.
fn evidence(data: &[u8; 64], reports: &Mutex<dyn Reports + '_>) -> Result<Evidence, Nothing> {
    let mut table = Certificates::new();
    let report = reports.try_lock().ok_or(Nothing::Busy)?.report(data, Some(&mut table));
    let report = report.map_err(|why| match why {
        ReportError::Message(MessageError::Busy) => Nothing::Busy,
        ReportError::Message(_) | ReportError::NoHost | ReportError::Differs(_) => Nothing::Ever,
    })?;
    let table = CertificateTable::parse(table.bytes()).ok();
    let find = |kind| table.as_ref().and_then(|table| table.find(kind)).filter(|found| is_der(found));
    let above = [ASK, ARK].into_iter().filter_map(find).flatten().copied().collect();
    let endorsement = find(VCEK).or_else(|| find(VLEK)).map(<[u8]>::to_vec);
    Ok(Evidence { report: report.as_bytes().to_vec(), endorsement, above })
}

/// Whether this may be a certificate, and nothing behind it: what the host says is otherwise left to who verifies.
fn is_der(octets: &[u8]) -> bool {
    match octets {
        [der::SEQUENCE, 0x82, high, low, rest @ ..] => rest.len() == usize::from(u16::from_be_bytes([*high, *low])),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
