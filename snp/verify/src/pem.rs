//! Certificates and lists in files: DER, or PEM.

use anyhow::{Context, Result, bail, ensure};
use x509_cert::der::pem;

/// How PEM begins.
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

/// What a file holds, as DER: as it is, or the one thing that is in its PEM.
pub fn der(file: &[u8]) -> Result<Vec<u8>> {
    if !is_pem(file) {
        return Ok(file.to_vec());
    }
    let mut all = all(file)?;
    ensure!(all.len() == 1, "{} things in PEM, not one", all.len());
    all.pop().context("nothing in PEM")
}

/// Is it PEM?
pub fn is_pem(file: &[u8]) -> bool {
    file.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// All that is in PEM, in order, as DER. What stands between is not read.
pub fn all(mut text: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    while let Some(start) = position(text, BEGIN) {
        let block = &text[start..];
        let Some(end) = position(block, END) else { bail!("PEM without an end") };
        let line = block[end..].iter().position(|byte| *byte == b'\n').unwrap_or(block.len() - end);
        let (block, rest) = block.split_at(end + line);
        let (_, der) = pem::decode_vec(block).map_err(|error| anyhow::anyhow!("PEM: {error}"))?;
        found.push(der);
        text = rest;
    }
    Ok(found)
}

fn position(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::{all, der};

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

    #[test]
    fn der_is_as_it_is_and_of_pem_there_must_be_one() {
        assert_eq!(der(&[0x30, 0]).unwrap(), [0x30, 0]);
        assert_eq!(der(ONE.as_bytes()).unwrap(), [1, 2, 3]);
        assert!(der(format!("{ONE}{ONE}").as_bytes()).is_err());
    }

    #[test]
    fn several_are_read_in_order_with_words_between() {
        let text = format!("subject: a\n{ONE}\nsubject: b\r\n{}", ONE.replace("AQID", "BAUG"));
        assert_eq!(all(text.as_bytes()).unwrap(), [[1, 2, 3], [4, 5, 6]]);
        assert!(all(b"-----BEGIN CERTIFICATE-----\nAQID\n").is_err());
        assert!(all(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").is_err());
    }
}
