//! Port I/O for the guest, single and string, natively; but not the ports by which a guest could reach around the
//! machine.

use crate::bits::{lo8, lo16, lo32, us};
use crate::cpu::{port_in, port_out};
use crate::fwcfg;
use crate::ghcb::{Answer, Ghcb, Malformed, Refused, field};
use crate::log::{End, end, log};
use crate::machine::Machine;
use crate::phys;

/// Ports that are the machine's own: debug console, isa-debug-exit, and fw_cfg's DMA, which would write memory past the
/// reverse map.
fn is_kept(port: u16) -> bool {
    matches!(port, 0xE9 | 0xF4..=0xF7 | 0x514..=0x51B)
}

/// Where the firmware writes its lines.
const COM1: u16 = 0x3F8;

/// Does this write end the machine, and how? (q35: PM1a control at 0x604 with SLP_EN; reset control; keyboard
/// controller.)
fn ending(port: u16, value: u32) -> Option<&'static str> {
    let (how, ends) = match port {
        0x604 => ("powers off", value & 0x2000 != 0),
        0xCF9 => ("resets", value & 4 != 0),
        0x64 => ("resets", value & 0xFF == 0xFE),
        _ => return None,
    };
    ends.then_some(how)
}

impl Machine {
    fn input(&mut self, port: u16, size: u8) -> u32 {
        if is_kept(port) || self.is_hidden(port) {
            return u32::MAX >> (32 - 8 * u32::from(size));
        }
        let value = port_in(port, size);
        if port == fwcfg::DATA && size == 1 { self.fwcfg.corrected(lo8(value.into())).into() } else { value }
    }

    /// Whether the port leads to a device that is VMPL0's alone, and not for it.
    fn is_hidden(&self, port: u16) -> bool {
        self.current() != 0 && self.config.hidden.has_port(port)
    }

    fn output(&mut self, port: u16, size: u8, value: u32) {
        if port == fwcfg::SELECTOR {
            self.fwcfg.select(lo16(value.into()));
        }
        if let Some(how) = ending(port, value) {
            self.log_exits("at the end");
            log!("END the guest {how} (port {port:#x})");
            end(End::Orderly);
        }
        if self.config.ticks && self.current() == 0 && port == COM1 && lo8(value.into()) == b'\n' {
            self.log_exits("a line of VMPL0");
        }
        if !is_kept(port) && !self.is_hidden(port) {
            port_out(port, size, value);
        }
    }

    /// IOIO: `info1` as EXITINFO1 of the intercept has it; `count` repetitions of a string operation.
    pub(crate) fn io(&mut self, ghcb: Ghcb, info1: u64, count: u64) -> Result<Answer, Refused> {
        const IN: u64 = 1;
        const STRING: u64 = 1 << 2;
        const LIMIT: u64 = 0x7F0;
        let (size, port) = (lo8(info1 >> 4 & 7), lo16(info1 >> 16));
        if !matches!(size, 1 | 2 | 4) {
            return Err(Malformed::InvalidInput.into());
        }
        if info1 & STRING == 0 {
            let rax = ghcb.get(field::RAX);
            let write = if info1 & IN == 0 { Some(lo32(rax?)) } else { None };
            if let Some(value) = self.trial_port(port, write) {
                return value.map(|value| Answer::registers([(field::RAX, value.into())]));
            }
            if let Some(value) = write {
                self.output(port, size, value);
                return Ok(Answer::default());
            }
            return Ok(Answer::registers([(field::RAX, self.input(port, size).into())]));
        }
        self.only_the_end(format_args!("string I/O"));
        let bytes = count.checked_mul(size.into()).filter(|bytes| *bytes <= LIMIT).ok_or(Malformed::Scratch)?;
        let buffer = self.scratch(ghcb, bytes)?;
        for index in 0..count {
            let at = buffer + index * u64::from(size);
            let mut value = [0; 4];
            if info1 & IN != 0 {
                value = self.input(port, size).to_le_bytes();
                phys::write(at, &value[..usize::from(size)]);
            } else {
                phys::read(at, &mut value[..us(size.into())]);
                self.output(port, size, u32::from_le_bytes(value));
            }
        }
        Ok(Answer::default())
    }
}
