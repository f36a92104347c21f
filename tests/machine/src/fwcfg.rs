//! QEMU's fw_cfg device, by DMA: the machine's only input.

use crate::bits::us;
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
