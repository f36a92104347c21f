//! The manifest of all services (SVSM specification, attestation protocol, call 0): which services a firmware has, and
//! the manifest of each. Little-endian, but for what the services have.

use super::manifest;
use super::wire::Reader;
use anyhow::{Context, Result, ensure};

/// 63849ebb-3d92-4670-a1ff-58f9c94b87bb as it lies in memory: how such a manifest begins.
const HEAD: [u8; 16] = [0xBB, 0x9E, 0x84, 0x63, 0x92, 0x3D, 0x70, 0x46, 0xA1, 0xFF, 0x58, 0xF9, 0xC9, 0x4B, 0x87, 0xBB];
/// The vTPM, c476f1eb-0123-45a5-9641-b4e7dde5bfe3.
const VTPM: [u8; 16] = [0xEB, 0xF1, 0x76, 0xC4, 0x23, 0x01, 0xA5, 0x45, 0x96, 0x41, 0xB4, 0xE7, 0xDD, 0xE5, 0xBF, 0xE3];
/// What a firmware does not find met of its policy, a93e328a-f313-4f12-99e6-3780cb08aad6.
const WEAKNESSES: [u8; 16] =
    [0x8A, 0x32, 0x3E, 0xA9, 0x13, 0xF3, 0x12, 0x4F, 0x99, 0xE6, 0x37, 0x80, 0xCB, 0x08, 0xAA, 0xD6];

/// Bytes before the entries, and of an entry.
const ENTRIES: usize = 24;
const ENTRY: usize = 24;

/// A rule of the firmware's policy that its platform does not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weakness {
    /// The rule.
    pub rule: String,
    /// What the firmware has found.
    pub found: String,
}

/// Whether it is a manifest of all services.
pub fn is_all(manifest: &[u8]) -> bool {
    manifest.starts_with(&HEAD)
}

/// Each service and its manifest.
fn all(manifest: &[u8]) -> Result<Vec<([u8; 16], &[u8])>> {
    let number = |at: usize| {
        let bytes = manifest.get(at..at + 4).context("the manifest of all services is too short")?;
        Ok::<_, anyhow::Error>(usize::try_from(u32::from_le_bytes(bytes.try_into()?))?)
    };
    ensure!(is_all(manifest), "this is no manifest of all services");
    ensure!(number(16)? == manifest.len(), "the manifest of all services has another length than it says");
    let count = number(20)?;
    let entries = manifest.get(ENTRIES..).unwrap_or_default();
    ensure!(count <= entries.len() / ENTRY, "the manifest of all services has no room for {count} services");
    let behind = ENTRIES + count * ENTRY;
    (0..count)
        .map(|entry| {
            let at = ENTRIES + entry * ENTRY;
            let (offset, length) = (number(at + 16)?, number(at + 20)?);
            let own = offset.checked_add(length).and_then(|end| manifest.get(offset..end));
            let own = own.filter(|_| offset >= behind);
            let own = own.with_context(|| format!("service {entry} of the manifest lies outside of it"))?;
            Ok((manifest[at..at + 16].try_into()?, own))
        })
        .collect()
}

/// The vTPM's manifest: of all services, its list of keys if there is one; of one service, that itself.
pub fn vtpm(manifest: &[u8]) -> Result<&[u8]> {
    if !is_all(manifest) {
        return Ok(manifest);
    }
    let all = all(manifest)?;
    let mut vtpm = all.iter().filter(|(service, _)| *service == VTPM).map(|(_, own)| *own);
    let first = vtpm.next().context("the manifest of all services has no vTPM")?;
    Ok(vtpm.rfind(|own| manifest::is_list(own)).unwrap_or(first))
}

/// The weaknesses that a firmware names which judges its own platform. `None`: this does not, or nothing is said of it.
pub fn weaknesses(manifest: &[u8]) -> Result<Option<Vec<Weakness>>> {
    if !is_all(manifest) {
        return Ok(None);
    }
    let all = all(manifest)?;
    let mut own = all.iter().filter(|(service, _)| *service == WEAKNESSES).map(|(_, own)| *own);
    let Some(first) = own.next() else { return Ok(None) };
    ensure!(own.next().is_none(), "the manifest names weaknesses twice");
    read(first).context("the service that names weaknesses").map(Some)
}

/// u32 number; for each u16 length of the rule's name, the name, u16 length of what was found, that.
fn read(manifest: &[u8]) -> Result<Vec<Weakness>> {
    let mut reader = Reader::new(manifest);
    let count = u32::from_le_bytes(reader.array()?);
    let mut weaknesses = Vec::new();
    for _ in 0..count {
        let [rule, found] = [text(&mut reader)?, text(&mut reader)?];
        weaknesses.push(Weakness { rule, found });
    }
    reader.end()?;
    Ok(weaknesses)
}

