//! What the TPM says: keys, credential, quote, PCRs (TPM 2.0 Library specification).

use super::{Case, ensure_equal, signature};
use crate::digest::hex;
use crate::evidence::boot_log::BootLog;
use crate::evidence::event_log::{EventLog, initial_pcrs};
use crate::evidence::folder::Evidence;
use crate::evidence::ima::{self, Measurements};
use crate::evidence::wire::{
    Attest, GENERATED, Key, PCR_COUNT, Public, QuoteInfo, ST_ATTEST_CERTIFY, ST_ATTEST_QUOTE, Signature, alg,
    certified_name, tpm2b,
};
use crate::evidence::{credential, template};
use anyhow::{Result, bail, ensure};
use sha2::{Digest, Sha256};

/// The manifest is an RSA-2048 EK of the TCG's template (EK Credential Profile, L-1), and nothing else.
pub(super) fn endorsement_key(case: &Case<'_>) -> Result<String> {
    let ek = Public::parse(&case.evidence.manifest)?;
    let modulus = modulus(&ek)?;
    ensure!(
        modulus.len() == 256 && modulus[0] & 0x80 != 0 && modulus[255] & 1 != 0,
        "the modulus has not 2048 bits, or is even"
    );
    let expected = Public { key: ek.key.clone(), ..template::ek_rsa_2048() };
    ensure!(ek == expected, "its attributes, policy or algorithms are not those of the template");
    Ok(format!("Name {}", hex(&ek.name())))
}

fn modulus(ek: &Public) -> Result<&[u8]> {
    match &ek.key {
        Key::Rsa2048 { modulus } => Ok(modulus),
        Key::P256 { .. } => bail!("not an RSA key"),
    }
}

/// The AK is a restricted signing key that cannot leave its TPM.
pub(super) fn attestation_key(case: &Case<'_>) -> Result<String> {
    let ak = Public::parse_tpm2b(&case.evidence.ak)?;
    ensure!(tpm2b(&ak.to_bytes()) == case.evidence.ak, "not in the one encoding that it has");
    let Key::P256 { x, y } = &ak.key else { bail!("not a P-256 key") };
    signature::on_p256(x, y)?;
    let expected = Public { key: ak.key.clone(), ..template::ak_p256() };
    ensure!(ak == expected, "its attributes or algorithms are not those of a restricted signing key in this TPM");
    ensure_equal("the AK's Name in the challenge", &case.evidence.ak_name, &ak.name())?;
    Ok(format!("Name {}", hex(&ak.name())))
}

/// The challenge was made for this EK and this AK, and was answered.
pub(super) fn credential(case: &Case<'_>) -> Result<String> {
    let evidence = case.evidence;
    let secrets = credential::Secrets {
        credential: evidence.credential.as_slice().try_into()?,
        seed: evidence.seed.as_slice().try_into()?,
        oaep_seed: evidence.oaep_seed.as_slice().try_into()?,
    };
    let ek = Public::parse(&evidence.manifest)?;
    let challenge = credential::make(modulus(&ek)?, &evidence.ak_name, &secrets)?;
    ensure!(challenge.blob == evidence.blob, "the challenge's blob was not made from this credential, seed and AK");
    ensure!(challenge.encrypted_seed == evidence.encrypted_seed, "the challenge's seed was not encrypted for this EK");
    ensure_equal("the answer", &evidence.answer, &evidence.credential)?;
    Ok(String::from("EK and AK are in one TPM"))
}

/// The AK has signed the quote.
pub(super) fn quote_signature(case: &Case<'_>) -> Result<String> {
    signed_by_ak(case.evidence, &case.evidence.quote, &case.evidence.quote_signature)?;
    Ok(String::from("by the AK"))
}

fn signed_by_ak(evidence: &Evidence, message: &[u8], signature: &[u8]) -> Result<()> {
    let ak = Public::parse_tpm2b(&evidence.ak)?;
    let (Key::P256 { x, y }, Signature::Ecdsa(r, s)) = (&ak.key, Signature::parse(signature)?) else {
        bail!("not an ECDSA signature by a P-256 key");
    };
    signature::ecdsa_p256((x, y), message, (&r, &s))
}

/// The AK of `evidence` has certified the object `public`, a `TPM2B_PUBLIC`: it is in the same TPM.
pub fn certified(evidence: &Evidence, public: &[u8], attest: &[u8], signature: &[u8]) -> Result<()> {
    signed_by_ak(evidence, attest, signature)?;
    let attest = Attest::parse(attest)?;
    ensure!(attest.magic == GENERATED, "magic {:#010x}, not TPM_GENERATED_VALUE", attest.magic);
    ensure!(attest.kind == ST_ATTEST_CERTIFY, "type {:#06x}, not a certification", attest.kind);
    let name = Public::parse_tpm2b(public)?.name();
    ensure_equal("the certified Name", &certified_name(&attest.attested)?, &name)
}

