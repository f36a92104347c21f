//! The hardware of the model: pages with what the RMP says of them, register states, and a TLB for each processor.
//!
//! Every rule that does not hold is a sentence (`Err`), and ends the exploration: it is a fault of the firmware, or of
//! the scene.

use core::hash::Hash;
use core::mem::offset_of;

use snp::rmp::{Attributes, Permissions, Pvalidated, RmpError};
use snp::vmsa::{EFER_SVME, Vmsa};

use crate::hash::Lanes;

/// Bytes in a page.
pub const PAGE: u64 = 4096;
/// Processors at most.
pub const MAX_PROCESSORS: usize = 3;
/// SEV_FEATURES of the guest's.
pub const FEATURES: u64 = 1;

const EFER: u64 = offset_of!(Vmsa, efer) as u64;
const VMPL: u64 = offset_of!(Vmsa, vmpl) as u64;
const EXIT_CODE: u64 = offset_of!(Vmsa, guest_exit_code) as u64;
/// The registers of a call: RAX, RCX, RDX, R8, R9.
const REGISTERS: [u64; 5] = [
    offset_of!(Vmsa, rax) as u64,
    offset_of!(Vmsa, rcx) as u64,
    offset_of!(Vmsa, rdx) as u64,
    offset_of!(Vmsa, r8) as u64,
    offset_of!(Vmsa, r9) as u64,
];
/// What a page that has just been validated is full of.
const GARBAGE: u8 = 0xcc;

/// A rule that was broken, in words.
pub type Rule<T> = Result<T, String>;

/// Whose the firmware's map says that a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The guest's.
    Guest,
    /// RAM that is not validated.
    Unvalidated,
    /// A register state of CREATE_VCPU's.
    Vmsa,
    /// The firmware's own.
    Firmware,
    /// Anything else.
    Nobody,
}

/// One octet everywhere, but for some words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Contents {
    fill: u8,
    /// Number and value, in order, of those that differ.
    words: Vec<(u16, u64)>,
}

impl Contents {
    fn filled(fill: u8) -> Contents {
        Contents { fill, words: Vec::new() }
    }

    fn word(&self, number: u16) -> u64 {
        match self.words.binary_search_by_key(&number, |(number, _)| *number) {
            Ok(at) => self.words[at].1,
            Err(_) => u64::from_le_bytes([self.fill; 8]),
        }
    }

    fn set_word(&mut self, number: u16, value: u64) {
        let plain = value == u64::from_le_bytes([self.fill; 8]);
        match self.words.binary_search_by_key(&number, |(number, _)| *number) {
            Ok(at) if plain => drop(self.words.remove(at)),
            Ok(at) => self.words[at].1 = value,
            Err(_) if plain => {}
            Err(at) => self.words.insert(at, (number, value)),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) {
        out.fill(self.fill);
        let end = offset + out.len() as u64;
        for (number, value) in &self.words {
            let start = u64::from(*number) * 8;
            for (at, byte) in (start..).zip(value.to_le_bytes()) {
                if (offset..end).contains(&at) {
                    out[index(at - offset)] = byte;
                }
            }
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (number, within) = (word_number(at), index(at % 8));
            let (now, later) = rest.split_at(rest.len().min(8 - within));
            let mut word = self.word(number).to_le_bytes();
            word[within..within + now.len()].copy_from_slice(now);
            self.set_word(number, u64::from_le_bytes(word));
            at += now.len() as u64;
            rest = later;
        }
    }

    fn hash(&self) -> u64 {
        core::hash::Hasher::finish(&Lanes::default().with(self))
    }
}

fn index(small: u64) -> usize {
    usize::try_from(small).unwrap_or(usize::MAX)
}

fn word_number(offset: u64) -> u16 {
    u16::try_from(offset / 8).unwrap_or(u16::MAX)
}

/// A page, and its entry in the RMP.
#[derive(Clone, Debug, Hash)]
struct Page {
    gpa: u64,
    contents: Contents,
    validated: bool,
    /// Of VMPL1 to VMPL3.
    rights: [u8; 3],
    vmsa: bool,
    /// A processor runs this register state.
    in_use: bool,
    /// The contents are not the guest's: it must not get the page before it is zeroed.
    foreign: bool,
    /// What the firmware's map said when its lock was last free.
    owner: Owner,
}

impl Page {
    fn grants_writing(&self) -> bool {
        let [_, vmpl2, _] = self.rights;
        self.validated && !self.vmsa && vmpl2 & Permissions::WRITE.bits() != 0
    }

