//! OVMF as a guest, unmodified: found and laid out by the metadata that it carries for SEV-SNP launches (edk2,
//! OvmfPkg/Include/WorkArea.h and ResetVector/X64/OvmfSevMetadata.asm).

use super::elf::PAGE;
use super::guest::{Entry, Event, Guest, Interrupts, Kind, Measure, Personality, Region, Validation, memory_type};
use super::settings::Settings;
use anyhow::{Context, Result, ensure};

/// The image ends here.
const END: u64 = 0x1_0000_0000;
/// The reset vector.
const RESET: u64 = 0xFFFF_FFF0;
/// EV_POST_CODE, in PCR 0: the platform's firmware, measured by what comes before it; its data is a string (TCG PC
/// Client Platform Firmware Profile, 10.4.1). tpm2_eventlog takes the data of EV_S_CRTM_CONTENTS for an address and a
/// length.
const EV_POST_CODE: u32 = 1;

/// The table of entries with GUIDs ends so far before the end of the image (edk2,
/// OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm).
const TABLE_END: usize = 0x20;
/// 96b582de-1fb2-45f7-baea-a366c55a082d, the table's own entry, and dc886566-984a-4798-a75e-5585a7bf67cc, where the
/// metadata is.
const FOOTER: [u8; 16] = *b"\xde\x82\xb5\x96\xb2\x1f\xf7\x45\xba\xea\xa3\x66\xc5\x5a\x08\x2d";
const METADATA: [u8; 16] = *b"\x66\x65\x88\xdc\x4a\x98\x98\x47\xa7\x5e\x55\x85\xa7\xbf\x67\xcc";
/// fff12b8d-7696-4c8b-a985-2747075b4f50, a firmware volume with variables.
const VARIABLES: [u8; 16] = *b"\x8d\x2b\xf1\xff\x96\x76\x8b\x4c\xa9\x85\x27\x47\x07\x5b\x4f\x50";

/// The guest that `image`, an OVMF.fd or OVMF_CODE.fd, is.
pub fn guest(image: &[u8]) -> Result<Guest> {
    let code = code(image)?;
    let event = Event { pcr: 0, event_type: EV_POST_CODE, name: String::from("OVMF"), with_contents: false };
    let place = Region::measured(END - code.len() as u64, memory_type::RESERVED, code.to_vec());
    let mut regions = vec![place.with_event(event)];
    for section in sections(image)? {
        regions.push(region(section)?);
    }
    for kind in [Kind::Cpuid, Kind::Secrets, Kind::CallingArea] {
        ensure!(regions.iter().any(|region| region.kind == kind), "OVMF's metadata has no section for {kind:?}");
    }
    Ok(Guest {
        entry: Entry::RealReset,
        registers: [RESET, 0, 0, 0],
        validation: Validation::Listed,
        measure: Measure::Firmware,
        processors: 1,
        from_file: 0,
        mixed_blocks: 0,
        interrupts: Interrupts::default(),
        personality: Personality::default(),
        settings: Settings::default(),
        regions,
    })
}

/// The image without variables before it: they would be memory that no flash device is behind, and OVMF, which finds
/// none, keeps its own.
fn code(image: &[u8]) -> Result<&[u8]> {
    let is_variables = image.get(16..32) == Some(&VARIABLES);
    let skipped = if is_variables { usize::try_from(u64::from_le_bytes(array(image, 32)?))? } else { 0 };
    let code = image.get(skipped..).context("OVMF's image ends in its variables")?;
    ensure!(!code.is_empty() && code.len().is_multiple_of(4096), "OVMF's image is not made of whole pages");
    ensure!(code.len() <= 0x100_0000, "OVMF's image has more than 16 MiB");
    Ok(code)
}

/// Base, size and type of each section of the metadata.
fn sections(image: &[u8]) -> Result<Vec<[u32; 3]>> {
    let from_end = metadata_from_end(image)?;
    let at = image.len().checked_sub(from_end).context("OVMF's metadata lies outside of the image")?;
    ensure!(image.get(at..at + 4) == Some(b"ASEV"), "OVMF's metadata has no signature");
    let [_, version, count] = [4, 8, 12].map(|offset| array(image, at + offset).map(u32::from_le_bytes));
    ensure!(version? == 1, "OVMF's metadata has a version that is not known");
    (0..count? as usize)
        .map(|index| {
            let field = |n: usize| array(image, at + 16 + 12 * index + 4 * n).map(u32::from_le_bytes);
            Ok([field(0)?, field(1)?, field(2)?])
        })
        .collect()
}