/// What is shown on a terminal: nothing that controls it.
fn text(reader: &mut Reader<'_>) -> Result<String> {
    let length = u16::from_le_bytes(reader.array()?);
    let bytes = reader.take(length.into())?;
    let printable = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    ensure!(printable && !bytes.is_empty(), "a text with other characters than of ASCII, or without any");
    Ok(core::str::from_utf8(bytes)?.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{HEAD, VTPM, WEAKNESSES, is_all, vtpm, weaknesses};

    /// A manifest of these services.
    pub(crate) fn of(services: &[([u8; 16], &[u8])]) -> Vec<u8> {
        let mut entries = Vec::new();
        let mut blobs = Vec::new();
        let number = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
        for (service, own) in services {
            entries.extend(service);
            entries.extend(number(24 + 24 * services.len() + blobs.len()));
            entries.extend(number(own.len()));
            blobs.extend_from_slice(own);
        }
        let size = 24 + entries.len() + blobs.len();
        [&HEAD[..], &number(size), &number(services.len()), &entries, &blobs].concat()
    }

    /// A vTPM's and one that names weaknesses.
    pub(crate) fn with_weaknesses(vtpm: &[u8], named: &[(&str, &str)]) -> Vec<u8> {
        of(&[(VTPM, vtpm), (WEAKNESSES, &named_so(named))])
    }

    fn named_so(named: &[(&str, &str)]) -> Vec<u8> {
        let mut own = u32::try_from(named.len()).unwrap().to_le_bytes().to_vec();
        for text in named.iter().flat_map(|(rule, found)| [rule, found]) {
            own.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
            own.extend(text.as_bytes());
        }
        own
    }

    const LIST: &[u8] = &[0, 0, 0, 1, 7];

    #[test]
    fn the_vtpms_list_of_keys_goes_before_its_one_key() {
        assert_eq!(vtpm(b"one service").unwrap(), b"one service");
        assert_eq!(vtpm(&of(&[([9; 16], b"x"), (VTPM, b"key"), ([8; 16], b"")])).unwrap(), b"key");
        assert_eq!(vtpm(&of(&[(VTPM, b"key"), (VTPM, LIST), (VTPM, b"other")])).unwrap(), LIST);
        assert!(vtpm(&of(&[([9; 16], b"x")])).is_err());
        assert!(is_all(&of(&[])) && !is_all(LIST));
    }

    #[test]
    fn weaknesses_are_named_with_what_was_found() {
        let manifest = with_weaknesses(b"key", &[("platform-info.smt", "set"), ("tcb.milan.snp", "3")]);
        let named = weaknesses(&manifest).unwrap().unwrap();
        assert_eq!((named[0].rule.as_str(), named[0].found.as_str()), ("platform-info.smt", "set"));
        assert_eq!((named[1].rule.as_str(), named.len()), ("tcb.milan.snp", 2));
        assert_eq!(weaknesses(&with_weaknesses(b"key", &[])).unwrap(), Some(Vec::new()));
        assert_eq!(weaknesses(&of(&[(VTPM, b"key")])).unwrap(), None);
        assert_eq!(weaknesses(b"one service").unwrap(), None);
    }

    #[test]
    fn what_lies_outside_or_is_no_text_is_refused() {
        let good = with_weaknesses(b"key", &[("rule", "found")]);
        for length in 16..good.len() {
            assert!(weaknesses(&good[..length]).is_err() && vtpm(&good[..length]).is_err(), "{length} bytes");
        }
        let longer = [good.as_slice(), &[0]].concat();
        assert!(weaknesses(&longer).is_err());
        // Number of services; offset and length of the second.
        for (at, value) in [(20, 1000_u32), (64, 10), (64, u32::MAX), (68, 1000), (68, u32::MAX), (68, 12)] {
            let mut wrong = good.clone();
            wrong[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert!(weaknesses(&wrong).is_err(), "{value} at {at}");
        }
        for text in ["", "a\x1b[2J", "ä", "a\nb"] {
            assert!(weaknesses(&with_weaknesses(b"key", &[("rule", text)])).is_err(), "{text:?}");
        }
        let twice = of(&[(WEAKNESSES, &[0; 4]), (WEAKNESSES, &[0; 4])]);
        assert!(weaknesses(&twice).unwrap_err().to_string().contains("twice"));
    }
}
