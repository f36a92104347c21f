//! The structures of UEFI that events have for data (TCG PC Client Platform Firmware Profile, 10; UEFI Specification),
//! in words.

use super::super::event_log::Reader;
use super::device_path;
use super::text::{guid, name, shown, text, utf16};
use anyhow::{Context, Result};
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// Of names and lists that are shown.
const SHOWN: usize = 8;

/// `UEFI_VARIABLE_DATA`.
pub(super) struct Variable<'a> {
    vendor: String,
    name: String,
    pub(super) data: &'a [u8],
}

impl<'a> Variable<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader(bytes);
        let vendor = guid(reader.array()?);
        let (letters, length) = (reader.u64()?, reader.u64()?);
        let variable = reader.take(usize::try_from(letters)?.checked_mul(2).context("a name without an end")?)?;
        let variable = utf16(variable).context("a name that is not UTF-16")?;
        let data = reader.take(length.try_into()?)?;
        Ok(Self { vendor, name: name(&variable), data })
    }

    fn is_boot_option(&self) -> bool {
        self.name
            .strip_prefix("Boot")
            .is_some_and(|number| number.len() == 4 && u16::from_str_radix(number, 16).is_ok())
    }

    fn value(&self) -> Result<String> {
        Ok(match (self.name.as_str(), self.data) {
            (_, []) => String::from("empty"),
            ("SecureBoot", [0]) => String::from("off"),
            ("SecureBoot", [1]) => String::from("on"),
            ("BootOrder", data) => {
                let numbers = data.as_chunks::<2>().0.iter().map(|two| format!("{:04X}", u16::from_le_bytes(*two)));
                numbers.collect::<Vec<_>>().join(", ")
            }
            ("PK" | "KEK" | "db" | "dbx" | "dbr" | "dbt" | "MokList" | "MokListX", data) => signatures(data)?,
            (_, data) if self.is_boot_option() => boot_option(data)?,
            (_, data) => shown(data),
        })
    }
}

/// The variable's name, whose it is, and its value.
pub(super) fn variable(data: &[u8]) -> Result<String> {
    let variable = Variable::parse(data)?;
    let value = variable.value().unwrap_or_else(|_| shown(variable.data));
    Ok(format!("{} ({}): {value}", variable.name, variable.vendor))
}

/// The entry of a list that has allowed what comes next: `EFI_SIGNATURE_DATA`, or what shim writes there.
pub(super) fn authority(data: &[u8]) -> Result<String> {
    let variable = Variable::parse(data)?;
    let owned = variable.data.split_at_checked(16).map(|(_, entry)| entry);
    let certificate = [Some(variable.data), owned].into_iter().flatten().find_map(subject);
    let value = certificate.unwrap_or_else(|| shown(variable.data));
    Ok(format!("{} ({}): {value}", variable.name, variable.vendor))
}

fn subject(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    Some(format!("certificate of {}", name(&certificate.tbs_certificate.subject.to_string())))
}

/// A list of `EFI_SIGNATURE_LIST`: how many entries of which kind, and whose certificates.
fn signatures(data: &[u8]) -> Result<String> {
    let mut reader = Reader(data);
    let mut said = Vec::new();
    while !reader.0.is_empty() {
        let kind = guid(reader.array()?);
        let (list, header, size) = (reader.u32()? as usize, reader.u32()? as usize, reader.u32()? as usize);
        let mut entries = Reader(reader.take(list.checked_sub(28).context("a short list")?)?);
        entries.take(header)?;
        let entries = entries.0.chunks(size.max(16));
        match entries.clone().next().and_then(|entry| subject(entry.get(16..)?)) {
            Some(subject) if entries.len() == 1 => said.push(subject),
            _ => said.push(format!("{} of {kind}", entries.len())),
        }
    }
    Ok(listed(&said))
}

/// The first of a list.
fn listed(items: &[String]) -> String {
    let shown = items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if items.len() > SHOWN { format!("{shown} and {} more", items.len() - SHOWN) } else { shown }
}