/// How far before the image's end the metadata begins. The table is read from its end: data, length (of the whole
/// entry), GUID.
fn metadata_from_end(image: &[u8]) -> Result<usize> {
    let end = image.len().checked_sub(TABLE_END).context("OVMF's image is too short")?;
    let entry = |end: usize| -> Result<([u8; 16], usize)> {
        let guid = array(image, end.checked_sub(16).context("OVMF's table begins before its image")?)?;
        Ok((guid, u16::from_le_bytes(array(image, end - 18)?).into()))
    };
    let (guid, total) = entry(end)?;
    ensure!(guid == FOOTER, "this is no OVMF: the table with the addresses for SEV is missing");
    let start = end.checked_sub(total).context("OVMF's table begins before its image")?;
    let mut at = end - 18;
    while at > start {
        let (guid, len) = entry(at)?;
        ensure!(len >= 18 && len <= at - start, "OVMF's table has an entry of {len} octets");
        if guid == METADATA {
            return Ok(u32::from_le_bytes(array(image, at - len)?) as usize);
        }
        at -= len;
    }
    anyhow::bail!("this OVMF has no metadata for SEV-SNP")
}

/// SNP_SEC_MEM 1, SNP_SECRETS 2, CPUID 3, SVSM_CAA 4, KERNEL_HASHES 16: pages of hashes that are left zero say that
/// there are none.
fn region([base, size, kind]: [u32; 3]) -> Result<Region> {
    let kind = match kind {
        1 | 0x10 => Kind::Validated,
        2 => Kind::Secrets,
        3 => Kind::Cpuid,
        4 => Kind::CallingArea,
        other => anyhow::bail!("OVMF's metadata has a section of type {other}, which is not known"),
    };
    ensure!(u64::from(base).is_multiple_of(PAGE) && size > 0, "OVMF's metadata has a section at {base:#x}");
    let mut region = Region::prepared(base.into(), size.into(), kind);
    region.memory_type = memory_type::RAM;
    Ok(region)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    bytes.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).context("OVMF's metadata ends early")
}

#[cfg(test)]
mod tests {
    use super::{FOOTER, Kind, METADATA, TABLE_END, VARIABLES, guest};

    const SECTIONS: [[u32; 3]; 5] = [
        [0x80_0000, 0x9000, 1],
        [0x80_D000, 0x1000, 2],
        [0x80_E000, 0x1000, 3],
        [0x80_F000, 0x1000, 4],
        [0x81_0000, 0x1000, 0x10],
    ];

    /// `variables` octets of them, and 8 KiB of code with metadata.
    fn image(variables: usize, sections: &[[u32; 3]]) -> Vec<u8> {
        let mut image = vec![0; variables + 0x2000];
        if variables > 0 {
            image[16..32].copy_from_slice(&VARIABLES);
            image[32..40].copy_from_slice(&(variables as u64).to_le_bytes());
        }
        let (total, at) = (image.len(), image.len() - 0x400);
        let mut metadata = b"ASEV".to_vec();
        let count = u32::try_from(sections.len()).unwrap();
        metadata.extend([0, 1, count].into_iter().chain(sections.iter().flatten().copied()).flat_map(u32::to_le_bytes));
        image[at..at + metadata.len()].copy_from_slice(&metadata);
        // Another entry before the one of the metadata.
        let mut table = [&[7; 8][..], &26_u16.to_le_bytes(), &[9; 16]].concat();
        table.extend([&0x400_u32.to_le_bytes()[..], &22_u16.to_le_bytes(), &METADATA].concat());
        let length = u16::try_from(table.len() + 18).unwrap();
        table.extend([&length.to_le_bytes()[..], &FOOTER].concat());
        let end = total - TABLE_END;
        image[end - table.len()..end].copy_from_slice(&table);
        image
    }

    #[test]
    fn the_image_ends_at_4_gib_without_its_variables() {
        for variables in [0, 0x3000] {
            let guest = guest(&image(variables, &SECTIONS)).unwrap();
            let code = &guest.regions[0];
            assert_eq!((code.gpa, code.size, code.kind), (0xFFFF_E000, 0x2000, Kind::Measured));
            assert_eq!(code.event.as_ref().unwrap().pcr, 0);
        }
    }

    #[test]
    fn each_section_becomes_a_region() {
        let guest = guest(&image(0, &SECTIONS)).unwrap();
        let regions: Vec<_> = guest.regions[1..].iter().map(|region| (region.gpa, region.kind)).collect();
        assert_eq!(
            regions,
            [
                (0x80_0000, Kind::Validated),
                (0x80_D000, Kind::Secrets),
                (0x80_E000, Kind::Cpuid),
                (0x80_F000, Kind::CallingArea),
                (0x81_0000, Kind::Validated)
            ]
        );
    }

    #[test]
    fn what_is_no_ovmf_for_snp_is_refused() {
        let refused = |image: &[u8]| guest(image).unwrap_err().to_string();
        assert!(refused(&[]).contains("whole pages"));
        assert!(refused(&[0; 0x2000]).contains("no OVMF"));
        let no_calling_area: Vec<_> = SECTIONS.into_iter().filter(|section| section[2] != 4).collect();
        assert!(refused(&image(0, &no_calling_area)).contains("CallingArea"));
        assert!(refused(&image(0, &[[0x80_0000, 0x1000, 5]])).contains("type 5"));
        let mut damaged = image(0, &SECTIONS);
        let end = damaged.len() - TABLE_END;
        damaged[end - 18..end - 16].copy_from_slice(&0xFFFF_u16.to_le_bytes());
        assert!(guest(&damaged).is_err());
    }
}
