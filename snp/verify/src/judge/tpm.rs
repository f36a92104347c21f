//! What the TPM says: keys, credential, quote, PCRs (TPM 2.0 Library specification).

use super::ek_certificate::{self, Purpose};
use super::{Case, ensure_equal, report, signature};
use crate::digest::hex;
use crate::evidence::boot_log::{BootEvent, BootLog};
use crate::evidence::claims::Claims;
use crate::evidence::event_log::{Event, EventLog, initial_pcrs};
use crate::evidence::folder::{Evidence, Kind};
use crate::evidence::ima::{self, Measurements};
use crate::evidence::wire::{
    Attest, GENERATED, Key, PCR_COUNT, Public, QuoteInfo, ST_ATTEST_CERTIFY, ST_ATTEST_QUOTE, Signature, alg,
    attribute, certified_name, tpm2b,
};
use crate::evidence::{credential, manifest, services, template};
use anyhow::{Context, Result, bail, ensure};
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::{BigUint, RsaPublicKey};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The EK's public area, as the evidence names it.
pub(super) fn ek(case: &Case<'_>) -> Result<Public> {
    match case.evidence.kind {
        Kind::Quoin | Kind::Report | Kind::Tpm => manifest::ek(&case.evidence.manifest),
        Kind::Azure => Claims::parse(&case.evidence.claims)?.ek(),
        Kind::Certificate => ek_certificate::key(case, Purpose::Endorsement),
    }
}

/// The AK's public area, likewise.
pub(super) fn ak(case: &Case<'_>) -> Result<Public> {
    match case.evidence.kind {
        Kind::Quoin | Kind::Report | Kind::Tpm => Public::parse_tpm2b(&case.evidence.ak),
        Kind::Azure => Claims::parse(&case.evidence.claims)?.ak(),
        Kind::Certificate => ek_certificate::key(case, Purpose::Attestation),
    }
}

/// The manifest is an RSA-2048 EK of the TCG's template (EK Credential Profile, L-1), and nothing else.
pub(super) fn endorsement_key(case: &Case<'_>) -> Result<String> {
    let ek = ek(case)?;
    let modulus = modulus(&ek)?;
    ensure!(
        modulus.len() == 256 && modulus[0] & 0x80 != 0 && modulus[255] & 1 != 0,
        "the modulus has not 2048 bits, or is even"
    );
    let expected = Public { key: ek.key.clone(), ..template::ek_rsa_2048() };
    ensure!(ek == expected, "its attributes, policy or algorithms are not those of the template");
    let manifest = services::vtpm(&case.evidence.manifest)?;
    let others = if manifest::is_list(manifest) {
        format!(", and {} other keys", manifest::list(manifest)?.len() - 1)
    } else {
        String::new()
    };
    Ok(format!("Name {}{others}", hex(&ek.name())))
}

pub(super) fn modulus(ek: &Public) -> Result<&[u8]> {
    match &ek.key {
        Key::Rsa2048 { modulus } => Ok(modulus),
        Key::P256 { .. } => bail!("not an RSA key"),
    }
}

/// The AK is a restricted signing key that cannot leave its TPM.
pub(super) fn attestation_key(case: &Case<'_>) -> Result<String> {
    let ak = ak(case)?;
    if case.evidence.kind == Kind::Azure {
        return Ok(format!("named in the report's claims, Name {}", hex(&ak.name())));
    }
    ensure!(tpm2b(&ak.to_bytes()) == case.evidence.ak, "not in the one encoding that it has");
    if case.evidence.kind == Kind::Tpm {
        restricted(&ak)?;
    } else {
        ensure!(matches!(ak.key, Key::P256 { .. }), "not a P-256 key");
        let expected = Public { key: ak.key.clone(), ..template::ak_p256() };
        ensure!(ak == expected, "its attributes or algorithms are not those of a restricted signing key in this TPM");
    }
    if let Key::P256 { x, y } = &ak.key {
        signature::on_p256(x, y)?;
    }
    ensure_equal("the AK's Name in the challenge", &case.evidence.ak_name, &ak.name())?;
    let manifest = services::vtpm(&case.evidence.manifest)?;
    let is_named = manifest::is_list(manifest) && manifest::list(manifest)?.contains(&ak.to_bytes().as_slice());
    Ok(format!("Name {}{}", hex(&ak.name()), if is_named { ", which the manifest names" } else { "" }))
}

