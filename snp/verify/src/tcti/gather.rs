//! What a verifier asks of a running TPM: its EK and the EK's certificate, an AK in the same TPM, and a quote of all
//! PCRs by it, for a nonce of the verifier's.
//!
//! Where the TPM has Azure's attestation report (NV Index 0x01400001), it and Azure's AK are taken. A report of another
//! kind comes from a folder: a TPM cannot give it, and its guest can.

use super::Transport;
use super::client::Tpm;
use crate::evidence::credential;
use crate::evidence::folder::{Evidence, Kind};
use crate::evidence::template::{self, Ek};
use crate::evidence::wire::{Algorithm, Attest, Key, Public, QuoteInfo, tpm2b};
use crate::evidence::{manifest, services};
use crate::input::azure;
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

/// The NV Index of the first of the certificate's issuers (TCG EK Credential Profile, 2.2.1.5).
const EK_CHAIN: u32 = 0x01C0_0100;
/// More issuers than any TPM has.
const MAX_CHAIN: u32 = 8;
/// Azure's attestation report, and its AK.
const AZURE_REPORT: u32 = 0x0140_0001;
const AZURE_AK: u32 = 0x8100_0003;
/// How often a quote is made anew because a PCR was extended meanwhile.
const ATTEMPTS: usize = 5;

/// What the verifier brings.
#[derive(Debug, Default)]
pub struct Request {
    /// The handle of an AK; otherwise one is made, P-256 or RSA-2048, in the endorsement hierarchy.
    pub ak: Option<u32>,
    /// What the quote must answer; otherwise 32 random bytes.
    pub quote_nonce: Option<Vec<u8>>,
    /// Evidence with a report over this TPM's EK, which is RSA-2048 then.
    pub report: Option<Evidence>,
    /// The EK's algorithm; otherwise the first that the TPM has a certificate for, or RSA-2048.
    pub ek: Option<Algorithm>,
}

/// Asks the TPM.
pub fn gather(transport: &mut dyn Transport, request: Request) -> Result<Evidence> {
    let mut tpm = Tpm::new(transport);
    tpm.startup()?;
    if request.ak.is_none()
        && request.ek.is_none()
        && request.report.is_none()
        && let Some(blob) = tpm.nv_read(AZURE_REPORT)?
    {
        let mut evidence = azure::report(&blob).context("NV Index 0x01400001")?;
        quote(&mut tpm, AZURE_AK, request.quote_nonce, &mut evidence)?;
        return Ok(evidence);
    }
    let mut evidence = Evidence { kind: Kind::Tpm, ..Evidence::default() };
    let mut listed = None;
    if let Some(Evidence { report, nonce, certificates, ark, ask, vcek, manifest, .. }) = request.report {
        ensure!(!manifest.is_empty(), "the report's folder has no manifest, which would name an EK");
        listed = Some(manifest);
        evidence = Evidence { report, nonce, certificates, ark, ask, vcek, ..evidence };
    }
    let (kind, certificate) = match &listed {
        Some(_) => chosen(&mut tpm, Some(Algorithm::Rsa2048))?,
        None => chosen(&mut tpm, request.ek)?,
    };
    let template = ek_template(&mut tpm, kind)?;
    let (ek, public) = tpm.create_primary(&template).with_context(|| format!("EK ({})", kind.number))?;
    let is_listed = |manifest: &Vec<u8>| {
        let keys = services::vtpm(manifest).and_then(manifest::list);
        keys.is_ok_and(|keys| keys.contains(&public.as_slice()))
    };
    evidence.manifest = listed.filter(is_listed).unwrap_or(public);
    let ak = attestation_key(&mut tpm, request.ak, &mut evidence)?;
    challenge(&mut tpm, ak, ek, &mut evidence).context("credential activation")?;
    tpm.flush(ek)?;
    evidence.ek_certificate = certificate;
    for index in (EK_CHAIN..).take(MAX_CHAIN as usize) {
        let Some(certificate) = tpm.nv_read(index)? else { break };
        evidence.ek_chain.extend(certificate);
    }
    quote(&mut tpm, ak, request.quote_nonce, &mut evidence)?;
    if request.ak.is_none() {
        tpm.flush(ak)?;
    }
    Ok(evidence)
}

/// The first EK of an algorithm, or of any, that the TPM has a certificate for; else the profile's first of these, and
/// no certificate.
fn chosen(tpm: &mut Tpm<'_>, wanted: Option<Algorithm>) -> Result<(&'static Ek, Vec<u8>)> {
    for ek in template::EKS.iter().filter(|ek| wanted.is_none_or(|wanted| wanted == ek.kind)) {
        if let Some(certificate) = tpm.nv_read(ek.index)? {
            return Ok((ek, certificate));
        }
    }
    let first = template::EKS.iter().find(|ek| wanted.is_none_or(|wanted| wanted == ek.kind));
    Ok((first.context("there is no such EK")?, Vec::new()))
}

