//! The two forms of a list: octets, and text. Of the latter, the octets that were measured are made again.

use super::super::event_log::Reader;
use super::template::{self, Form};
use crate::policy::hex_bytes;
use anyhow::{Context, Result, bail, ensure};

/// Sizes of the digests that a list may have: SHA-1, SHA-256, SHA-384, SHA-512.
const SIZES: [usize; 4] = [20, 32, 48, 64];
/// The oldest template hashes a name with zeros up to this length.
const OLDEST_NAME: usize = 256;

/// An entry as it lies there.
pub(super) struct Raw {
    pub(super) pcr: u32,
    pub(super) digest: Vec<u8>,
    pub(super) template: String,
    pub(super) fields: Vec<Vec<u8>>,
}

impl Raw {
    /// What was hashed.
    pub(super) fn data(&self) -> Vec<u8> {
        if self.template == template::OLDEST {
            let mut data = self.fields.concat();
            let digest = self.fields.first().map_or(0, Vec::len);
            data.resize(data.len().max(digest + OLDEST_NAME), 0);
            return data;
        }
        let length = |field: &[u8]| u32::try_from(field.len()).unwrap_or(u32::MAX).to_le_bytes();
        self.fields.iter().flat_map(|field| [&length(field), field.as_slice()].concat()).collect()
    }
}

/// Reads a list of either form. PCR numbers begin those that are octets, and digits those that are text.
pub(super) fn entries(bytes: &[u8]) -> Result<Vec<Raw>> {
    if bytes.first().is_some_and(|first| *first == b' ' || first.is_ascii_digit()) {
        let text = core::str::from_utf8(bytes).context("IMA: the list is neither octets nor text")?;
        let lines = text.split_terminator('\n').zip(1_usize..);
        return lines.map(|(text, number)| line(text).with_context(|| format!("IMA: entry {number}"))).collect();
    }
    let mut reader = Reader(bytes);
    let mut entries = Vec::new();
    let size = SIZES.into_iter().find(|size| names_a_template(bytes, *size)).unwrap_or(SIZES[0]);
    while !reader.0.is_empty() {
        let number = entries.len() + 1;
        entries.push(octets(&mut reader, size).with_context(|| format!("IMA: entry {number}"))?);
    }
    Ok(entries)
}

/// With digests of that size, the first entry has a template that is known.
fn names_a_template(bytes: &[u8], size: usize) -> bool {
    let mut reader = Reader(bytes);
    let name = reader.take(4 + size).and_then(|_| reader.sized());
    name.ok().and_then(|name| core::str::from_utf8(name).ok()).is_some_and(|name| template::fields(name).is_ok())
}

fn octets(reader: &mut Reader<'_>, size: usize) -> Result<Raw> {
    let pcr = reader.u32()?;
    let digest = reader.take(size)?.to_vec();
    let template = core::str::from_utf8(reader.sized()?).context("a template without a name")?.to_owned();
    let forms = template::fields(&template)?;
    if template == template::OLDEST {
        let fields = vec![reader.take(20)?.to_vec(), reader.sized()?.to_vec()];
        ensure!(fields.iter().all(|field| field.len() <= OLDEST_NAME), "a name that is too long");
        return Ok(Raw { pcr, digest, template, fields });
    }
    let mut rest = Reader(reader.sized()?);
    let fields = forms.iter().map(|_| Ok(rest.sized()?.to_vec())).collect::<Result<_>>()?;
    ensure!(rest.0.is_empty(), "more than the fields of {template}");
    Ok(Raw { pcr, digest, template, fields })
}

fn line(text: &str) -> Result<Raw> {
    let mut words = text.trim_start_matches(' ').split(' ');
    let mut word = |what| words.next().with_context(|| format!("no {what}"));
    let pcr = word("PCR")?.parse().context("a PCR that is no number")?;
    let digest = hex_bytes(word("digest")?)?;
    let template = word("template")?.to_owned();
    let forms = template::fields(&template)?;
    let fields =
        forms.into_iter().map(|(name, form)| field(form, word(name)?).with_context(|| format!("its field {name}")));
    let fields = fields.collect::<Result<_>>()?;
    // Nothing comes behind the last, but kernels end some lines with a space.
    ensure!(words.all(str::is_empty), "more than the fields of {template}");
    Ok(Raw { pcr, digest, template, fields })
}

/// The octets of a field that is written so.
fn field(form: Form, text: &str) -> Result<Vec<u8>> {
    Ok(match form {
        _ if text.is_empty() => Vec::new(),
        Form::Digest | Form::Bytes => hex_bytes(text)?,
        Form::NamedDigest => {
            let (algorithm, digits) = text.rsplit_once(':').context("a digest without an algorithm")?;
            [algorithm.as_bytes(), b":\0", &hex_bytes(digits)?].concat()
        }
        Form::Name => text.as_bytes().to_vec(),
        Form::Text => [text.as_bytes(), b"\0"].concat(),
        Form::Number(size) => {
            let bytes = text.parse::<u64>()?.to_le_bytes();
            let (number, rest) = bytes.split_at_checked(size).context("a number without a size")?;
            if rest.iter().any(|byte| *byte != 0) {
                bail!("{text} is too large");
            }
            number.to_vec()
        }
    })
}