/// A key that signs nothing but what its TPM has made, with SHA-256, and that has never been elsewhere; whatever its
/// authorization is.
fn restricted(ak: &Public) -> Result<()> {
    const MUST: u32 = attribute::FIXED_TPM
        | attribute::FIXED_PARENT
        | attribute::SENSITIVE_DATA_ORIGIN
        | attribute::RESTRICTED
        | attribute::SIGN;
    let wanted = match ak.key {
        Key::Rsa2048 { .. } => (alg::RSASSA, alg::SHA256),
        Key::P256 { .. } => (alg::ECDSA, alg::SHA256),
    };
    ensure!(
        ak.attributes & (MUST | attribute::DECRYPT) == MUST && ak.scheme == Some(wanted),
        "its attributes or algorithms are not those of a restricted signing key in this TPM"
    );
    Ok(())
}

/// The challenge was made for this EK and this AK, and was answered.
pub(super) fn credential(case: &Case<'_>) -> Result<String> {
    let evidence = case.evidence;
    let secrets = credential::Secrets {
        credential: evidence.credential.as_slice().try_into()?,
        seed: evidence.seed.as_slice().try_into()?,
        oaep_seed: evidence.oaep_seed.as_slice().try_into()?,
    };
    let ek = manifest::ek(&evidence.manifest)?;
    let challenge = credential::make(modulus(&ek)?, &evidence.ak_name, &secrets)?;
    ensure!(challenge.blob == evidence.blob, "the challenge's blob was not made from this credential, seed and AK");
    ensure!(challenge.encrypted_seed == evidence.encrypted_seed, "the challenge's seed was not encrypted for this EK");
    ensure_equal("the answer", &evidence.answer, &evidence.credential)?;
    Ok(String::from("EK and AK are in one TPM"))
}

/// The AK has signed the quote.
pub(super) fn quote_signature(case: &Case<'_>) -> Result<String> {
    signed_by(&ak(case)?, &case.evidence.quote, &case.evidence.quote_signature)?;
    Ok(String::from("by the AK"))
}

fn signed_by(ak: &Public, message: &[u8], signature: &[u8]) -> Result<()> {
    match (&ak.key, Signature::parse(signature)?) {
        (Key::P256 { x, y }, Signature::Ecdsa(r, s)) => signature::ecdsa_p256((x, y), message, (&r, &s)),
        (Key::Rsa2048 { modulus }, Signature::Rsassa(bytes)) => {
            signature::rsa_pkcs1_sha256(&rsa_public_key(modulus)?, message, &bytes)
        }
        _ => bail!("not a signature by a key of the AK's kind"),
    }
}

/// `RSAPublicKey` in DER (RFC 8017, A.1.1).
pub(super) fn rsa_public_key(modulus: &[u8]) -> Result<Vec<u8>> {
    let modulus = BigUint::from_bytes_be(modulus);
    let key = RsaPublicKey::new(modulus, BigUint::from(65537_u32)).context("the AK's modulus")?;
    Ok(key.to_pkcs1_der()?.into_vec())
}

/// The AK of `evidence` has certified the object `public`, a `TPM2B_PUBLIC`: it is in the same TPM.
pub fn certified(evidence: &Evidence, public: &[u8], attest: &[u8], signature: &[u8]) -> Result<()> {
    let ak = Public::parse_tpm2b(&evidence.ak)?;
    ensure!(matches!(ak.key, Key::P256 { .. }), "not a P-256 key");
    signed_by(&ak, attest, signature)?;
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
    let ak = ak(case)?;
    if case.evidence.kind == Kind::Tpm && attest.qualified_signer == ak.qualified_name_below(&ek(case)?) {
        return Ok(String::from("the AK, below the EK"));
    }
    ensure_equal("the qualified signer", &attest.qualified_signer, &ak.endorsement_qualified_name())?;
    Ok(String::from("the AK, in the endorsement hierarchy"))
}

/// It answers this challenger.
pub(super) fn quote_nonce(case: &Case<'_>) -> Result<String> {
    let attest = Attest::parse(&case.evidence.quote)?;
    let found = &case.evidence.quote_nonce;
    let ours = case.evidence.kind == Kind::Quoin;
    ensure!(!ours || found.len() == 32, "a nonce of {} bytes, not 32", found.len());
    if let Some(brought) = &case.expectations.quote_nonce {
        ensure!(!ours || found == brought, "the nonce in the evidence is {}, expected {}", hex(found), hex(brought));
        ensure_equal("extraData", &attest.extra_data, brought)?;
    } else {
        ensure_equal("extraData", &attest.extra_data, found)?;
    }
    Ok(hex(&attest.extra_data))
}

