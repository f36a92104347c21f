//! What QEMU's PVH loader says about memory (hvm_start_info).

use crate::bits::{array, u32_at, u64_at, us};
use crate::log::fault;
use crate::phys;
use heapless::Vec;

/// Video memory, option ROMs and BIOS begin.
pub(crate) const LEGACY_HOLE: u64 = 0xA_0000;
/// And end.
pub(crate) const LEGACY_HOLE_END: u64 = 0x10_0000;
/// The lowest that a BIOS's own data reach down to.
const EBDA: u64 = 0x9_0000;

/// The RAM of the computer that QEMU emulates: (start, end).
pub(crate) fn memory(info: u64) -> Vec<(u64, u64), 8> {
    const MAGIC: u32 = 0x336E_C578;
    const ENTRY: usize = 24;
    const RAM: u32 = 1;
    let mut start = [0; 56];
    phys::read(info, &mut start);
    if u32_at(&start, 0) != MAGIC || u32_at(&start, 4) < 1 {
        fault!("no PVH start information at {info:#x}: start with QEMU's -kernel");
    }
    let (map, count) = (u64_at(&start, 40), us(u32_at(&start, 48).into()).min(64));
    let mut ranges = Vec::new();
    for index in 0..count {
        let mut entry = [0u8; ENTRY];
        phys::read(map + (index * ENTRY) as u64, &mut entry);
        let (from, len) = (u64_at(&entry, 0), u64_at(&entry, 8));
        if u32::from_le_bytes(array(&entry, 16)) == RAM {
            // The BIOS has kept the last KiB below 640 KiB for itself, and does not run any more.
            let to = from.saturating_add(len);
            let to = if (EBDA..LEGACY_HOLE).contains(&to) { LEGACY_HOLE } else { to };
            // More ranges than fit are not used.
            let _ = ranges.push((from, to));
        }
    }
    if !ranges.iter().any(|&(from, to)| from < phys::RESERVE_START && to >= phys::RESERVE_END) {
        fault!("at least 512 MiB of memory are needed: start QEMU with -m 512M");
    }
    ranges
}
