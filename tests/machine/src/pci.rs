//! PCI functions that the host gives to VMPL0 alone: other VMPLs find nothing where they are, by ports, by ECAM, or at
//! their registers. QEMU's machine q35: configuration space through 0xCF8 and 0xCFC, and where PCIEXBAR says.

use crate::bits::{lo8, lo32};
use crate::cpu::{port_in, port_out};

const ADDRESS: u16 = 0xCF8;
const DATA: core::ops::RangeInclusive<u16> = 0xCFC..=0xCFF;
/// Where the firmware puts registers (docs/boot.md).
const WINDOW: core::ops::Range<u64> = 0x7F_F000_0000..0x80_0000_0000;

/// The devices of bus 0, by bits; all their functions.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Hidden(u32);

impl Hidden {
    /// Hides a device.
    pub(crate) fn add(&mut self, device: u64) -> Option<()> {
        self.0 |= 1_u32.checked_shl(u32::try_from(device).ok()?)?;
        Some(())
    }

    /// Whether an access to this port reaches a hidden one's configuration space.
    pub(crate) fn has_port(self, port: u16) -> bool {
        self.0 != 0 && DATA.contains(&port) && {
            let address = port_in(ADDRESS, 4);
            address >> 31 == 1 && self.has(address >> 16 & 0xFF, address >> 11 & 31)
        }
    }

    /// Whether there are registers, or configuration space, of a hidden one.
    pub(crate) fn has_address(self, gpa: u64) -> bool {
        if self.0 == 0 || WINDOW.contains(&gpa) {
            return self.0 != 0;
        }
        (0x8000_0000..0x1_0000_0000).contains(&gpa)
            && ecam()
                .and_then(|base| gpa.checked_sub(base))
                .is_some_and(|offset| offset < 256 << 20 && self.has(lo8(offset >> 20).into(), lo32(offset >> 15 & 31)))
    }

    const fn has(self, bus: u32, device: u32) -> bool {
        bus == 0 && self.0 >> device & 1 == 1
    }
}

/// Where configuration space is in memory, as a BIOS has said (PCIEXBAR of the host bridge).
fn ecam() -> Option<u64> {
    const PCIEXBAR: u32 = 1 << 31 | 0x60;
    let before = port_in(ADDRESS, 4);
    port_out(ADDRESS, 4, PCIEXBAR);
    let value = port_in(*DATA.start(), 4);
    port_out(ADDRESS, 4, before);
    (value & 1 == 1).then_some((value & 0xF000_0000).into())
}