    fn runnable(&self) -> bool {
        self.contents.word(word_number(EFER)) & EFER_SVME != 0
    }
}

/// A processor.
#[derive(Clone, Copy, Debug, Default, Hash)]
struct Processor {
    /// Pages, a bit each, that VMPL2 can write to by what the TLB remembers.
    remembered: u16,
    /// The register state that runs.
    running: Option<u64>,
    /// The register state of the call that the firmware serves here.
    served: Option<u64>,
    /// More of it than EFER was touched, and then EFER was not.
    looked_at: bool,
    /// The contents of the page that the firmware has read last as a whole.
    judged: Option<u64>,
}

/// All that processors share, and what each remembers.
#[derive(Clone, Debug, Default, Hash)]
pub struct World {
    pages: Vec<Page>,
    processors: [Processor; MAX_PROCESSORS],
    /// The commands that the TPM has executed.
    pub executed: Vec<u8>,
    /// The processors on which the firmware was started in the scene.
    pub started: Vec<u32>,
    /// The processors that wait for TPM and PSP.
    working: [Option<usize>; 2],
}

/// What works for one caller at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    /// The TPM.
    Tpm,
    /// The PSP.
    Psp,
}

impl World {
    /// One more page: the guest's as it is, not validated, or the firmware's.
    pub fn add(&mut self, gpa: u64, owner: Owner) {
        let rights = if owner == Owner::Guest { [0, Permissions::ALL.bits(), 0] } else { [0; 3] };
        let validated = owner != Owner::Unvalidated;
        let contents = Contents::filled(if validated { 0 } else { GARBAGE });
        let foreign = owner != Owner::Guest;
        self.pages.push(Page { gpa, contents, validated, rights, vmsa: false, in_use: false, foreign, owner });
    }

    /// The firmware's page becomes the register state that the guest is started with.
    pub fn launch(&mut self, gpa: u64) -> Rule<()> {
        let page = self.page(gpa)?;
        page.vmsa = true;
        page.rights = [0, Permissions::READ.bits(), 0];
        Ok(())
    }

    /// What the scene begins with; no rule applies.
    pub fn place(&mut self, gpa: u64, bytes: &[u8]) -> Rule<()> {
        self.page(gpa)?.contents.write(gpa % PAGE, bytes);
        Ok(())
    }

    /// What the scene finds; no rule applies.
    pub fn word(&self, gpa: u64) -> Rule<u64> {
        Ok(self.pages[self.find(gpa)?].contents.word(word_number(gpa % PAGE)))
    }

    /// What the map said when its lock was last free.
    pub fn owner(&self, gpa: u64) -> Rule<Owner> {
        Ok(self.pages[self.find(gpa)?].owner)
    }

    fn find(&self, gpa: u64) -> Rule<usize> {
        let page = gpa - gpa % PAGE;
        let found = self.pages.iter().position(|one| one.gpa == page);
        found.ok_or_else(|| format!("the page {page:#x} is none of the scene's"))
    }

    fn page(&mut self, gpa: u64) -> Rule<&mut Page> {
        let at = self.find(gpa)?;
        Ok(&mut self.pages[at])
    }

    // ---- VMPL0's memory accesses.

