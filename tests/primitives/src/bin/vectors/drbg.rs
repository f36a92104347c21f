//! The TPM's generator, HMAC_DRBG with SHA-256: CAVP's cases without reseed, with a reseed, and with prediction
//! resistance, which is a reseed before each request (SP 800-90A, 9.3.1).

use super::records::hex;
use super::{File, Outcome};
use anyhow::{Context, Result};
use std::collections::HashMap;
use tpm_crypto::Error;
use tpm_crypto::drbg::Drbg;

const OTHER: &str = "a generator that is not this TPM's, which is HMAC_DRBG with SHA-256";

/// Entropy for a reseed, and additional input.
type Request = (Option<Vec<u8>>, Vec<u8>);

/// Whether the last of the requests gives `expected`.
fn gives(seed: [&[u8]; 3], requests: &[Request], expected: &[u8]) -> bool {
    let [entropy, nonce, personalization] = seed;
    let mut out = vec![0; expected.len()];
    let mut run = || -> Result<(), Error> {
        let mut drbg = Drbg::new(entropy, nonce, personalization)?;
        for (entropy, additional) in requests {
            match entropy {
                Some(entropy) => {
                    drbg.reseed(entropy, additional)?;
                    drbg.generate(&mut out, &[])?;
                }
                None => drbg.generate(&mut out, additional)?,
            }
        }
        Ok(())
    };
    run().is_ok() && !expected.is_empty() && out == expected
}

/// OpenSSL's form: a paragraph for each generator, and in it fields of cases, "Entropy.0".
pub(crate) fn openssl(file: &File) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for paragraph in file.text.split("\n\n") {
        let fields: HashMap<&str, &str> = paragraph.lines().filter_map(|line| line.split_once(" = ")).collect();
        let cases = (0..).take_while(|i| fields.contains_key(format!("Output.{i}").as_str()));
        let ours = fields.get("RAND") == Some(&"HMAC-DRBG") && fields.get("Digest") == Some(&"SHA-256");
        for i in cases {
            let field = |name: &str| fields.get(format!("{name}.{i}").as_str()).map(|digits| hex(digits)).transpose();
            let or_empty = |name: &str| Ok::<_, anyhow::Error>(field(name)?.unwrap_or_default());
            if !ours {
                outcomes.push(Err(OTHER));
                continue;
            }
            let requests = [
                (field("EntropyPredictionResistanceA")?, or_empty("AdditionalInputA")?),
                (field("EntropyPredictionResistanceB")?, or_empty("AdditionalInputB")?),
            ];
            let seed = [or_empty("Entropy")?, or_empty("Nonce")?, or_empty("PersonalisationString")?];
            outcomes.push(Ok(gives(seed.each_ref().map(Vec::as_slice), &requests, &or_empty("Output")?)));
        }
    }
    Ok(outcomes)
}

/// Mbed TLS' form: a call with its arguments, "hmac_drbg_pr:MBEDTLS_MD_SHA256:"...":...". All entropy is one string: of
/// the seed, the nonce, and the reseeds.
pub(crate) fn mbedtls(file: &File) -> Result<Vec<Outcome>> {
    const ENTROPY: usize = 32;
    let mut outcomes = Vec::new();
    for line in file.text.lines().filter(|line| line.starts_with("hmac_drbg_")) {
        let mut words = line.split(':');
        let (call, hash) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if hash != "MBEDTLS_MD_SHA256" {
            outcomes.push(Err(OTHER));
            continue;
        }
        let arguments: Vec<Vec<u8>> = words.map(|word| hex(word.trim_matches('"'))).collect::<Result<_>>()?;
        let (entropy, rest) = arguments.split_first().context("a call without arguments")?;
        let (personalization, rest) = rest.split_first().context("a call without personalization")?;
        let (expected, additional) = rest.split_last().context("a call without output")?;
        let reseeds = match call {
            "hmac_drbg_no_reseed" => 0,
            "hmac_drbg_nopr" => 1,
            _ => 2,
        };
        let at = entropy.len().checked_sub(reseeds * ENTROPY).context("too little entropy")?;
        let (seed, fresh) = entropy.split_at(at);
        let mut fresh = fresh.chunks(ENTROPY).map(<[u8]>::to_vec);
        let (seed, nonce) = seed.split_at_checked(ENTROPY).context("too little entropy")?;
        outcomes.push(Ok(if call == "hmac_drbg_nopr" {
            reseeded([seed, nonce, personalization], &fresh.next().unwrap_or_default(), additional, expected)
        } else {
            let requests: Vec<Request> = additional.iter().map(|input| (fresh.next(), input.clone())).collect();
            gives([seed, nonce, personalization], &requests, expected)
        }));
    }
    Ok(outcomes)
}

/// A reseed, then two requests, each with its additional input: whether the second gives `expected`.
fn reseeded(seed: [&[u8]; 3], fresh: &[u8], additional: &[Vec<u8>], expected: &[u8]) -> bool {
    let ([entropy, nonce, personalization], [at_reseed, first, second]) = (seed, additional) else { return false };
    let mut out = vec![0; expected.len()];
    let mut run = || -> Result<(), Error> {
        let mut drbg = Drbg::new(entropy, nonce, personalization)?;
        drbg.reseed(fresh, at_reseed)?;
        drbg.generate(&mut out, first)?;
        drbg.generate(&mut out, second)
    };
    run().is_ok() && !expected.is_empty() && out == expected
}
