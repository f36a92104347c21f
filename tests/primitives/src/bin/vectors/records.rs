//! The forms of files of vectors.

use anyhow::{Context, Result, ensure};
use std::collections::HashMap;

/// What is known when a case is complete: the last section's heading, and the last value of each field.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) section: String,
    fields: HashMap<String, String>,
}

impl Record {
    pub(crate) fn text(&self, field: &str) -> Result<&str> {
        self.fields.get(field).map(String::as_str).with_context(|| format!("there is no {field}"))
    }

    /// Hexadecimal digits, whose number may be odd; white space does not count.
    pub(crate) fn bytes(&self, field: &str) -> Result<Vec<u8>> {
        hex(self.text(field)?)
    }

    pub(crate) fn number(&self, field: &str) -> Result<usize> {
        Ok(self.text(field)?.parse()?)
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }
}

pub(crate) fn hex(digits: &str) -> Result<Vec<u8>> {
    let digits: Vec<u32> = digits
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).with_context(|| format!("{c:?} is no digit")))
        .collect::<Result<_>>()?;
    let odd = digits.len() % 2;
    let byte = |pair: &[u32]| u8::try_from(pair.iter().fold(0, |byte, digit| 16 * byte + digit));
    let head = (odd == 1).then(|| byte(&digits[..1])).into_iter();
    Ok(head.chain(digits[odd..].chunks(2).map(byte)).collect::<core::result::Result<_, _>>()?)
}

/// A response file of CAVP: "name = value", a case in a paragraph, headings in brackets. A paragraph is a case if it
/// has one of `answers`.
pub(crate) fn paragraphs<T>(
    text: &str,
    answers: &[&str],
    mut case: impl FnMut(&Record) -> Result<T>,
) -> Result<Vec<T>> {
    let (mut record, mut complete, mut cases) = (Record::default(), false, Vec::new());
    for line in text.lines().map(str::trim).chain([""]) {
        let heading = line.strip_prefix('[').map(|line| line.trim_end_matches(']'));
        if line.starts_with('#') {
            continue;
        }
        match (heading.unwrap_or(line).split_once('='), heading) {
            (Some((name, value)), _) => {
                let name = name.trim().trim_end_matches(':');
                complete |= heading.is_none() && answers.contains(&name);
                record.fields.insert(name.to_owned(), value.trim().trim_matches('"').to_owned());
            }
            // Below a curve's heading stands how its keys were made (FIPS 186-4, B.4.2).
            (None, Some(heading)) if heading.starts_with("B.4.") => {}
            (None, Some(heading)) => heading.trim().clone_into(&mut record.section),
            (None, None) if line.is_empty() && complete => {
                cases.push(case(&record).with_context(|| format!("case {} of [{}]", cases.len(), record.section))?);
                complete = false;
            }
            (None, None) => {}
        }
    }
    Ok(cases)
}

/// The form of RSA Security's examples: "# name:" and below it hexadecimal digits in any number of lines. A case is
/// complete after `answer`.
pub(crate) fn labelled<T>(text: &str, answer: &str, mut case: impl FnMut(&Record) -> Result<T>) -> Result<Vec<T>> {
    let (mut record, mut label, mut cases) = (Record::default(), String::new(), Vec::new());
    for line in text.lines().map(str::trim).chain(["# end"]) {
        if let Some(name) = line.strip_prefix('#') {
            if label == answer && record.has(answer) {
                cases.push(case(&record).with_context(|| format!("case {}", cases.len()))?);
            }
            name.trim().trim_end_matches(':').clone_into(&mut label);
            record.fields.remove(&label);
        } else if !line.is_empty() && line.chars().all(|c| c.is_ascii_hexdigit() || c == ' ') {
            record.fields.entry(label.clone()).or_default().push_str(line);
        }
    }
    ensure!(!cases.is_empty(), "no {answer}");
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::{hex, labelled, paragraphs};

    #[test]
    fn a_paragraph_with_an_answer_is_a_case_and_fields_last() {
        let text = "# text\n[P-224]\n[mod = 1024]\nn = 0a\n\nMsg = 01\nS = 02\n\nMsg = 03\nS = 04";
        let cases = paragraphs(text, &["S"], |record| {
            let fields = [record.bytes("n")?, record.bytes("Msg")?, record.bytes("S")?].concat();
            Ok((record.section.clone(), record.number("mod")?, fields))
        });
        assert_eq!(cases.unwrap(), [("P-224".into(), 1024, vec![10, 1, 2]), ("P-224".into(), 1024, vec![10, 3, 4])]);
    }

    #[test]
    fn labelled_numbers_have_any_number_of_lines() {
        let text = "# Seed:\naa\n\n# Encryption:\n01 02\n03\n\n# Encryption:\n04\n";
        let cases = labelled(text, "Encryption", |record| record.bytes("Encryption"));
        assert_eq!(cases.unwrap(), [vec![1, 2, 3], vec![4]]);
    }

    #[test]
    fn an_odd_number_of_digits_has_half_a_byte_first() {
        assert_eq!(hex("1 02 03").unwrap(), [1, 2, 3]);
        assert!(hex("0g").is_err());
    }
}