    /// VMPL0 reads; the answer is what the reader has seen.
    pub fn read(&mut self, processor: usize, gpa: u64, out: &mut [u8]) -> Rule<u64> {
        self.touched_by_vmpl0(processor, gpa)?;
        let at = self.find(gpa)?;
        let contents = &self.pages[at].contents;
        contents.read(gpa % PAGE, out);
        if out.len() as u64 == PAGE {
            let seen = contents.hash();
            self.processors[processor].judged = Some(seen);
            return Ok(seen);
        }
        Ok(core::hash::Hasher::finish(&Lanes::default().with(&&*out)))
    }

    /// VMPL0 writes.
    pub fn write(&mut self, processor: usize, gpa: u64, bytes: &[u8]) -> Rule<()> {
        self.touched_by_vmpl0(processor, gpa)?;
        self.page(gpa)?.contents.write(gpa % PAGE, bytes);
        Ok(())
    }

    /// VMPL0 exchanges one octet.
    pub fn exchange(&mut self, processor: usize, gpa: u64, value: u8) -> Rule<u8> {
        self.touched_by_vmpl0(processor, gpa)?;
        let contents = &mut self.page(gpa)?.contents;
        let mut old = [0];
        contents.read(gpa % PAGE, &mut old);
        contents.write(gpa % PAGE, &[value]);
        Ok(old[0])
    }

    /// VMPL0 zeroes a page.
    pub fn zero(&mut self, gpa: u64) -> Rule<()> {
        let page = self.page(gpa)?;
        if !page.validated || page.vmsa {
            return Err(format!("VMPL0 zeroes {gpa:#x}, which is not validated, or a register state"));
        }
        page.contents = Contents::default();
        page.foreign = false;
        Ok(())
    }

    /// A page that VMPL0 reads or writes is validated. It is the guest's by the map, or the register state of the call
    /// that is being served, which cannot be run; of another's register state only EFER is touched.
    fn touched_by_vmpl0(&mut self, processor: usize, gpa: u64) -> Rule<()> {
        let page = &self.pages[self.find(gpa)?];
        let offset = gpa - page.gpa;
        if !page.validated {
            return Err(format!("VMPL0 touches {gpa:#x}, which is not validated"));
        }
        let processor = &mut self.processors[processor];
        if processor.served == Some(page.gpa) {
            processor.looked_at = offset != EFER;
            return match offset == EFER || (page.vmsa && !page.in_use && !page.runnable()) {
                true => Ok(()),
                false => Err(format!("VMPL0 touches the register state {:#x}, which can be run", page.gpa)),
            };
        }
        match page.owner {
            Owner::Guest => Ok(()),
            Owner::Vmsa if offset == EFER => Ok(()),
            owner => Err(format!("VMPL0 touches {gpa:#x}, which is {owner:?} in the map")),
        }
    }

    // ---- What VMPL0 does to the RMP.

    /// PVALIDATE.
    pub fn pvalidate(&mut self, gpa: u64, validate: bool) -> Rule<Pvalidated> {
        let page = self.page(gpa)?;
        if page.validated == validate {
            return Ok(Pvalidated::Unchanged);
        }
        if page.vmsa {
            return Err(format!("PVALIDATE of {gpa:#x}, a register state"));
        }
        page.validated = validate;
        if validate {
            page.contents = Contents::filled(GARBAGE);
            page.foreign = true;
            page.rights = [0; 3];
        }
        Ok(Pvalidated::Changed)
    }

    /// RMPADJUST.
    pub fn rmpadjust(&mut self, processor: usize, gpa: u64, attributes: Attributes) -> Rule<Result<(), RmpError>> {
        let at = self.find(gpa)?;
        let bits = attributes.bits();
        let [target, rights, vmsa, ..] = bits.to_le_bytes();
        let vmsa = vmsa & 1 != 0;
        let page = &self.pages[at];
        if !page.validated {
            return Err(format!("RMPADJUST of {gpa:#x}, which is not validated"));
        }
        if page.in_use {
            return Ok(Err(RmpError::InUse));
        }
        if page.vmsa && !vmsa && self.processors.iter().any(|other| other.served == Some(gpa)) {
            return Err(format!("the register state {gpa:#x} is taken while its call is served"));
        }
        if vmsa && !page.vmsa {
            self.becomes_vmsa(processor, at)?;
        }
        let page = &mut self.pages[at];
        if !vmsa && rights != 0 && page.foreign {
            return Err(format!("VMPL{target} gets {gpa:#x}, which was not zeroed"));
        }
        page.vmsa = vmsa;
        page.foreign |= vmsa;
        page.rights[usize::from(target) - 1] = rights;
        Ok(Ok(()))
    }