/// The template that the TPM names, or the profile's; the nonce is the first part of `unique`.
fn ek_template(tpm: &mut Tpm<'_>, ek: &Ek) -> Result<Public> {
    let named = tpm.nv_read(ek.template_index())?;
    let mut template = named.map_or_else(|| Ok(ek.public()), |bytes| Public::parse(&bytes)).context("EK template")?;
    ensure!(template.key.algorithm() == ek.kind, "the EK's template is of {}", template.key.algorithm().name());
    let nonce = ek.nonce_index().map(|index| tpm.nv_read(index)).transpose()?.flatten().unwrap_or_default();
    if nonce.is_empty() {
        return Ok(template);
    }
    let unique = |size: usize| {
        let mut unique = nonce.clone();
        unique.resize(size, 0);
        unique
    };
    match &mut template.key {
        Key::Rsa { bits, modulus } => *modulus = unique(usize::from(*bits) / 8),
        Key::Ecc { curve, x, y } => (*x, *y) = (unique(curve.size()), vec![0; curve.size()]),
    }
    Ok(template)
}

/// The key behind a handle, or a new one.
fn attestation_key(tpm: &mut Tpm<'_>, handle: Option<u32>, evidence: &mut Evidence) -> Result<u32> {
    let (ak, public) = match handle {
        Some(handle) => (handle, tpm.read_public(handle)?),
        // Not every TPM has P-256.
        None => tpm.create_primary(&template::ak_p256()).or_else(|_| tpm.create_primary(&template::ak_rsa_2048()))?,
    };
    evidence.ak = tpm2b(&public);
    Ok(ak)
}

/// Lets the TPM prove that `ak` and `ek`, which the manifest names, are in the same TPM.
pub fn challenge(tpm: &mut Tpm<'_>, ak: u32, ek: u32, evidence: &mut Evidence) -> Result<()> {
    let public = manifest::ek(&evidence.manifest)?;
    let secrets = credential::Secrets::random(&public, fill)?;
    evidence.ak_name = Public::parse_tpm2b(&evidence.ak)?.name();
    let challenge = credential::make(&public, &evidence.ak_name, &secrets)?;
    let answer = tpm.activate_credential(ak, (ek, &public), &challenge)?;
    ensure!(answer == secrets.credential, "the TPM gave back another secret");
    evidence.credential = secrets.credential;
    evidence.seed = secrets.seed;
    evidence.oaep_seed = secrets.oaep_seed;
    evidence.blob = challenge.blob;
    evidence.encrypted_seed = challenge.encrypted_seed;
    evidence.answer = answer;
    Ok(())
}

/// A quote of all PCRs, and their values at that time.
fn quote(tpm: &mut Tpm<'_>, ak: u32, nonce: Option<Vec<u8>>, evidence: &mut Evidence) -> Result<()> {
    evidence.quote_nonce = nonce.map_or_else(|| random::<32>().map(Vec::from), Ok)?;
    for _ in 0..ATTEMPTS {
        let pcrs = tpm.pcr_read()?.concat();
        let quote = tpm.quote(ak, &evidence.quote_nonce)?;
        let info = QuoteInfo::parse(&Attest::parse(&quote.attest)?.attested)?;
        let is_of_them = info.pcr_digest == Sha256::digest(&pcrs).to_vec();
        evidence.pcrs = pcrs;
        evidence.quote = quote.attest;
        evidence.quote_signature = quote.signature;
        if is_of_them {
            break;
        }
    }
    // What is not right then, is refused when it is judged.
    Ok(())
}

/// Random bytes of the system.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// The same, as many as there is room for.
pub fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).context("the system gives no random bytes")
}

#[cfg(test)]
mod tests {
    use super::{AZURE_AK, AZURE_REPORT, Request, gather};
    use crate::evidence::boot_log::tests::log;
    use crate::evidence::folder::Evidence;
    use crate::evidence::wire::{Algorithm, PCR_COUNT, alg, sha256_selection, tpm2b};
    use crate::input::azure::tests::blob;
    use crate::judge::tests::twin::Twin;
    use crate::tcti::Transport;
    use anyhow::Result;

    /// Azure's TPM, as far as it is asked here; its quote is always the same.
    struct Azure {
        evidence: Evidence,
        report: Vec<u8>,
        asked: Vec<u32>,
    }