/// `EFI_LOAD_OPTION`.
fn boot_option(data: &[u8]) -> Result<String> {
    let mut reader = Reader(data);
    let (_attributes, length) = (reader.u32()?, reader.u16()?);
    let end = reader.0.as_chunks::<2>().0.iter().position(|two| *two == [0, 0]).context("a name without an end")?;
    let option = utf16(reader.take(2 * end + 2)?).context("a name that is not UTF-16")?;
    let path = device_path::text(reader.take(length.into())?);
    Ok(format!("`{}` {path}", name(&option)))
}

/// `UEFI_IMAGE_LOAD_EVENT`.
pub(super) fn image(data: &[u8]) -> Result<String> {
    let mut reader = Reader(data);
    let (location, size, _link_time) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let length = reader.u64()?;
    let path = device_path::text(reader.take(length.try_into()?)?);
    Ok(if path.is_empty() { format!("an image of {size:#x} bytes at {location:#x}, without a path") } else { path })
}

/// `UEFI_GPT_DATA`.
pub(super) fn partitions(data: &[u8]) -> Result<String> {
    let mut reader = Reader(data);
    reader.take(56)?;
    let disk = guid(reader.array()?);
    reader.take(8 + 4)?;
    let size = reader.u32()? as usize;
    reader.take(4)?;
    let count = reader.u64()?;
    let mut said = Vec::new();
    for entry in reader.0.chunks_exact(size.max(128)).take(usize::try_from(count)?) {
        let mut entry = Reader(entry);
        let kind = guid(entry.array()?);
        entry.take(16 + 8 + 8 + 8)?;
        let partition = utf16(entry.take(72)?).unwrap_or_default();
        let partition = name(partition.split('\0').next().unwrap_or_default());
        said.push(if partition.is_empty() { kind } else { format!("{partition} ({kind})") });
    }
    Ok(format!("partitions of disk {disk}: {}", if said.is_empty() { "none".into() } else { listed(&said) }))
}

/// `UEFI_HANDOFF_TABLE_POINTERS`.
pub(super) fn tables(data: &[u8]) -> Result<String> {
    let mut reader = Reader(data);
    let count = reader.u64()?;
    let mut said = Vec::new();
    for _ in 0..count.min(64) {
        said.push(guid(reader.array()?));
        reader.u64()?;
    }
    Ok(format!("tables: {}", listed(&said)))
}

/// `UEFI_HANDOFF_TABLE_POINTERS2`.
pub(super) fn tables2(data: &[u8]) -> Result<String> {
    let (description, rest) = described(data)?;
    Ok(format!("{}, {description}", tables(rest)?))
}

/// `UEFI_PLATFORM_FIRMWARE_BLOB`, or words.
pub(super) fn blob(data: &[u8]) -> Result<String> {
    if let Some(text) = text(data) {
        return Ok(format!("`{text}`"));
    }
    let mut reader = Reader(data);
    let (base, length) = (reader.u64()?, reader.u64()?);
    Ok(format!("firmware at {base:#x}, {length:#x} bytes"))
}

/// `UEFI_PLATFORM_FIRMWARE_BLOB2`.
pub(super) fn blob2(data: &[u8]) -> Result<String> {
    let (description, rest) = described(data)?;
    Ok(format!("{}, {description}", blob(rest)?))
}

/// A description with its length before it.
fn described(data: &[u8]) -> Result<(String, &[u8])> {
    let mut reader = Reader(data);
    let length = reader.u8()?;
    let description = shown(reader.take(length.into())?);
    Ok((description, reader.0))
}

/// `TCG_PCClientTaggedEvent`: Linux and systemd give their events a number and a name.
pub(super) fn tagged(data: &[u8]) -> Result<String> {
    let mut reader = Reader(data);
    let number = reader.u32()?;
    let description = shown(reader.sized()?);
    Ok(format!("{description}, tag {number:#x}"))
}

