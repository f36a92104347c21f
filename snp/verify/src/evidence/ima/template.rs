//! Templates: which fields an entry has (Linux, security/integrity/ima; IMA-templates.rst).

use anyhow::{Context, Result};

/// How a field lies in the list, and how it is written in the one that is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A digest alone; hexadecimal digits.
    Digest,
    /// An algorithm, a zero, a digest; digits behind the algorithm.
    NamedDigest,
    /// Text without an end.
    Name,
    /// Text with a zero; without it.
    Text,
    /// Any bytes; hexadecimal digits.
    Bytes,
    /// A number of so many bytes, little-endian; decimal digits.
    Number(usize),
}

/// The oldest template, whose entries have a form of their own.
pub(super) const OLDEST: &str = "ima";

/// Templates that have names.
const TEMPLATES: [(&str, &str); 8] = [
    (OLDEST, "d|n"),
    ("ima-ng", "d-ng|n-ng"),
    ("ima-ngv2", "d-ngv2|n-ng"),
    ("ima-sig", "d-ng|n-ng|sig"),
    ("ima-sigv2", "d-ngv2|n-ng|sig"),
    ("ima-buf", "d-ng|n-ng|buf"),
    ("ima-modsig", "d-ng|n-ng|sig|d-modsig|modsig"),
    ("evm-sig", "d-ng|n-ng|evmsig|xattrnames|xattrlengths|xattrvalues|iuid|igid|imode"),
];

const FIELDS: [(&str, Form); 16] = [
    ("d", Form::Digest),
    ("n", Form::Name),
    ("d-ng", Form::NamedDigest),
    ("d-ngv2", Form::NamedDigest),
    ("n-ng", Form::Text),
    ("sig", Form::Bytes),
    ("buf", Form::Bytes),
    ("d-modsig", Form::NamedDigest),
    ("modsig", Form::Bytes),
    ("evmsig", Form::Bytes),
    ("xattrnames", Form::Text),
    ("xattrlengths", Form::Bytes),
    ("xattrvalues", Form::Bytes),
    ("iuid", Form::Number(4)),
    ("igid", Form::Number(4)),
    ("imode", Form::Number(2)),
];

/// The fields of a template, by its name, or by its fields where the kernel was told them (`ima_template_fmt=`).
pub(super) fn fields(template: &str) -> Result<Vec<(&'static str, Form)>> {
    let named = TEMPLATES.iter().find(|(name, _)| *name == template);
    let format = named.map_or(template, |(_, format)| format);
    let field = |name: &str| {
        let known = FIELDS.into_iter().find(|(known, _)| *known == name);
        known.with_context(|| format!("of the template {}, which is unknown here", template.escape_debug()))
    };
    format.split('|').map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::{FIELDS, TEMPLATES, fields};

    #[test]
    fn every_template_that_has_a_name_has_known_fields() {
        for (name, format) in TEMPLATES {
            let names: Vec<_> = fields(name).unwrap().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names.join("|"), format);
            assert_eq!(fields(format).unwrap(), fields(name).unwrap());
        }
        assert_eq!(FIELDS.iter().filter(|(name, _)| fields(name).is_ok()).count(), FIELDS.len());
        let said = fields("d-ng|\u{1}").unwrap_err().to_string();
        assert_eq!(said, "of the template d-ng|\\u{1}, which is unknown here");
        assert!(fields("").is_err());
    }
}
