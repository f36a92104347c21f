//! The host's virtio devices, by GHCB: their registers by MMIO exits, configuration space by ports, and the pages that
//! are shared with them.

use alloc::vec::Vec;

use kernel::fatal::Fatal;
use kernel::mm::PAGE;
use snp::ghcb::call::Width;
use snp::instr::{SharedBytes, pause, rdtsc};
use virtio::host::{Configuration, Function, Host, SharedPage};
use zerocopy::FromZeros;

use crate::host;
use crate::memory::Memory;
use crate::processor::allocate;

/// Ports of configuration space: address and data.
const ADDRESS: u16 = 0xCF8;
const DATA: u16 = 0xCFC;

/// The host, as a driver sees it, with the pages that it may share.
pub struct Devices {
    pages: Vec<SharedPage<SharedBytes>>,
}

#[derive(FromZeros)]
#[repr(C, align(4096))]
struct SharedPages([u8; PAGE]);

impl Devices {
    /// Shares so many pages with the host, for good.
    pub fn new(memory: &mut Memory, pages: usize) -> Result<Devices, Fatal> {
        let mut shared = Vec::with_capacity(pages);
        for _ in 0..pages {
            let (mut bytes, gpa) = host::share(memory, &mut allocate::<SharedPages>()?.0)?;
            // What the host makes of a page that changes hands is not zeros.
            snp::ghcb::SharedMemory::write(&mut bytes, 0, &[0; PAGE]);
            shared.push(SharedPage { bytes, gpa });
        }
        Ok(Devices { pages: shared })
    }
}

impl Host for Devices {
    type Shared = SharedBytes;

    fn read(&mut self, gpa: u64, width: Width) -> Option<u32> {
        host::ask(|ghcb| ghcb.mmio_read(gpa, width)).ok()
    }

    fn write(&mut self, gpa: u64, width: Width, value: u32) -> Option<()> {
        host::ask(|ghcb| ghcb.mmio_write(gpa, width, value)).ok()
    }

    fn share(&mut self) -> Option<SharedPage<SharedBytes>> {
        self.pages.pop()
    }

    fn ticks(&mut self) -> u64 {
        rdtsc()
    }

    fn wait(&mut self) {
        pause();
    }
}

impl Configuration for Devices {
    fn config_read(&mut self, function: Function, offset: u8) -> Option<u32> {
        host::ask(|ghcb| {
            ghcb.io_out(ADDRESS, Width::Dword, function.address(offset))?;
            ghcb.io_in(DATA, Width::Dword)
        })
        .ok()
    }

    fn config_write(&mut self, function: Function, offset: u8, value: u32) -> Option<()> {
        host::ask(|ghcb| {
            ghcb.io_out(ADDRESS, Width::Dword, function.address(offset))?;
            ghcb.io_out(DATA, Width::Dword, value)
        })
        .ok()
    }
}