/// An `EFI_VARIABLE` as the profile has it in events, for tests.
#[cfg(test)]
pub(crate) mod tests {
    use super::super::device_path::tests::{program, wide};
    use super::super::event::BootEvent;
    use super::signatures;
    use crate::digest::hex;
    use std::collections::BTreeMap;

    const GLOBAL: [u8; 16] = [0x61, 0xDF, 0xE4, 0x8B, 0xCA, 0x93, 0xD2, 0x11, 0xAA, 0x0D, 0, 0xE0, 0x98, 3, 0x2B, 0x8C];
    const SHA256: [u8; 16] =
        [0x26, 0x16, 0xC4, 0xC1, 0x4C, 0x50, 0x92, 0x40, 0xAC, 0xA9, 0x41, 0xF9, 0x36, 0x93, 0x43, 0x28];
    const X509: [u8; 16] =
        [0xA1, 0x59, 0xC0, 0xA5, 0xE4, 0x94, 0xA7, 0x4A, 0x87, 0xB5, 0xAB, 0x15, 0x5C, 0x2B, 0xF0, 0x72];

    pub(crate) fn variable(name: &str, data: &[u8]) -> Vec<u8> {
        let letters: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let sizes = [letters.len() as u64 / 2, data.len() as u64].map(u64::to_le_bytes).concat();
        [&GLOBAL[..], &sizes, &letters, data].concat()
    }

    pub(crate) fn image(path: &str) -> Vec<u8> {
        let path = program(path);
        [[0x1000, 0x200, 0, path.len() as u64].map(u64::to_le_bytes).concat(), path].concat()
    }

    fn list(kind: [u8; 16], entries: &[&[u8]]) -> Vec<u8> {
        let size = 16 + entries[0].len();
        let sizes =
            [28 + size * entries.len(), 0, size].map(|size| u32::try_from(size).unwrap().to_le_bytes()).concat();
        let entries: Vec<u8> = entries.iter().flat_map(|entry| [[9; 16].as_slice(), entry].concat()).collect();
        [kind.as_slice(), &sizes, &entries].concat()
    }

    fn gpt() -> Vec<u8> {
        let mut header = b"EFI PART".to_vec();
        header.resize(56, 0);
        header.extend([7; 16]);
        header.extend([0; 12]);
        header.extend(128_u32.to_le_bytes());
        header.extend([0; 4]);
        header.extend(1_u64.to_le_bytes());
        let mut entry =
            vec![0x28, 0x73, 0x2A, 0xC1, 0x1F, 0xF8, 0xD2, 0x11, 0xBA, 0x4B, 0, 0xA0, 0xC9, 0x3E, 0xC9, 0x3B];
        entry.resize(56, 0);
        entry.extend(wide("EFI"));
        entry.resize(128, 0);
        [header, entry].concat()
    }

    fn named(kind: u32, data: Vec<u8>) -> String {
        BootEvent { pcr: 0, kind, digests: BTreeMap::new(), data }.to_string()
    }