    fn response(tag: u16, code: u32, parameters: &[u8]) -> Vec<u8> {
        let size = u32::try_from(parameters.len()).unwrap();
        let body =
            if tag == 0x8002 { [&size.to_be_bytes()[..], parameters, &[0; 5]].concat() } else { parameters.to_vec() };
        let whole = u32::try_from(10 + body.len()).unwrap();
        [&tag.to_be_bytes()[..], &whole.to_be_bytes(), &code.to_be_bytes(), &body].concat()
    }

    impl Transport for Azure {
        fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>> {
            let word = |at: usize| u32::from_be_bytes(command[at..at + 4].try_into().unwrap());
            let half = |at: usize| usize::from(u16::from_be_bytes(command[at..at + 2].try_into().unwrap()));
            let end = command.len();
            self.asked.push(word(6));
            Ok(match word(6) {
                0x144 => response(0x8001, 0x100, &[]),
                0x169 if word(10) == AZURE_REPORT => {
                    let size = u16::try_from(self.report.len()).unwrap().to_be_bytes();
                    let public =
                        [&AZURE_REPORT.to_be_bytes()[..], &[0, 0xB], &0x6206_0004_u32.to_be_bytes(), &[0, 0], &size];
                    response(0x8001, 0, &[tpm2b(&public.concat()), tpm2b(&[])].concat())
                }
                0x169 => response(0x8001, 0x18B, &[]),
                // With the Index's own authorization it is not read.
                0x14E if word(10) == AZURE_REPORT => response(0x8001, 0x98E, &[]),
                0x14E => response(0x8002, 0, &tpm2b(&self.report[half(end - 2)..][..half(end - 4)])),
                0x17E => {
                    let wanted = u32::from_le_bytes([command[17], command[18], command[19], 0]);
                    let given: Vec<usize> = (0..PCR_COUNT).filter(|pcr| wanted >> pcr & 1 == 1).take(8).collect();
                    let bitmap = given.iter().fold(0, |bitmap, pcr| bitmap | 1 << pcr);
                    let values: Vec<u8> =
                        given.iter().flat_map(|pcr| tpm2b(&self.evidence.pcrs[32 * pcr..32 * pcr + 32])).collect();
                    let count = u32::try_from(given.len()).unwrap().to_be_bytes();
                    response(0x8001, 0, &[&[0; 4], &sha256_selection(bitmap)[..], &count, &values].concat())
                }
                0x158 if word(10) == AZURE_AK => {
                    let quote = [tpm2b(&self.evidence.quote), self.evidence.quote_signature.clone()].concat();
                    response(0x8002, 0, &quote)
                }
                _ => response(0x8001, 0x143, &[]),
            })
        }
    }

    fn azure() -> Azure {
        let evidence = Twin { boot_events: log("quiet"), ..Twin::new() }.azure();
        Azure { report: blob(&evidence), evidence, asked: Vec::new() }
    }

    #[test]
    fn azures_report_and_a_quote_by_its_ak_are_read() {
        assert_eq!(alg::SHA256, 0xB);
        let mut tpm = azure();
        let request = Request { quote_nonce: Some(vec![0x29; 32]), ..Request::default() };
        let found = gather(&mut tpm, request).unwrap();
        let empty = Vec::new;
        let wanted =
            Evidence { ark: empty(), ask: empty(), vcek: empty(), boot_events: empty(), ..tpm.evidence.clone() };
        assert_eq!(found, wanted);
        assert_eq!(tpm.asked.iter().filter(|code| **code == 0x158).count(), 1);
    }

    #[test]
    fn a_quote_is_made_anew_while_pcrs_change_and_is_then_as_it_is() {
        let mut tpm = azure();
        tpm.evidence.pcrs[0] ^= 1;
        let found = gather(&mut tpm, Request::default()).unwrap();
        assert_eq!(tpm.asked.iter().filter(|code| **code == 0x158).count(), super::ATTEMPTS);
        assert_eq!((found.quote_nonce.len(), found.pcrs), (32, tpm.evidence.pcrs));
    }

    #[test]
    fn a_tpm_that_cannot_make_an_ek_and_a_report_without_one_are_told() {
        let said = |request| format!("{:#}", gather(&mut azure(), request).unwrap_err());
        let with_handle = said(Request { ak: Some(1), ..Request::default() });
        assert!(with_handle.starts_with("EK (L-1): TPM2_CreatePrimary: response code 0x143"), "{with_handle}");
        let with_ek = said(Request { ek: Some(Algorithm::EccP384), ..Request::default() });
        assert!(
            with_ek.starts_with("EK (H-3): TPM2_CreatePrimary"),
            "whoever names an EK is not given Azure's: {with_ek}"
        );
        let without = said(Request { report: Some(Twin::new().report_alone()), ..Request::default() });
        assert!(without.contains("has no manifest"), "{without}");
    }
}
