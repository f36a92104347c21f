//! Device paths as text (UEFI Specification, 10.6): what an image was loaded from.
//!
//! A node that is unknown here, or is shorter than its kind, has the form that the specification gives to those,
//! `Path(type,subtype,data)`.

use super::super::event_log::Reader;
use super::text::{guid, name, utf16};
use crate::digest::hex;
use anyhow::Result;

/// More nodes than any path has.
const MAX_NODES: usize = 64;
/// PNP identifiers of root bridges, in EISA's compressed form.
const PCI_ROOT: u32 = 0x0A03_41D0;
const PCIE_ROOT: u32 = 0x0A08_41D0;
const PNP: u32 = 0x41D0;

/// A path in words; what is behind its end, or cannot be read, is left out.
pub(super) fn text(path: &[u8]) -> String {
    let mut rest = Reader(path);
    let mut nodes = Vec::new();
    while let Ok((kind, subtype, data)) = next(&mut rest) {
        if (kind, subtype) == (0x7F, 0xFF) || nodes.len() == MAX_NODES {
            break;
        }
        nodes.push(node(kind, subtype, data).unwrap_or_else(|_| format!("Path({kind},{subtype},{})", hex(data))));
    }
    nodes.join("/").replace("/,/", ",")
}

fn next<'a>(rest: &mut Reader<'a>) -> Result<(u8, u8, &'a [u8])> {
    let (kind, subtype) = (rest.u8()?, rest.u8()?);
    let length = usize::from(rest.u16()?);
    Ok((kind, subtype, rest.take(length.saturating_sub(4))?))
}

fn node(kind: u8, subtype: u8, data: &[u8]) -> Result<String> {
    let mut data = Reader(data);
    Ok(match (kind, subtype) {
        (1, 1) => {
            let (function, device) = (data.u8()?, data.u8()?);
            format!("Pci({device:#x},{function:#x})")
        }
        (1, 3) => format!("MemoryMapped({:#x},{:#x},{:#x})", data.u32()?, data.u64()?, data.u64()?),
        (1, 4) => vendor("VenHw", &mut data)?,
        (1, 5) => format!("Ctrl({:#x})", data.u32()?),
        (2, 1) => acpi(data.u32()?, data.u32()?),
        (3, 2) => format!("Scsi({:#x},{:#x})", data.u16()?, data.u16()?),
        (3, 5) => format!("USB({:#x},{:#x})", data.u8()?, data.u8()?),
        (3, 10) => vendor("VenMsg", &mut data)?,
        (3, 11) => {
            let (address, family) = (data.take(32)?, data.u8()?);
            format!("MAC({},{family:#x})", hex(address.get(..if family <= 1 { 6 } else { 32 }).unwrap_or(address)))
        }
        (3, 12) => {
            data.take(4)?;
            format!("IPv4({})", dotted(data.take(4)?))
        }
        (3, 13) => {
            data.take(16)?;
            format!("IPv6({})", hex(data.take(16)?))
        }
        (3, 18) => format!("Sata({:#x},{:#x},{:#x})", data.u16()?, data.u16()?, data.u16()?),
        (3, 23) => {
            let (namespace, identifier) = (data.u32()?, data.take(8)?);
            let identifier: Vec<String> = identifier.iter().rev().map(|byte| format!("{byte:02X}")).collect();
            format!("NVMe({namespace:#x},{})", identifier.join("-"))
        }
        (3, 24) => format!("Uri({})", String::from_utf8_lossy(data.0).escape_debug()),
        (3, 26) => format!("SD({:#x})", data.u8()?),
        (3, 29) => format!("eMMC({:#x})", data.u8()?),
        (4, 1) => hard_drive(&mut data)?,
        (4, 2) => format!("CDROM({:#x},{:#x},{:#x})", data.u32()?, data.u64()?, data.u64()?),
        (4, 3) => vendor("VenMedia", &mut data)?,
        (4, 4) => name(&utf16(data.0).unwrap_or_else(|| hex(data.0))),
        (4, 6) => format!("FvFile({})", guid(data.array()?)),
        (4, 7) => format!("Fv({})", guid(data.array()?)),
        (4, 8) => {
            data.take(4)?;
            format!("Offset({:#x},{:#x})", data.u64()?, data.u64()?)
        }
        (5, 1) => format!("BBS({:#x},{:#x})", data.u16()?, data.u16()?),
        (0x7F, 1) => String::from(","),
        _ => format!("Path({kind},{subtype},{})", hex(data.0)),
    })
}

fn vendor(kind: &str, data: &mut Reader<'_>) -> Result<String> {
    let id = guid(data.array()?);
    Ok(if data.0.is_empty() { format!("{kind}({id})") } else { format!("{kind}({id},{})", hex(data.0)) })
}

fn acpi(hid: u32, uid: u32) -> String {
    match hid {
        PCI_ROOT => format!("PciRoot({uid:#x})"),
        PCIE_ROOT => format!("PcieRoot({uid:#x})"),
        _ if hid & 0xFFFF == PNP => format!("Acpi(PNP{:04X},{uid:#x})", hid >> 16),
        _ => format!("Acpi({hid:#010x},{uid:#x})"),
    }
}

fn dotted(address: &[u8]) -> String {
    address.iter().map(u8::to_string).collect::<Vec<_>>().join(".")
}