    #[test]
    fn every_kind_of_event_is_named_by_what_it_has() {
        let order = [1_u16, 0].map(u16::to_le_bytes).concat();
        let path = program("\\A");
        let option = [&[1, 0, 0, 0][..], &u16::try_from(path.len()).unwrap().to_le_bytes(), &wide("Debian"), &path];
        let tables = [&1_u64.to_le_bytes()[..], &[1; 16], &[0; 8]].concat();
        let blob = [0x1000_u64, 0x20].map(u64::to_le_bytes).concat();
        let vcek = host::psp::Identity::development().vcek;
        let owned = [[9; 16].as_slice(), &vcek].concat();
        let place = "PciRoot(0x0)/Pci(0x1f,0x2)/Sata(0x1,0xffff,0x0)/\
                     HD(1,GPT,12345678-9abc-def0-0102-030405060708,0x800,0x10000)";
        for (kind, data, says) in [
            (3, b"StartupLocality\0\x03".to_vec(), "TPM2_Startup at locality 3".to_owned()),
            (3, b"SP800-155 Event\0abc".to_vec(), "`SP800-155 Event`".into()),
            (4, vec![0; 4], "separator".into()),
            (4, vec![1, 0, 0, 0], "separator, an error: 01000000".into()),
            (6, [[7, 0, 0, 0, 5, 0, 0, 0].as_slice(), b"name\0"].concat(), "`name`, tag 0x7".into()),
            (8, wide("Q 1"), "the firmware's version `Q 1`".into()),
            (8, vec![0xFF; 16], "the firmware's version".into()),
            (1, b"ACPI DATA".to_vec(), "`ACPI DATA`".into()),
            (0x8000_0008, blob.clone(), "firmware at 0x1000, 0x20 bytes".into()),
            (0x8000_000A, [&b"\x04PEI\0"[..], &blob].concat(), "firmware at 0x1000, 0x20 bytes, `PEI`".into()),
            (0x8000_0001, variable("SecureBoot", &[1]), "SecureBoot (EFI_GLOBAL_VARIABLE): on".into()),
            (0x8000_0001, variable("PK", &[]), "PK (EFI_GLOBAL_VARIABLE): empty".into()),
            (
                0x8000_0001,
                variable("db", &[list(X509, &[&vcek]), list(SHA256, &[&[1; 32], &[2; 32]])].concat()),
                "db (EFI_GLOBAL_VARIABLE): certificate of CN=SEV-VCEK, 2 of SHA-256".into(),
            ),
            (0x8000_0001, variable("db", &[1; 40]), format!("db (EFI_GLOBAL_VARIABLE): {}… (40 bytes)", hex(&[1; 24]))),
            (0x8000_0002, variable("BootOrder", &order), "BootOrder (EFI_GLOBAL_VARIABLE): 0001, 0000".into()),
            (
                0x8000_0002,
                variable("Boot0001", &option.concat()),
                format!("Boot0001 (EFI_GLOBAL_VARIABLE): `Debian` {place}/\\A"),
            ),
            (0x8000_00E0, variable("db", &owned), "db (EFI_GLOBAL_VARIABLE): certificate of CN=SEV-VCEK".into()),
            (0x8000_0003, image("\\A"), format!("{place}/\\A")),
            (0x8000_0003, [0; 32].into(), "an image of 0x0 bytes at 0x0, without a path".into()),
            (
                0x8000_0006,
                gpt(),
                "partitions of disk 07070707-0707-0707-0707-070707070707: EFI (EFI system partition)".into(),
            ),
            (0x8000_0009, tables.clone(), "tables: 01010101-0101-0101-0101-010101010101".into()),
            (
                0x8000_000B,
                [&b"\x01A"[..], &tables].concat(),
                "tables: 01010101-0101-0101-0101-010101010101, `A`".into(),
            ),
            (13, b"grub_cmd: boot\0".to_vec(), "`grub_cmd: boot`".into()),
            (13, wide(".linux"), "`.linux`".into()),
            (0x7777, vec![0xFE], "fe".into()),
        ] {
            let said = named(kind, data.clone());
            let said =
                said.split(",O=").next().map(str::to_owned).filter(|_| says.contains("SEV-VCEK")).unwrap_or(said);
            assert!(said == says || says.contains("SEV-VCEK") && said.contains("certificate of "), "{said}\n{says}");
            // Cut off anywhere, it is named somehow.
            (0..data.len()).for_each(|length| drop(named(kind, data[..length].to_vec())));
        }
    }

    #[test]
    fn sizes_that_are_nonsense_are_no_names() {
        let mut huge = variable("db", &[0]);
        huge[16..32].fill(0xFF);
        assert!(named(0x8000_0001, huge).contains("bytes)"));
        assert!(signatures(&[[0; 16].as_slice(), &[0xFF; 12]].concat()).is_err());
        assert!(signatures(&[[0; 16].as_slice(), &[28, 0, 0, 0], &[0; 8]].concat()).is_ok(), "a list of nothing");
        let mut disk = gpt();
        disk[84..88].fill(0xFF);
        assert!(named(0x8000_0006, disk).ends_with(": none"));
    }
}
