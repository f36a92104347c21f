//! What lies in events, as words: text of either encoding, and GUIDs.

use crate::digest::hex;

/// Bytes of a value that is no text of which the first are shown.
const SHOWN: usize = 24;

/// Text without its zeros at the end: UTF-16 where every second byte is zero, as in Latin letters, otherwise UTF-8;
/// `None` if it is neither.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let wide = bytes.len() >= 2 && bytes.len().is_multiple_of(2) && bytes.chunks(2).all(|two| two.get(1) == Some(&0));
    let text = if wide { utf16(bytes)? } else { core::str::from_utf8(bytes).ok()?.to_owned() };
    let text = text.trim_end_matches('\0');
    let printable = !text.is_empty() && !text.chars().any(|letter| letter.is_control() && !letter.is_whitespace());
    printable.then(|| name(text))
}

/// A name on one line: backslashes, which separate folders, stay.
pub(super) fn name(text: &str) -> String {
    let letters = text.trim_end_matches('\0').chars();
    letters
        .map(|letter| if letter == '\\' { String::from(letter) } else { letter.escape_debug().to_string() })
        .collect()
}

/// UTF-16, little-endian.
pub(super) fn utf16(bytes: &[u8]) -> Option<String> {
    let units = bytes.as_chunks::<2>().0.iter().map(|two| u16::from_le_bytes(*two));
    char::decode_utf16(units).collect::<Result<_, _>>().ok()
}

/// Text in quotes, or the first bytes in hexadecimal.
pub(in super::super) fn shown(bytes: &[u8]) -> String {
    match (text(bytes), bytes) {
        (Some(text), _) => format!("`{text}`"),
        (None, []) => String::from("nothing"),
        (None, bytes) => match bytes.get(..SHOWN) {
            Some(first) if bytes.len() > SHOWN => format!("{}… ({} bytes)", hex(first), bytes.len()),
            _ => hex(bytes),
        },
    }
}

/// A GUID, whose first three fields are little-endian, by its name where it has one here.
pub(super) fn guid(bytes: &[u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *bytes;
    let (first, last) = (hex(&[d, c, b, a]), hex(&rest));
    let (two, six) = last.split_at(4);
    let text = format!("{first}-{}-{}-{two}-{six}", hex(&[f, e]), hex(&[h, g]));
    let name = NAMES.iter().find(|(known, _)| *known == text).map(|(_, name)| (*name).to_owned());
    name.unwrap_or(text)
}

/// GUIDs of the UEFI specification, and of boot loaders, that have names here.
const NAMES: [(&str, &str); 14] = [
    ("8be4df61-93ca-11d2-aa0d-00e098032b8c", "EFI_GLOBAL_VARIABLE"),
    ("d719b2cb-3d3a-4596-a3bc-dad00e67656f", "EFI_IMAGE_SECURITY_DATABASE"),
    ("605dab50-e046-4300-abb6-3dd810dd8b23", "SHIM_LOCK"),
    ("4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", "systemd-boot"),
    ("77fa9abd-0359-4d32-bd60-28f4e78f784b", "Microsoft"),
    (X509, "X.509"),
    (SHA256, "SHA-256"),
    ("3bd2a492-96c0-4079-b420-fcf98ef103ed", "SHA-256 of X.509"),
    ("3c5766e8-269c-4e34-aa14-ed776e85b3b6", "RSA-2048"),
    ("eb9d2d31-2d88-11d3-9a16-0090273fc14d", "SMBIOS"),
    ("f2fd1544-9794-4a2c-992e-e5bbcf20e394", "SMBIOS 3"),
    ("eb9d2d30-2d88-11d3-9a16-0090273fc14d", "ACPI 1.0"),
    ("8868e871-e4f1-11d3-bc22-0080c73c8881", "ACPI 2.0"),
    ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "EFI system partition"),
];
const X509: &str = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072";
const SHA256: &str = "c1c41626-504c-4092-aca9-41f936934328";

#[cfg(test)]
mod tests {
    use super::{guid, shown, text};

    #[test]
    fn text_is_of_either_encoding_and_what_is_none_is_hexadecimal() {
        assert_eq!(text(b"quiet\0").as_deref(), Some("quiet"));
        assert_eq!(text(b"q\0u\0\0\0").as_deref(), Some("qu"));
        assert_eq!(text(b"\"\n\\a").as_deref(), Some("\\\"\\n\\a"));
        assert_eq!((text(b""), text(b"\0\0"), text(&[0xFF, 1]), text(b"a\x1bb")), (None, None, None, None));
        assert_eq!(shown(&[0xFF; 25]), format!("{}… (25 bytes)", "ff".repeat(24)));
        assert_eq!((shown(&[0xFF; 24]), shown(&[])), ("ff".repeat(24), "nothing".into()));
    }

    #[test]
    fn a_guid_has_its_first_fields_turned_round_and_perhaps_a_name() {
        let bytes = [0x61, 0xDF, 0xE4, 0x8B, 0xCA, 0x93, 0xD2, 0x11, 0xAA, 0x0D, 0, 0xE0, 0x98, 3, 0x2B, 0x8C];
        assert_eq!(guid(&bytes), "EFI_GLOBAL_VARIABLE");
        let mut other = bytes;
        other[0] = 0x62;
        assert_eq!(guid(&other), "8be4df62-93ca-11d2-aa0d-00e098032b8c");
    }
}