fn hard_drive(data: &mut Reader<'_>) -> Result<String> {
    let (partition, start, size) = (data.u32()?, data.u64()?, data.u64()?);
    let signature: &[u8; 16] = data.array()?;
    let (_format, kind) = (data.u8()?, data.u8()?);
    let signature = match (kind, signature) {
        (1, [a, b, c, d, ..]) => format!("MBR,0x{}", hex(&[*d, *c, *b, *a])),
        (2, _) => format!("GPT,{}", guid(signature)),
        _ => format!("{kind},0"),
    };
    Ok(format!("HD({partition},{signature},{start:#x},{size:#x})"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::text;

    /// A node, its length before its data.
    pub(crate) fn node(kind: u8, subtype: u8, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + data.len()).unwrap();
        [&[kind, subtype][..], &length.to_le_bytes(), data].concat()
    }

    pub(crate) fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
    }

    /// A program on the first partition of a disk.
    pub(crate) fn program(name: &str) -> Vec<u8> {
        let id = [0x78, 0x56, 0x34, 0x12, 0xBC, 0x9A, 0xF0, 0xDE, 1, 2, 3, 4, 5, 6, 7, 8];
        let drive =
            [&1_u32.to_le_bytes()[..], &0x800_u64.to_le_bytes(), &0x1_0000_u64.to_le_bytes(), &id, &[2, 2]].concat();
        [
            node(2, 1, &[0xD0, 0x41, 0x03, 0x0A, 0, 0, 0, 0]),
            node(1, 1, &[2, 0x1F]),
            node(3, 18, &[1, 0, 0xFF, 0xFF, 0, 0]),
            node(4, 1, &drive),
            node(4, 4, &wide(name)),
            node(0x7F, 0xFF, &[]),
        ]
        .concat()
    }

    #[test]
    fn a_path_has_the_text_that_the_specification_gives_it() {
        assert_eq!(
            text(&program("\\EFI\\BOOT\\BOOTX64.EFI")),
            "PciRoot(0x0)/Pci(0x1f,0x2)/Sata(0x1,0xffff,0x0)/\
             HD(1,GPT,12345678-9abc-def0-0102-030405060708,0x800,0x10000)/\\EFI\\BOOT\\BOOTX64.EFI"
        );
        let kinds = [
            node(1, 3, &[[11, 0, 0, 0, 0, 0, 0, 0].as_slice(), &[0; 12]].concat()),
            node(1, 4, &[[0; 16].as_slice(), &[7]].concat()),
            node(1, 5, &[1, 0, 0, 0]),
            node(2, 1, &[0xD0, 0x41, 1, 5, 2, 0, 0, 0]),
            node(2, 1, &[0x86, 0x80, 1, 5, 2, 0, 0, 0]),
            node(3, 2, &[1, 0, 2, 0]),
            node(3, 5, &[3, 0]),
            node(3, 10, &[1; 16]),
            node(3, 11, &[[0x52; 32].as_slice(), &[1]].concat()),
            node(3, 12, &[0, 0, 0, 0, 10, 0, 2, 15, 0]),
            node(3, 13, &[0xFE; 40]),
            node(3, 23, &[1, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]),
            node(3, 24, b"http://a/b"),
            node(3, 26, &[1]),
            node(3, 29, &[0]),
            node(4, 2, &[0; 20]),
            node(4, 3, &[2; 16]),
            node(4, 6, &[3; 16]),
            node(4, 7, &[4; 16]),
            node(4, 8, &[[0; 12].as_slice(), &[1], &[0; 7]].concat()),
            node(5, 1, &[1, 0, 2, 0]),
            node(9, 9, &[0xAB]),
        ];
        assert_eq!(
            text(&kinds.concat()),
            "MemoryMapped(0xb,0x0,0x0)/VenHw(00000000-0000-0000-0000-000000000000,07)/Ctrl(0x1)/Acpi(PNP0501,0x2)/\
             Acpi(0x05018086,0x2)/Scsi(0x1,0x2)/USB(0x3,0x0)/VenMsg(01010101-0101-0101-0101-010101010101)/\
             MAC(525252525252,0x1)/IPv4(10.0.2.15)/IPv6(fefefefefefefefefefefefefefefefe)/\
             NVMe(0x1,01-02-03-04-05-06-07-08)/Uri(http://a/b)/SD(0x1)/eMMC(0x0)/CDROM(0x0,0x0,0x0)/\
             VenMedia(02020202-0202-0202-0202-020202020202)/FvFile(03030303-0303-0303-0303-030303030303)/\
             Fv(04040404-0404-0404-0404-040404040404)/Offset(0x0,0x1)/BBS(0x1,0x2)/Path(9,9,ab)"
        );
    }

    #[test]
    fn a_path_that_is_cut_off_or_nonsense_is_what_could_be_read() {
        let path = program("\\A");
        for length in 0..path.len() {
            let _ = text(&path[..length]);
        }
        assert_eq!(text(&[]), "");
        assert_eq!(text(&node(1, 1, &[])), "Path(1,1,)", "too short for its kind");
        assert_eq!(text(&[1, 1, 0, 0, 1, 1, 3, 0]), "Path(1,1,)/Path(1,1,)", "a length below that of a header");
        let two = [node(1, 5, &[1, 0, 0, 0]), node(0x7F, 1, &[]), node(1, 5, &[2, 0, 0, 0])].concat();
        assert_eq!(text(&two), "Ctrl(0x1),Ctrl(0x2)", "two instances");
        let mut mbr = [&1_u32.to_le_bytes()[..], &[0; 16], &[0xEF, 0xBE, 0xAD, 0xDE]].concat();
        mbr.extend([0; 12]);
        assert_eq!(text(&node(4, 1, &[mbr.as_slice(), &[1, 1]].concat())), "HD(1,MBR,0xdeadbeef,0x0,0x0)");
    }
}
