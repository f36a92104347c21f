//! Talking to the hypervisor: GHCB page, page states, port I/O, console.

use crate::sys::{PAGE, SHARED, msr_call, peek, poke, poke_bytes, pvalidate, set_ghcb, vmgexit, zero};

/// GHCB field offsets.
pub(crate) const RAX: u64 = 0x1F8;
/// RBX.
pub(crate) const RBX: u64 = 0x318;
/// RCX.
pub(crate) const RCX: u64 = 0x308;
/// RDX.
pub(crate) const RDX: u64 = 0x310;
/// SW_SCRATCH.
pub(crate) const SCRATCH: u64 = 0x3A8;
const CODE: u64 = 0x390;
const INFO1: u64 = 0x398;
const INFO2: u64 = 0x3A0;
const VALID: u64 = 0x3F0;

/// A GHCB page in memory that is the hypervisor's from the start.
#[derive(Clone, Copy)]
pub(crate) struct Ghcb(pub(crate) u64);

/// VMPL0's.
pub(crate) const GHCB: Ghcb = Ghcb(0x30_0000);
/// VMPL2's.
pub(crate) const GUEST_GHCB: Ghcb = Ghcb(0x30_1000);

/// What came back: SW_EXITINFO1 and 2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Back(pub(crate) u64, pub(crate) u64);

impl Ghcb {
    /// The page as the guest reaches it.
    pub(crate) fn at(self) -> u64 {
        SHARED + self.0
    }

    /// Registers the page.
    pub(crate) fn register(self) {
        check(msr_call(self.0 | 0x012) == self.0 | 0x013, 2);
    }

    /// Sets a field and marks it as valid.
    pub(crate) fn set(self, field: u64, value: u64) {
        poke(self.at() + field, value);
        let bit = field / 8;
        let word = self.at() + VALID + bit / 64 * 8;
        poke(word, peek(word) | 1 << (bit % 64));
    }

    /// Reads a field.
    pub(crate) fn get(self, field: u64) -> u64 {
        peek(self.at() + field)
    }

    /// Is any field marked as valid?
    pub(crate) fn any_valid(self) -> bool {
        peek(self.at() + VALID) | peek(self.at() + VALID + 8) != 0
    }

    /// A request with these fields.
    pub(crate) fn exit(self, code: u64, info1: u64, info2: u64, fields: &[(u64, u64)]) -> Back {
        zero_valid(self);
        poke(self.at() + 0xFF8, 2 << 16);
        fields.iter().for_each(|(field, value)| self.set(*field, *value));
        [(CODE, code), (INFO1, info1), (INFO2, info2)].iter().for_each(|(field, value)| self.set(*field, *value));
        self.go()
    }

    /// VMGEXIT with the page as it is.
    pub(crate) fn go(self) -> Back {
        set_ghcb(self.0);
        vmgexit();
        Back(self.get(INFO1), self.get(INFO2))
    }

    /// Bytes to a port, by string I/O.
    pub(crate) fn write_port(self, port: u64, bytes: &[u8]) {
        for chunk in bytes.chunks(0x7F0) {
            poke_bytes(self.at() + 0x800, chunk);
            let back = self.exit(0x7B, port << 16 | 0x10 | 4, chunk.len() as u64, &[(SCRATCH, self.0 + 0x800)]);
            check(back.0 & 0xFFFF_FFFF == 0, 3);
        }
    }

    /// Bytes from a port, by string I/O.
    pub(crate) fn read_port(self, port: u64, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(0x7F0) {
            let back = self.exit(0x7B, port << 16 | 0x10 | 4 | 1, chunk.len() as u64, &[(SCRATCH, self.0 + 0x800)]);
            check(back.0 & 0xFFFF_FFFF == 0, 4);
            crate::sys::peek_bytes(self.at() + 0x800, chunk);
        }
    }

    /// A value of `size` bytes to a port.
    pub(crate) fn out(self, port: u64, size: u64, value: u64) {
        self.exit(0x7B, port << 16 | size << 4, 0, &[(RAX, value)]);
    }
}

fn zero_valid(ghcb: Ghcb) {
    poke(ghcb.at() + VALID, 0);
    poke(ghcb.at() + VALID + 8, 0);
}

/// A line on COM1.
pub(crate) fn say(text: &str) {
    GHCB.write_port(0x3F8, text.as_bytes());
    GHCB.write_port(0x3F8, b"\n");
}

/// An orderly end: power off.
pub(crate) fn power_off() -> ! {
    loop {
        GHCB.out(0x604, 2, 0x2000);
    }
}

/// Asks for termination, set 9.
pub(crate) fn terminate(code: u8) -> ! {
    loop {
        msr_call(0x100 | 9 << 12 | u64::from(code) << 16);
    }
}

/// Goes on when `holds`; otherwise terminates with `step` as the code, set 9.
pub(crate) fn check(holds: bool, step: u8) {
    if !holds {
        terminate(step);
    }
}

/// Changes a page's state by the MSR protocol: 1 private, 2 shared.
pub(crate) fn page_state(gpa: u64, operation: u64) -> u64 {
    msr_call(0x014 | gpa | operation << 52)
}

/// A page of low memory, made private and validated.
pub(crate) fn own(gpa: u64) {
    check(page_state(gpa, 1) == 0x015, 5);
    check(pvalidate(gpa, 0, true) == (0, false), 6);
}

/// The same, zeroed.
pub(crate) fn own_zeroed(gpa: u64) {
    own(gpa);
    zero(gpa);
}

/// A file of fw_cfg, whose first bytes go to `to`; its length. `None`: no such file.
pub(crate) fn fw_cfg(name: &str, to: &mut [u8]) -> Option<usize> {
    GHCB.out(0x510, 2, 0x19);
    let mut count = [0; 4];
    GHCB.read_port(0x511, &mut count);
    for _ in 0..u32::from_be_bytes(count) {
        let mut entry = [0; 64];
        GHCB.read_port(0x511, &mut entry);
        if entry[8..].starts_with(name.as_bytes()) && entry[8 + name.len()] == 0 {
            let len = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]) as usize;
            GHCB.out(0x510, 2, u64::from(entry[4]) << 8 | u64::from(entry[5]));
            let n = len.min(to.len());
            GHCB.read_port(0x511, &mut to[..n]);
            return Some(n);
        }
    }
    None
}

/// Makes `pages` GPAs from `gpa` fresh zeros: shared buffers.
pub(crate) fn clear_shared(gpa: u64, pages: u64) {
    (0..pages).for_each(|page| zero(SHARED + gpa + page * PAGE));
}