    /// What becomes a register state is what was judged, and no vCPU can write to it.
    fn becomes_vmsa(&self, processor: usize, at: usize) -> Rule<()> {
        let page = &self.pages[at];
        if self.processors[processor].judged != Some(page.contents.hash()) {
            return Err(format!("the register state {:#x} is not what was judged", page.gpa));
        }
        let by = self.processors.iter().position(|one| one.remembered >> at & 1 != 0);
        if let Some(by) = by.filter(|_| !page.grants_writing()) {
            return Err(format!("processor {by} can write to the register state {:#x} by its TLB", page.gpa));
        }
        if page.grants_writing() {
            return Err(format!("VMPL2 can write to the register state {:#x}", page.gpa));
        }
        Ok(())
    }

    /// The firmware is started on a processor, once, in pages that are its alone and zero.
    pub fn start(&mut self, apic_id: u32, pages: &[u64]) -> Rule<()> {
        if self.started.contains(&apic_id) {
            return Err(format!("processor {apic_id} is started twice"));
        }
        for gpa in pages {
            let at = self.find(*gpa)?;
            let page = &self.pages[at];
            let is_remembered = self.processors.iter().any(|one| one.remembered >> at & 1 != 0);
            let is_firmwares = page.owner == Owner::Firmware && page.validated && page.rights == [0; 3] && !page.vmsa;
            if !is_firmwares || is_remembered || page.contents != Contents::default() {
                return Err(format!("processor {apic_id} is started in {gpa:#x}, which is not the firmware's alone"));
            }
        }
        self.started.push(apic_id);
        Ok(())
    }

    /// All processors forget their translations.
    pub fn flush_everywhere(&mut self) {
        for processor in 0..MAX_PROCESSORS {
            self.flush(processor);
        }
    }

    /// One processor does.
    pub fn flush(&mut self, processor: usize) {
        self.processors[processor].remembered = 0;
    }

    // ---- What VMPL2 does.

    /// Whether VMRUN can run the register state.
    #[must_use]
    pub fn can_run(&self, gpa: u64) -> bool {
        self.find(gpa).is_ok_and(|at| {
            let page = &self.pages[at];
            page.validated && page.vmsa && !page.in_use && page.runnable()
        })
    }

    /// VMRUN.
    pub fn run(&mut self, processor: usize, gpa: u64) -> Rule<()> {
        if self.processors.iter().any(|other| other.served == Some(gpa) && other.looked_at) {
            return Err(format!("{gpa:#x} is run while its call is served"));
        }
        let page = self.page(gpa)?;
        let mut vmpl = [0];
        page.contents.read(VMPL, &mut vmpl);
        if vmpl != [2] {
            return Err(format!("{gpa:#x} runs at VMPL{}", vmpl[0]));
        }
        page.in_use = true;
        self.processors[processor].running = Some(gpa);
        Ok(())
    }

    /// #VMEXIT: the registers are saved, with EFER as it was loaded.
    pub fn exit(&mut self, processor: usize, code: u64, registers: [u64; 5]) -> Rule<()> {
        let vmsa = self.processors[processor].running.take().ok_or("no register state runs")?;
        let page = self.page(vmsa)?;
        page.in_use = false;
        let efer = page.contents.word(word_number(EFER)) | EFER_SVME;
        page.contents.set_word(word_number(EFER), efer);
        page.contents.set_word(word_number(EXIT_CODE), code);
        for (offset, value) in REGISTERS.into_iter().zip(registers) {
            page.contents.set_word(word_number(offset), value);
        }
        Ok(())
    }

