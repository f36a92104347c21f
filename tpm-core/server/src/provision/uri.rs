//! PKCS #11 URIs (RFC 7512), as far as they name a private key and how to reach it.
//!
//! What is not understood is refused and not passed over: a key that was found by half of its name may be another.

use anyhow::{Context, Result, bail, ensure};
use core::fmt;
use cryptoki::types::AuthPin;
use percent_encoding::percent_decode_str;
use std::fs;
use std::path::PathBuf;

/// How such a URI begins.
const SCHEME: &str = "pkcs11:";

/// Attributes of the path (RFC 7512, 2.3) that tell which token has the key.
const PLACES: [&str; 10] = [
    "library-description",
    "library-manufacturer",
    "library-version",
    "manufacturer",
    "model",
    "serial",
    "slot-description",
    "slot-id",
    "slot-manufacturer",
    "token",
];

/// How the PIN is known.
#[derive(Clone)]
enum Pin {
    None,
    Value(String),
    File(PathBuf),
}

/// What a URI says.
#[derive(Clone)]
pub(crate) struct Uri {
    /// Names and values, none of them twice.
    places: Vec<(&'static str, String)>,
    /// CKA_LABEL.
    pub(super) object: Option<String>,
    /// CKA_ID.
    pub(super) id: Option<Vec<u8>>,
    pub(super) module: Option<PathBuf>,
    pin: Pin,
}

/// Without its PIN.
impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uri").field("places", &self.places).field("object", &self.object).finish_non_exhaustive()
    }
}

impl Uri {
    /// Whether a text is one, right or wrong.
    pub(crate) fn is_one(text: &str) -> bool {
        text.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    }

    /// Errors do not repeat values, since one of them may be the PIN.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        ensure!(Self::is_one(text), "a PKCS #11 URI begins with {SCHEME}");
        let rest = text.get(SCHEME.len()..).unwrap_or_default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self { places: Vec::new(), object: None, id: None, module: None, pin: Pin::None };
        each(path, ';', |name, value| uri.path(name, value))?;
        each(query, '&', |name, value| uri.query(name, value))?;
        ensure!(uri.object.is_some() || uri.id.is_some(), "it names no key: object=LABEL or id=%01 does");
        Ok(uri)
    }

    fn path(&mut self, name: &str, value: Vec<u8>) -> Result<()> {
        match name {
            "object" => self.object = Some(text(value)?),
            "id" => self.id = Some(value),
            "type" => ensure!(value == b"private", "only keys of type=private sign"),
            place => {
                let known = PLACES.iter().find(|known| **known == place);
                let known = known.context("it is not known in the path of a PKCS #11 URI")?;
                self.places.push((known, text(value)?));
            }
        }
        Ok(())
    }

    fn query(&mut self, name: &str, value: Vec<u8>) -> Result<()> {
        match name {
            "module-path" => self.module = Some(text(value)?.into()),
            "pin-value" => {
                self.only_pin()?;
                self.pin = Pin::Value(text(value)?);
            }
            "pin-source" => {
                self.only_pin()?;
                let place = text(value)?;
                ensure!(!place.starts_with('|'), "programs are not called: it is a file that has the PIN");
                let file = place.strip_prefix("file:").unwrap_or(&place);
                // An authority may be empty (RFC 8089).
                self.pin = Pin::File(file.strip_prefix("//").unwrap_or(file).into());
            }
            "module-name" => bail!("where a module is depends on the system: module-path=FILE names it"),
            _ => bail!("it is not known in the query of a PKCS #11 URI"),
        }
        Ok(())
    }

    fn only_pin(&self) -> Result<()> {
        ensure!(matches!(self.pin, Pin::None), "of pin-value and pin-source one is enough");
        Ok(())
    }

    /// What the token is to be, and what it is by its own word: `of` gives that.
    pub(super) fn is_at(&self, of: impl Fn(&str) -> Option<String>) -> bool {
        self.places.iter().all(|(name, value)| of(name).as_ref() == Some(value))
    }

    /// The PIN, if there is one. A line's end behind it in a file is none of its characters.
    pub(super) fn pin(&self) -> Result<Option<AuthPin>> {
        Ok(match &self.pin {
            Pin::None => None,
            Pin::Value(value) => Some(AuthPin::new(value.clone().into())),
            Pin::File(file) => {
                let said = fs::read_to_string(file);
                let said = said.with_context(|| format!("the PIN cannot be read from {}", file.display()))?;
                Some(AuthPin::new(said.trim_end_matches(['\n', '\r']).into()))
            }
        })
    }
}

