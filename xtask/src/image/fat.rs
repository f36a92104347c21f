//! A disk with a file system that every UEFI firmware reads (FAT16, without a partition table), and one program in it, where a firmware looks that knows no
//! other: `\EFI\BOOT\BOOTX64.EFI`.

use anyhow::{Result, ensure};

const SECTOR: usize = 512;
const SECTORS_PER_CLUSTER: usize = 8;
const CLUSTER: usize = SECTOR * SECTORS_PER_CLUSTER;
const ROOT_ENTRIES: usize = 512;
const DIRECTORY: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
/// What makes it FAT16: so many clusters at least, and at most.
const CLUSTERS: core::ops::RangeInclusive<usize> = 4085..=65524;
const END_OF_CHAIN: u16 = 0xFFFF;
/// 1 January 2020: the same input makes the same disk.
const DATE: u16 = 40 << 9 | 1 << 5 | 1;

/// The disk's octets.
pub fn disk_with(program: &[u8]) -> Result<Vec<u8>> {
    let used = 2 + program.len().div_ceil(CLUSTER);
    let clusters = (used + 16).max(*CLUSTERS.start() + 16);
    ensure!(CLUSTERS.contains(&clusters), "the program is too large for the disk: {} octets", program.len());
    let fat_sectors = (2 * (clusters + 2)).div_ceil(SECTOR);
    let root_at = 1 + 2 * fat_sectors;
    let data_at = root_at + ROOT_ENTRIES * 32 / SECTOR;
    let sectors = data_at + clusters * SECTORS_PER_CLUSTER;
    let mut disk = vec![0; sectors * SECTOR];

    put(&mut disk, 0, &boot_sector(u32::try_from(sectors)?, u16::try_from(fat_sectors)?));
    let fat = chains(program.len().div_ceil(CLUSTER))?;
    put(&mut disk, SECTOR, &fat);
    put(&mut disk, SECTOR * (1 + fat_sectors), &fat);
    put(&mut disk, root_at * SECTOR, &entry(b"EFI        ", DIRECTORY, 2, 0));
    let cluster = |n: usize| data_at * SECTOR + (n - 2) * CLUSTER;
    let size = u32::try_from(program.len())?;
    for (own, parent, child) in
        [(2, 0, entry(b"BOOT       ", DIRECTORY, 3, 0)), (3, 2, entry(b"BOOTX64 EFI", ARCHIVE, 4, size))]
    {
        let dots = [entry(b".          ", DIRECTORY, own, 0), entry(b"..         ", DIRECTORY, parent, 0), child];
        put(&mut disk, cluster(own.into()), &dots.concat());
    }
    put(&mut disk, cluster(4), program);
    Ok(disk)
}

fn boot_sector(sectors: u32, fat_sectors: u16) -> Vec<u8> {
    let mut sector = b"\xEB\x3C\x90QUOIN   ".to_vec();
    sector.extend(512_u16.to_le_bytes());
    // Octets: sectors of a cluster; u16 reserved sectors; octets: tables; u16 root entries, u16 sectors (elsewhere), octet: medium.
    sector.extend([8, 1, 0, 2, 0, 2, 0, 0, 0xF8]);
    sector.extend(fat_sectors.to_le_bytes());
    // Geometry, hidden sectors.
    sector.extend([32, 0, 64, 0, 0, 0, 0, 0]);
    sector.extend(sectors.to_le_bytes());
    // Drive, extended signature, serial number, label, type.
    sector.extend(b"\x80\x00\x29\x01\x00\x00\x00QUOIN      FAT16   ");
    sector.resize(SECTOR - 2, 0);
    sector.extend([0x55, 0xAA]);
    sector
}

/// The table: two directories of a cluster each, and a file of `clusters`.
fn chains(clusters: usize) -> Result<Vec<u8>> {
    let last = u16::try_from(clusters + 3)?;
    let file = (4..=last).map(|n| if n == last { END_OF_CHAIN } else { n + 1 });
    Ok([0xFFF8, END_OF_CHAIN, END_OF_CHAIN, END_OF_CHAIN].into_iter().chain(file).flat_map(u16::to_le_bytes).collect())
}

fn entry(name: &[u8; 11], attributes: u8, cluster: u16, size: u32) -> Vec<u8> {
    let mut entry = name.to_vec();
    entry.push(attributes);
    entry.resize(24, 0);
    entry.extend(DATE.to_le_bytes());
    entry.extend(cluster.to_le_bytes());
    entry.extend(size.to_le_bytes());
    entry
}

fn put(disk: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = disk.get_mut(at..at + bytes.len()) {
        to.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::disk_with;

    fn number(bytes: &[u8], at: usize, len: usize) -> usize {
        bytes[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    /// Reads `\EFI\BOOT\BOOTX64.EFI` by what the boot sector says.
    fn program(disk: &[u8]) -> Vec<u8> {
        let sector = number(disk, 11, 2);
        let cluster = number(disk, 13, 1) * sector;
        let fat = number(disk, 14, 2) * sector;
        let root = fat + number(disk, 16, 1) * number(disk, 22, 2) * sector;
        let data = root + number(disk, 17, 2) * 32;
        let at = |n: usize| data + (n - 2) * cluster;
        let find =
            |from: usize, name: &[u8]| (0..8).map(|n| from + 32 * n).find(|at| disk[*at..].starts_with(name)).unwrap();
        let efi = find(root, b"EFI        \x10");
        let boot = find(at(number(disk, efi + 26, 2)), b"BOOT       \x10");
        let file = find(at(number(disk, boot + 26, 2)), b"BOOTX64 EFI\x20");
        let (mut next, size) = (number(disk, file + 26, 2), number(disk, file + 28, 4));
        let mut contents = Vec::new();
        while next < 0xFFF8 {
            contents.extend_from_slice(&disk[at(next)..at(next) + cluster]);
            next = number(disk, fat + 2 * next, 2);
        }
        contents.truncate(size);
        contents
    }

    #[test]
    fn the_program_is_found_by_its_path() {
        for len in [1, 4096, 4097, 20_000_000] {
            let expected: Vec<u8> = (0..=250).cycle().take(len).collect();
            let disk = disk_with(&expected).unwrap();
            assert_eq!(disk.len(), number(&disk, 32, 4) * 512);
            assert!(program(&disk) == expected, "{len}");
        }
    }

    #[test]
    fn a_program_that_is_too_large_is_refused() {
        assert!(disk_with(&vec![0; 300 << 20]).is_err());
    }
}
