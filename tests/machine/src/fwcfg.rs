//! QEMU's fw_cfg device, by DMA: the machine's only input; and what the guest sees of it, by its ports.

use crate::bits::{put, u64_at, us};
use crate::cpu::port_out;
use crate::log::fault;
use crate::phys::Pool;

/// Selector of the file directory.
const DIRECTORY: u16 = 0x19;
/// Bytes of a directory entry: u32 size, u16 selector, u16 reserved, 56 bytes of name; big-endian.
const ENTRY: usize = 64;

/// The request structure of the DMA interface, big-endian.
#[repr(C, align(16))]
struct Request {
    control: u32,
    length: u32,
    address: u64,
}

/// A file of the directory.
#[derive(Clone, Copy)]
struct File {
    selector: u16,
    size: usize,
}

/// Selects `selector` and reads from its start into `to`.
fn read(selector: u16, to: &mut [u8]) {
    const ERROR: u32 = 1;
    const READ: u32 = 2;
    const SELECT: u32 = 8;
    let control = u32::from(selector) << 16 | SELECT | READ;
    let length = u32::try_from(to.len()).unwrap_or(0);
    let mut request =
        Request { control: control.to_be(), length: length.to_be(), address: (to.as_mut_ptr() as u64).to_be() };
    let at = (&raw mut request) as u64;
    port_out(0x514, 4, crate::bits::lo32(at >> 32).to_be());
    port_out(0x518, 4, crate::bits::lo32(at).to_be());
    // QEMU completes the transfer within the write of the low half; the loop is for the interface's sake.
    loop {
        // SAFETY: `request` lives on this stack; volatile because the device wrote it.
        let control = u32::from_be(unsafe { (&raw const request.control).read_volatile() });
        if control & ERROR != 0 {
            fault!("fw_cfg refuses to read {length} bytes of item {selector:#x}");
        }
        if control == 0 {
            return;
        }
    }
}

fn find(name: &str) -> Option<File> {
    let mut directory = [0u8; 4 + 128 * ENTRY];
    read(DIRECTORY, &mut directory[..4]);
    let count = us(u64::from(u32::from_be_bytes(crate::bits::array(&directory, 0)))).min(128);
    read(DIRECTORY, &mut directory[..4 + count * ENTRY]);
    directory[4..4 + count * ENTRY].chunks_exact(ENTRY).find_map(|entry| {
        let stored = entry[8..].split(|byte| *byte == 0).next()?;
        (stored == name.as_bytes()).then(|| File {
            selector: u16::from_be_bytes(crate::bits::array(entry, 4)),
            size: us(u64::from(u32::from_be_bytes(crate::bits::array(entry, 0)))),
        })
    })
}

/// The contents of a file, in memory of its own. `None`: no such file.
pub(crate) fn file(pool: &mut Pool, name: &str) -> Option<&'static [u8]> {
    let file = find(name)?;
    let to = pool.slice(file.size);
    read(file.selector, to);
    Some(to)
}

/// How many processors QEMU has been given.
pub(crate) fn processors() -> usize {
    const COUNT: u16 = 5;
    let mut count = [0; 2];
    read(COUNT, &mut count);
    u16::from_le_bytes(count).into()
}

/// Port of the selector, and of the data, an octet at a time.
pub(crate) const SELECTOR: u16 = 0x510;
/// See [`SELECTOR`].
pub(crate) const DATA: u16 = 0x511;

/// What the guest does not see of fw_cfg as it is: that there is DMA, which would reach around the machine; and the
/// memory map, in which the machine's own memory is the guest's.
pub(crate) struct Mediated {
    selector: u16,
    /// Octets read since the selection.
    read: usize,
    e820: Option<(u16, &'static [u8])>,
}

impl Mediated {
    /// With RAM up to `end` in the memory map.
    pub(crate) fn new(pool: &mut Pool, end: u64) -> Self {
        let e820 = find("etc/e820").map(|file| {
            let map = pool.slice(file.size);
            read(file.selector, map);
            shorten(map, end);
            (file.selector, &*map)
        });
        Self { selector: 0, read: 0, e820 }
    }

    /// The guest selects an item; bit 14 is for writing.
    pub(crate) fn select(&mut self, selector: u16) {
        (self.selector, self.read) = (selector, 0);
    }

    /// What the guest gets when the device has given `octet`.
    pub(crate) fn corrected(&mut self, octet: u8) -> u8 {
        const ID: u16 = 1;
        const DMA: u8 = 2;
        let at = self.read;
        self.read += 1;
        match self.e820 {
            _ if self.selector == ID && at == 0 => octet & !DMA,
            Some((selector, map)) if selector == self.selector => map.get(at).copied().unwrap_or(0),
            _ => octet,
        }
    }
}

/// Entries of `etc/e820`: u64 address, u64 size, u32 type. RAM ends at `end`; what is wholly behind it is reserved.
fn shorten(map: &mut [u8], end: u64) {
    const RAM: u32 = 1;
    const RESERVED: u32 = 2;
    for entry in map.chunks_exact_mut(20) {
        let (start, size) = (u64_at(entry, 0), u64_at(entry, 8));
        if crate::bits::u32_at(entry, 16) != RAM || start.saturating_add(size) <= end {
            continue;
        }
        if start < end {
            put(entry, 8, &(end - start).to_le_bytes());
        } else {
            put(entry, 16, &RESERVED.to_le_bytes());
        }
    }
}
