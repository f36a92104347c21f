//! What the TPM says: keys, credential, quote, PCRs (TPM 2.0 Library specification). [`super::logs`] has the events.

use super::ek_certificate::{self, Purpose};
use super::{Case, ensure_equal, signature};
use crate::digest::hex;
use crate::evidence::claims::Claims;
use crate::evidence::folder::{Evidence, Kind};
use crate::evidence::template::Ek;
use crate::evidence::wire::{
    Attest, Curve, GENERATED, Key, PCR_COUNT, Public, QuoteInfo, ST_ATTEST_CERTIFY, ST_ATTEST_QUOTE, Signature, alg,
    attribute, certified_name, tpm2b,
};
use crate::evidence::{credential, manifest, services, template};
use anyhow::{Context, Result, bail, ensure};
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::{BigUint, RsaPublicKey};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

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

/// The EK is of a template of the TCG's (EK Credential Profile, Annex B), and nothing else; what a manifest or claims
/// name is of template L-1, RSA-2048.
pub(super) fn endorsement_key(case: &Case<'_>) -> Result<String> {
    let ek = ek(case)?;
    let is_any = matches!(case.evidence.kind, Kind::Tpm | Kind::Certificate);
    ensure!(is_any || matches!(ek.key, Key::Rsa { bits: 2048, .. }), "not an RSA-2048 key");
    match &ek.key {
        Key::Rsa { bits, modulus } => {
            let odd = modulus.last().is_some_and(|last| last & 1 != 0);
            let long =
                modulus.len() == usize::from(*bits) / 8 && modulus.first().is_some_and(|first| first & 0x80 != 0);
            ensure!(long && odd, "the modulus has not {bits} bits, or is even");
        }
        Key::Ecc { curve, x, y } => signature::on_curve(*curve, x, y)?,
    }
    let template = Ek::of(&ek).filter(|template| is_any || **template == template::EKS[0]);
    let template = template.context("its attributes, policy or algorithms are not those of the template")?;
    let manifest = services::vtpm(&case.evidence.manifest)?;
    let others = if manifest::is_list(manifest) {
        format!(", and {} other keys", manifest::list(manifest)?.len() - 1)
    } else {
        String::new()
    };
    Ok(format!("Name {}, template {}{others}", hex(&ek.name()), template.number))
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
        ensure!(is_p256(&ak), "not a P-256 key");
        let expected = Public { key: ak.key.clone(), ..template::ak_p256() };
        ensure!(ak == expected, "its attributes or algorithms are not those of a restricted signing key in this TPM");
    }
    if let Key::Ecc { curve, x, y } = &ak.key {
        signature::on_curve(*curve, x, y)?;
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
        Key::Rsa { bits: 2048, .. } => (alg::RSASSA, alg::SHA256),
        Key::Ecc { curve: Curve::P256, .. } => (alg::ECDSA, alg::SHA256),
        _ => bail!("neither an RSA-2048 nor a P-256 key"),
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
        credential: evidence.credential.clone(),
        seed: evidence.seed.clone(),
        oaep_seed: evidence.oaep_seed.clone(),
    };
    let ek = manifest::ek(&evidence.manifest)?;
    let challenge = credential::make(&ek, &evidence.ak_name, &secrets)?;
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

const fn is_p256(key: &Public) -> bool {
    matches!(key.key, Key::Ecc { curve: Curve::P256, .. })
}

fn signed_by(ak: &Public, message: &[u8], signature: &[u8]) -> Result<()> {
    match (&ak.key, Signature::parse(signature)?) {
        (Key::Ecc { curve: Curve::P256, x, y }, Signature::Ecdsa(r, s)) => {
            signature::ecdsa_p256((x, y), message, (&r, &s))
        }
        (Key::Rsa { modulus, .. }, Signature::Rsassa(bytes)) => {
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
    ensure!(is_p256(&ak), "not a P-256 key");
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
    ensure!(!case.evidence.quote.is_empty(), "a nonce is expected, and there is no quote");
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
