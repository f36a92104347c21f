//! A unified kernel image: systemd's stub with the kernel, its initial file system and its command line as further sections (UAPI group, "Unified Kernel
//! Image"). OVMF starts it as any program, and the stub measures each section into PCR 11.

use super::fat;
use super::linux::Linux;
use anyhow::{Context, Result, ensure};

/// Where Debian's package systemd-boot-efi has the stub.
pub const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// Offsets in COFF's header behind the signature, in the optional header (PE32+), and in a section's entry (Microsoft, "PE Format").
mod at {
    pub(super) const SIGNATURE: usize = 0x3C;
    pub(super) const SECTIONS: usize = 6;
    pub(super) const OPTIONAL_SIZE: usize = 20;
    pub(super) const OPTIONAL: usize = 24;
    pub(super) const SECTION_ALIGNMENT: usize = 32;
    pub(super) const FILE_ALIGNMENT: usize = 36;
    pub(super) const IMAGE_SIZE: usize = 56;
    pub(super) const HEADERS_SIZE: usize = 60;
    pub(super) const CHECKSUM: usize = 64;
    pub(super) const VIRTUAL_SIZE: usize = 8;
    pub(super) const VIRTUAL_ADDRESS: usize = 12;
}
const SECTION: usize = 40;
/// Initialized data, to be read.
const DATA: u32 = 0x4000_0040;

/// A disk from which a UEFI firmware boots `linux`, by `stub`.
pub fn disk(stub: &[u8], linux: &Linux) -> Result<Vec<u8>> {
    let mut sections = vec![(".cmdline", linux.command_line.as_bytes()), (".linux", linux.kernel.as_slice())];
    sections.extend(linux.initrd.as_deref().map(|initrd| (".initrd", initrd)));
    fat::disk_with(&with_sections(stub, &sections)?)
}

/// `stub` with `sections` (name, contents) behind its own.
pub fn with_sections(stub: &[u8], sections: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut file = stub.to_vec();
    let pe = u32_at(&file, at::SIGNATURE)? as usize;
    ensure!(file.get(pe..pe + 4) == Some(b"PE\0\0"), "the stub is no PE file");
    let optional = pe + at::OPTIONAL;
    let count = usize::from(u16_at(&file, pe + at::SECTIONS)?);
    let table = optional + usize::from(u16_at(&file, pe + at::OPTIONAL_SIZE)?);
    let section_alignment = u32_at(&file, optional + at::SECTION_ALIGNMENT)?;
    let file_alignment = u32_at(&file, optional + at::FILE_ALIGNMENT)?;
    ensure!(section_alignment.is_power_of_two() && file_alignment.is_power_of_two(), "the stub's alignments are odd");
    let end_of_table = table + SECTION * (count + sections.len());
    ensure!(end_of_table <= u32_at(&file, optional + at::HEADERS_SIZE)? as usize, "the stub has no room for sections");

    let last = table + SECTION * count.checked_sub(1).context("the stub has no sections")?;
    let mut next = u32_at(&file, last + at::VIRTUAL_ADDRESS)? + u32_at(&file, last + at::VIRTUAL_SIZE)?;
    for (index, (name, contents)) in sections.iter().enumerate() {
        let address = next.next_multiple_of(section_alignment);
        pad(&mut file, file_alignment);
        let mut header = name.as_bytes().to_vec();
        ensure!(header.len() <= 8, "a section's name has at most 8 octets");
        header.resize(8, 0);
        let (size, pointer) = (u32::try_from(contents.len())?, u32::try_from(file.len())?);
        let fields = [size, address, size.next_multiple_of(file_alignment), pointer, 0, 0, 0, DATA];
        header.extend(fields.into_iter().flat_map(u32::to_le_bytes));
        put(&mut file, table + SECTION * (count + index), &header);
        file.extend_from_slice(contents);
        next = address + size;
    }
    pad(&mut file, file_alignment);
    put(&mut file, pe + at::SECTIONS, &u16::try_from(count + sections.len())?.to_le_bytes());
    put(&mut file, optional + at::IMAGE_SIZE, &next.next_multiple_of(section_alignment).to_le_bytes());
    put(&mut file, optional + at::CHECKSUM, &[0; 4]);
    Ok(file)
}

fn pad(file: &mut Vec<u8>, alignment: u32) {
    file.resize(file.len().next_multiple_of(alignment as usize), 0);
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = file.get_mut(at..at + bytes.len()) {
        to.copy_from_slice(bytes);
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    bytes.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).context("the stub ends early")
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::{at, put, u16_at, u32_at, with_sections};

    const PE_OFFSET: u8 = 0x80;
    const PE: usize = PE_OFFSET as usize;
    const TABLE: usize = PE + at::OPTIONAL + 0xF0;

    /// A PE file with one section at 0x1000, of 0x10 octets.
    fn stub() -> Vec<u8> {
        let mut file = vec![0; 0x600];
        put(&mut file, at::SIGNATURE, &[PE_OFFSET, 0, 0, 0]);
        put(&mut file, PE, b"PE\0\0");
        put(&mut file, PE + at::SECTIONS, &[1, 0]);
        put(&mut file, PE + at::OPTIONAL_SIZE, &[0xF0, 0]);
        for (field, value) in
            [(at::SECTION_ALIGNMENT, 0x1000_u32), (at::FILE_ALIGNMENT, 0x200), (at::HEADERS_SIZE, 0x400)]
        {
            put(&mut file, PE + at::OPTIONAL + field, &value.to_le_bytes());
        }
        put(&mut file, TABLE + at::VIRTUAL_SIZE, &[0x10, 0, 0, 0, 0, 0x10, 0, 0]);
        file
    }

    #[test]
    fn sections_follow_the_stubs_own() {
        let file = with_sections(&stub(), &[(".cmdline", b"quiet"), (".linux", &[7; 0x1001])]).unwrap();
        assert_eq!(u16_at(&file, PE + at::SECTIONS).unwrap(), 3);
        assert_eq!(u32_at(&file, PE + at::OPTIONAL + at::IMAGE_SIZE).unwrap(), 0x5000);
        let section = |n: usize| [8, 12, 16, 20].map(|field| u32_at(&file, TABLE + 40 * n + field).unwrap());
        assert_eq!(section(1), [5, 0x2000, 0x200, 0x600]);
        assert_eq!(section(2), [0x1001, 0x3000, 0x1200, 0x800]);
        assert_eq!((&file[0x600..0x605], file[0x800], file.len()), (&b"quiet"[..], 7, 0x1A00));
    }

    #[test]
    fn what_is_no_stub_is_refused() {
        assert!(with_sections(&[], &[]).is_err());
        assert!(with_sections(&[0; 0x600], &[]).is_err());
        let many: Vec<_> = (0..16).map(|_| (".x", &b""[..])).collect();
        assert!(with_sections(&stub(), &many).unwrap_err().to_string().contains("no room"));
    }
}