    /// The registers that a vCPU goes on with.
    pub fn registers(&self, vmsa: u64) -> Rule<[u64; 5]> {
        let contents = &self.pages[self.find(vmsa)?].contents;
        Ok(REGISTERS.map(|offset| contents.word(word_number(offset))))
    }

    /// VMPL2 writes, by what the TLB remembers or else by the RMP; `false`: it may not.
    pub fn guest_writes(&mut self, processor: usize, gpa: u64, bytes: &[u8]) -> Rule<bool> {
        let at = self.find(gpa)?;
        let page = &mut self.pages[at];
        let remembered = &mut self.processors[processor].remembered;
        if *remembered >> at & 1 == 0 {
            if !page.grants_writing() {
                return Ok(false);
            }
            *remembered |= 1 << at;
        }
        // The firmware's page may have been granted already, in a call that still holds the lock.
        let firmwares = page.owner == Owner::Firmware && !page.grants_writing();
        if page.vmsa || !page.validated || page.owner == Owner::Unvalidated || firmwares {
            return Err(format!("VMPL2 writes to {gpa:#x}, which it has lost, by what the TLB remembers"));
        }
        page.contents.write(gpa % PAGE, bytes);
        Ok(true)
    }

    // ---- What only the model knows.

    /// The firmware serves the vCPU with this register state from here on.
    pub fn begin_serving(&mut self, processor: usize, gpa: u64) -> Rule<()> {
        let page = gpa - gpa % PAGE;
        if let Some(other) = self.processors.iter().position(|other| other.served == Some(page)) {
            return Err(format!("{page:#x} is served by the processors {other} and {processor}"));
        }
        if !self.page(page)?.vmsa {
            return Err(format!("{page:#x} is served and no register state"));
        }
        self.processors[processor].served = Some(page);
        Ok(())
    }

    /// It does no more.
    pub fn end_serving(&mut self, processor: usize) {
        self.processors[processor].served = None;
        self.processors[processor].looked_at = false;
    }

    /// TPM or PSP begin to work for a processor; each has one caller.
    pub fn begin_work(&mut self, worker: Worker, processor: usize) -> Rule<()> {
        match self.working[worker as usize].replace(processor) {
            None => Ok(()),
            Some(other) => Err(format!("the {worker:?} works for processors {other} and {processor} at once")),
        }
    }

    /// They are done.
    pub fn end_work(&mut self, worker: Worker) {
        self.working[worker as usize] = None;
    }

    /// Whether TPM or PSP work for a processor.
    #[must_use]
    pub fn works_for(&self, processor: usize) -> bool {
        self.working.contains(&Some(processor))
    }

    /// The lock of the map is free again: what the map says of a page must be what the RMP says. The answer is what
    /// the map says, for whoever takes the lock next.
    pub fn settle(&mut self, owner_of: impl Fn(u64) -> Owner) -> Rule<Lanes> {
        let mut said = Lanes::default();
        for page in &mut self.pages {
            let before = core::mem::replace(&mut page.owner, owner_of(page.gpa));
            // What the firmware has had is not the guest's before it is zeroed again.
            page.foreign |= page.owner == Owner::Firmware && before != Owner::Firmware;
            said = said.with(&page.owner);
            let [vmpl1, vmpl2, vmpl3] = page.rights;
            let agree = vmpl1 == 0
                && vmpl3 == 0
                && match page.owner {
                    Owner::Guest => page.validated && !page.vmsa && vmpl2 == Permissions::ALL.bits(),
                    Owner::Vmsa => page.validated && page.vmsa && vmpl2 & Permissions::WRITE.bits() == 0,
                    Owner::Unvalidated => !page.validated && !page.vmsa,
                    Owner::Firmware => page.validated && (page.vmsa || vmpl2 == 0),
                    Owner::Nobody => !page.vmsa && vmpl2 == 0,
                };
            if !agree {
                return Err(format!("{:#x} is {:?} in the map, and not in the RMP: {page:?}", page.gpa, page.owner));
            }
        }
        Ok(said)
    }
}