/// PCRs of the SHA-256 bank, and no others: all of them in a folder of ours, and some elsewhere.
pub(super) fn pcr_selection(case: &Case<'_>) -> Result<String> {
    let info = QuoteInfo::parse(&Attest::parse(&case.evidence.quote)?.attested)?;
    if case.evidence.kind == Kind::Quoin {
        let all = [(alg::SHA256, vec![0xFF; PCR_COUNT / 8])];
        ensure!(info.selections == all, "not PCR 0 to 23 of the SHA-256 bank alone");
        return Ok(String::from("PCR 0 to 23, SHA-256"));
    }
    let selected = selected(&info)?;
    ensure!(!selected.is_empty(), "no PCR at all");
    Ok(format!("{} PCRs, SHA-256", selected.len()))
}

/// The PCRs of a selection, in order, which must be of the SHA-256 bank alone.
fn selected(info: &QuoteInfo) -> Result<Vec<u32>> {
    let [(alg::SHA256, bitmap)] = info.selections.as_slice() else { bail!("not PCRs of the SHA-256 bank alone") };
    ensure!(bitmap.len() == PCR_COUNT / 8, "a selection of {} bytes", bitmap.len());
    Ok((0..24).filter(|pcr| bitmap[*pcr as usize / 8] >> (pcr % 8) & 1 == 1).collect())
}

/// The quoted digest is that of the PCRs in the evidence.
pub(super) fn pcr_digest(case: &Case<'_>) -> Result<String> {
    let info = QuoteInfo::parse(&Attest::parse(&case.evidence.quote)?.attested)?;
    let pcrs = quoted_pcrs(case.evidence)?;
    let digest = pcrs.values().fold(Sha256::new(), |hash, value| hash.chain_update(value)).finalize();
    ensure_equal("pcrDigest", &info.pcr_digest, &digest)?;
    Ok(hex(&info.pcr_digest))
}

/// The PCRs that the quote is about, with their values, which [`pcr_digest`] proves.
pub(super) fn quoted_pcrs(evidence: &Evidence) -> Result<BTreeMap<u32, [u8; 32]>> {
    let info = QuoteInfo::parse(&Attest::parse(&evidence.quote)?.attested)?;
    let selected = selected(&info)?;
    let values = &evidence.pcrs;
    // All PCRs, or those of the selection: so do tools write them.
    let all = values.len() == PCR_COUNT * 32;
    ensure!(
        all || (evidence.kind != Kind::Quoin && values.len() == selected.len() * 32),
        "{} bytes of PCRs, not {}",
        values.len(),
        PCR_COUNT * 32
    );
    let value = |(place, pcr): (usize, &u32)| {
        let at = if all { *pcr as usize } else { place };
        Ok((*pcr, values.get(32 * at..32 * at + 32).context("too few PCRs")?.try_into()?))
    };
    selected.iter().enumerate().map(value).collect()
}

/// The boot log is the image's, it and the event log lead to these PCRs, and the latter's events name this report's
/// nonce and this AK.
pub(super) fn event_log(case: &Case<'_>) -> Result<String> {
    let boot = BootLog::parse(&case.evidence.boot_events)?;
    boot.check_data()?;
    if let Some(expected) = report::expected_events(case)? {
        boot.check_expected(expected)?;
    }
    if case.evidence.kind != Kind::Quoin {
        return boot_alone(case, &boot);
    }
    let log = EventLog::parse(&case.evidence.events)?;
    let mut pcrs = initial_pcrs();
    boot.replay(&mut pcrs)?;
    let files = ima(&case.evidence.ima, &mut pcrs)?;
    let pcrs = log.replay_after(pcrs)?;
    for (index, (replayed, quoted)) in pcrs.iter().zip(case.evidence.pcrs.chunks(32)).enumerate() {
        ensure_equal(&format!("PCR {index} by the event log"), replayed, quoted)?;
    }
    let expected = [Event::of_report(&case.evidence.nonce), Event::of_key(&case.evidence.ak_name)];
    ensure!(log.events == expected, "the events are not those of this evidence");
    let events = boot.events.len() + log.events.len();
    let command_line = boot.command_line().map(|text| format!("; command line `{text}`")).unwrap_or_default();
    Ok(format!("{events} events{files} lead to the quoted PCRs{command_line}"))
}