/// It is a quote, and a TPM made it.
pub(super) fn quote_type(case: &Case<'_>) -> Result<String> {
    let attest = Attest::parse(&case.evidence.quote)?;
    ensure!(attest.magic == GENERATED, "magic {:#010x}, not TPM_GENERATED_VALUE", attest.magic);
    ensure!(attest.kind == ST_ATTEST_QUOTE, "type {:#06x}, not a quote", attest.kind);
    Ok(String::from("TPM_ST_ATTEST_QUOTE"))
}

/// Its signer is the AK as a primary key of the endorsement hierarchy.
pub(super) fn quote_signer(case: &Case<'_>) -> Result<String> {
    let attest = Attest::parse(&case.evidence.quote)?;
    let ak = Public::parse_tpm2b(&case.evidence.ak)?;
    ensure_equal("the qualified signer", &attest.qualified_signer, &ak.endorsement_qualified_name())?;
    Ok(String::from("the AK, in the endorsement hierarchy"))
}

/// It answers this challenger.
pub(super) fn quote_nonce(case: &Case<'_>) -> Result<String> {
    let attest = Attest::parse(&case.evidence.quote)?;
    ensure!(case.evidence.quote_nonce.len() == 32, "a nonce of {} bytes, not 32", case.evidence.quote_nonce.len());
    ensure_equal("extraData", &attest.extra_data, &case.evidence.quote_nonce)?;
    Ok(hex(&attest.extra_data))
}

/// All PCRs of the SHA-256 bank, and no others.
pub(super) fn pcr_selection(case: &Case<'_>) -> Result<String> {
    let info = QuoteInfo::parse(&Attest::parse(&case.evidence.quote)?.attested)?;
    ensure!(info.selections == [(alg::SHA256, vec![0xFF; PCR_COUNT / 8])], "not PCR 0 to 23 of the SHA-256 bank alone");
    Ok(String::from("PCR 0 to 23, SHA-256"))
}

/// The quoted digest is that of the PCRs in the folder.
pub(super) fn pcr_digest(case: &Case<'_>) -> Result<String> {
    let info = QuoteInfo::parse(&Attest::parse(&case.evidence.quote)?.attested)?;
    ensure!(
        case.evidence.pcrs.len() == PCR_COUNT * 32,
        "{} bytes of PCRs, not {}",
        case.evidence.pcrs.len(),
        PCR_COUNT * 32
    );
    ensure_equal("pcrDigest", &info.pcr_digest, &Sha256::digest(&case.evidence.pcrs))?;
    Ok(hex(&info.pcr_digest))
}

/// The boot log is the image's, it and the event log lead to these PCRs, and the latter's events name this report's
/// nonce and this AK.
pub(super) fn event_log(case: &Case<'_>) -> Result<String> {
    let log = EventLog::parse(&case.evidence.events)?;
    let boot = BootLog::parse(&case.evidence.boot_events)?;
    boot.check_data()?;
    if let Some(expected) = &case.expectations.boot_events {
        boot.check_expected(expected)?;
    }
    let mut pcrs = initial_pcrs();
    boot.replay(&mut pcrs)?;
    let files = ima(&case.evidence.ima, &mut pcrs)?;
    let pcrs = log.replay_after(pcrs)?;
    for (index, (replayed, quoted)) in pcrs.iter().zip(case.evidence.pcrs.chunks(32)).enumerate() {
        ensure_equal(&format!("PCR {index} by the event log"), replayed, quoted)?;
    }
    let said: Vec<String> = log.events.iter().map(|event| String::from_utf8_lossy(&event.data).into_owned()).collect();
    let expected =
        [format!("report nonce {}", hex(&case.evidence.nonce)), format!("AK name {}", hex(&case.evidence.ak_name))];
    ensure!(said == expected, "the events are not those of this evidence");
    let events = boot.events.len() + log.events.len();
    let command_line = boot.command_line().map(|text| format!("; command line `{text}`")).unwrap_or_default();
    Ok(format!("{events} events{files} lead to the quoted PCRs{command_line}"))
}

/// What Linux has measured, if it says so: it begins with the PCRs of the boot, and leads to PCR 10.
fn ima(list: &[u8], pcrs: &mut [[u8; 32]; PCR_COUNT]) -> Result<String> {
    if list.is_empty() {
        return Ok(String::new());
    }
    let measurements = Measurements::parse(list)?;
    measurements.check_boot(pcrs)?;
    pcrs[ima::PCR as usize] = measurements.replay(pcrs[ima::PCR as usize]);
    Ok(format!(" and {} measurements of IMA", measurements.entries.len()))
}
