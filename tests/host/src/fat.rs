//! A disk with a file system that every UEFI firmware reads (FAT, without a partition table).

use anyhow::{Context, Result};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use std::io::{Cursor, Write};

/// What the file system needs besides its files, and what a disk has at least (octets).
const OVERHEAD: usize = 2 << 20;
const MINIMUM: usize = 16 << 20;

/// The disk's octets, with these files: paths with `/` between folders, and contents. The same files make the same
/// disk.
pub fn disk(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let contents: usize = files.iter().map(|(_, contents)| contents.len()).sum();
    let size = (contents + contents / 64 + OVERHEAD).max(MINIMUM).next_multiple_of(1 << 20);
    let mut disk = Cursor::new(vec![0; size]);
    format_volume(&mut disk, FormatVolumeOptions::new().volume_label(*b"QUOIN      ")).context("no file system")?;
    {
        let system = FileSystem::new(&mut disk, FsOptions::new().update_accessed_date(false))?;
        for (path, contents) in files {
            for (end, _) in path.match_indices('/') {
                system.root_dir().create_dir(&path[..end])?;
            }
            let mut file = system.root_dir().create_file(path)?;
            file.write_all(contents).with_context(|| format!("{path} does not fit"))?;
        }
        system.unmount()?;
    }
    Ok(disk.into_inner())
}

#[cfg(test)]
mod tests {
    use super::disk;
    use fatfs::{FileSystem, FsOptions};
    use std::io::{Cursor, Read};

    #[test]
    fn files_are_found_by_their_paths_and_the_bytes_are_the_same() {
        for len in [1, 4097, 30_000_000] {
            let program: Vec<u8> = (0..=250).cycle().take(len).collect();
            let files: [(&str, &[u8]); 3] =
                [("EFI/BOOT/BOOTX64.EFI", &program), ("EFI/debian/grub.cfg", b"boot"), ("vmlinuz", b"kernel")];
            let made = disk(&files).unwrap();
            assert!(made == disk(&files).unwrap());
            let system = FileSystem::new(Cursor::new(made), FsOptions::new()).unwrap();
            for (path, expected) in files {
                let mut found = Vec::new();
                system.root_dir().open_file(path).unwrap().read_to_end(&mut found).unwrap();
                assert!(found == expected, "{path}, {len}");
            }
        }
    }
}