/// The log of a boot, and IMA's list, lead to those quoted PCRs that they have events for; others may have been
/// extended later, and so may the list.
fn boot_alone(case: &Case<'_>, boot: &BootLog) -> Result<String> {
    let quoted = quoted_pcrs(case.evidence)?;
    let mut pcrs = initial_pcrs();
    boot.replay(&mut pcrs)?;
    let mut measured: BTreeSet<u32> = boot.events.iter().map(|event| event.pcr).collect();
    let mut files = String::new();
    if !case.evidence.ima.is_empty() {
        let (mut list, count) = proven_measurements(case.evidence)?;
        let later = list.entries.len() - count;
        list.entries.truncate(count);
        list.replay(&mut pcrs)?;
        measured.extend(list.entries.iter().map(|entry| entry.pcr));
        files = format!(" and {count} measurements of IMA");
        if later > 0 {
            files.push_str(&format!(" ({later} more are later than the quote, and not proven)"));
        }
    }
    for pcr in &measured {
        let value = quoted.get(pcr).with_context(|| format!("PCR {pcr} has events, and is not in the quote"))?;
        let replayed = pcrs.get(*pcr as usize).context("no such PCR")?;
        ensure_equal(&format!("PCR {pcr} by the event log"), replayed, value)?;
    }
    let command_line = boot.command_line().map(|text| format!("; command line `{text}`")).unwrap_or_default();
    Ok(format!("{} events{files} lead to {} quoted PCRs{command_line}", boot.events.len(), measured.len()))
}

/// IMA's list, and how many of its entries lead to the quote. In a folder of ours all do, or it is refused.
pub(crate) fn proven_measurements(evidence: &Evidence) -> Result<(Measurements, usize)> {
    let list = Measurements::parse(&evidence.ima)?;
    if evidence.kind == Kind::Quoin {
        let count = list.entries.len();
        return Ok((list, count));
    }
    let quoted = quoted_pcrs(evidence)?;
    let boot = BootLog::parse(&evidence.boot_events)?;
    let mut pcrs = initial_pcrs();
    boot.replay(&mut pcrs)?;
    if boot.events.is_empty() {
        for (pcr, value) in &quoted {
            pcrs.get_mut(*pcr as usize).into_iter().filter(|_| *pcr < ima::PCR).for_each(|pcr| *pcr = *value);
        }
    }
    list.check_boot(&pcrs)?;
    let count = list.replay_to(&mut pcrs, |pcr| quoted.get(&pcr).copied())?;
    Ok((list, count))
}

/// The events of all logs, which [`event_log`] has judged.
pub(super) fn replayed_log(case: &Case<'_>) -> Result<Vec<BootEvent>> {
    let evidence = case.evidence;
    ensure!(!(evidence.quote.is_empty() || evidence.boot_events.is_empty() && evidence.events.is_empty()), "no log");
    let mut events = BootLog::parse(&evidence.boot_events)?.events;
    if evidence.kind == Kind::Quoin {
        let log = EventLog::parse(&evidence.events)?;
        events.extend(log.events.into_iter().map(BootEvent::of_challenger));
    }
    Ok(events)
}

/// The logs lead to the quoted value of that PCR: what they have no events of, was not measured.
pub(super) fn explained(case: &Case<'_>, pcr: u32) -> Result<()> {
    let quoted = quoted_pcrs(case.evidence)?;
    let mut pcrs = initial_pcrs();
    BootLog::parse(&case.evidence.boot_events)?.replay(&mut pcrs)?;
    if !case.evidence.ima.is_empty() {
        let (mut list, count) = proven_measurements(case.evidence)?;
        list.entries.truncate(count);
        list.replay(&mut pcrs)?;
    }
    if case.evidence.kind == Kind::Quoin {
        pcrs = EventLog::parse(&case.evidence.events)?.replay_after(pcrs)?;
    }
    let (value, found) = (quoted.get(&pcr), pcrs.get(pcr as usize));
    ensure!(value.is_some(), "PCR {pcr} is not in the quote");
    ensure!(value == found, "PCR {pcr} was extended by what is in no log");
    Ok(())
}

/// What Linux has measured, if it says so: it begins with the PCRs of the boot, and leads to PCR 10.
fn ima(list: &[u8], pcrs: &mut [[u8; 32]; PCR_COUNT]) -> Result<String> {
    if list.is_empty() {
        return Ok(String::new());
    }
    let measurements = Measurements::parse(list)?;
    measurements.check_boot(pcrs)?;
    measurements.replay(pcrs)?;
    Ok(format!(" and {} measurements of IMA", measurements.entries.len()))
}