/// Each `name=value` of a part, decoded.
fn each(part: &str, end: char, mut take: impl FnMut(&str, Vec<u8>) -> Result<()>) -> Result<()> {
    let mut seen = Vec::new();
    for word in part.split(end).filter(|word| !word.is_empty()) {
        let (name, value) = word.split_once('=').context("each attribute is name=value")?;
        ensure!(!seen.contains(&name), "{name} is said twice");
        seen.push(name);
        decoded(value).and_then(|value| take(name, value)).with_context(|| String::from(name))?;
    }
    Ok(())
}

/// Octets of a value, in which each `%` begins one.
fn decoded(value: &str) -> Result<Vec<u8>> {
    let digits = |at: usize| value.get(at + 1..at + 3).is_some_and(|two| two.bytes().all(|c| c.is_ascii_hexdigit()));
    ensure!(value.match_indices('%').all(|(at, _)| digits(at)), "two hexadecimal digits follow each %");
    Ok(percent_decode_str(value).collect())
}

fn text(value: Vec<u8>) -> Result<String> {
    String::from_utf8(value).ok().context("it is no UTF-8")
}

#[cfg(test)]
mod tests {
    use super::Uri;
    use cryptoki::types::AuthPin;
    use secrecy::ExposeSecret;

    fn pin(uri: &Uri) -> String {
        let pin: AuthPin = uri.pin().unwrap().unwrap();
        pin.expose_secret().to_owned()
    }

    /// RFC 7512, 3: the examples' parts.
    #[test]
    fn names_are_decoded_and_compared_whole() {
        let uri = Uri::parse(
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;object=my-key;\
             type=private;id=%69%95%3E%5C%F4%BD%EC%91?module-path=/usr/lib/a.so&pin-value=the-pin",
        )
        .unwrap();
        assert_eq!(uri.object.as_deref(), Some("my-key"));
        assert_eq!(uri.id.as_deref(), Some(&[0x69, 0x95, 0x3e, 0x5c, 0xf4, 0xbd, 0xec, 0x91][..]));
        assert_eq!(uri.module.as_deref(), Some(std::path::Path::new("/usr/lib/a.so")));
        let named = |token: &str| {
            uri.is_at(|name| match name {
                "token" => Some(token.to_owned()),
                "manufacturer" => Some(String::from("Snake Oil, Inc.")),
                _ => None,
            })
        };
        assert!(named("The Software PKCS#11 Softtoken") && !named("The Software") && !named(""));
        assert_eq!(pin(&uri), "the-pin");
        assert!(!format!("{uri:?}").contains("the-pin"));
    }

    #[test]
    fn a_pin_comes_from_a_file_without_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pin");
        std::fs::write(&file, "1234 \n").unwrap();
        for prefix in ["", "file:", "file://"] {
            let uri = Uri::parse(&format!("pkcs11:object=a?pin-source={prefix}{}", file.display())).unwrap();
            assert_eq!(pin(&uri), "1234 ");
        }
        let none = Uri::parse("PKCS11:object=a?pin-source=/none/such").unwrap();
        let said = format!("{:#}", none.pin().unwrap_err());
        assert!(said.contains("cannot be read from /none/such"), "{said}");
        assert!(Uri::parse("pkcs11:id=%01").unwrap().pin().unwrap().is_none());
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name_and_without_its_value() {
        for (uri, reason) in [
            ("pkcs11:token=a", "names no key"),
            ("pkcs11:object", "name=value"),
            ("pkcs11:object=a;object=b", "object is said twice"),
            ("pkcs11:object=a;type=cert", "type: only keys"),
            ("pkcs11:object=a;vendor=secret", "vendor: it is not known in the path"),
            ("pkcs11:object=a%2", "object: two hexadecimal digits"),
            ("pkcs11:object=%FF", "object: it is no UTF-8"),
            ("pkcs11:object=a?pin-value=secret&pin-source=b", "pin-source: of pin-value and pin-source"),
            ("pkcs11:object=a?pin-value=secret&pin-value=b", "pin-value is said twice"),
            ("pkcs11:object=a?pin-source=|secret", "programs are not called"),
            ("pkcs11:object=a?module-name=secret", "module-path"),
            ("pkcs11:object=a?x=secret", "x: it is not known in the query"),
            ("file:a", "begins with"),
        ] {
            let said = format!("{:#}", Uri::parse(uri).unwrap_err());
            assert!(said.contains(reason) && !said.contains("secret"), "{uri}: {said}");
        }
    }
}
