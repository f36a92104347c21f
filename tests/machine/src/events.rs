//! The non-automatic exits that a guest reports through its GHCB page (GHCB specification, section 4, table 6).

use crate::apic;
use crate::bits::{lo8, lo16, lo32, u16_at, us};
use crate::cpu;
use crate::ghcb::{Answer, Ghcb, Malformed, Refused, field};
use crate::log::log;
use crate::machine::{Machine, Work};
use crate::npt;
use crate::phys::{self, PAGE};
use crate::remote::Remote;
use crate::steal::{self, Theft};
use crate::svm::exit;
use crate::switch::RunVmpl;

type Outcome = Result<Answer, Refused>;

/// Exit codes of table 6 that no intercept has.
mod code {
    pub(super) const DR7_READ: u64 = 0x27;
    pub(super) const DR7_WRITE: u64 = 0x37;
    pub(super) const RDTSC: u64 = 0x6E;
    pub(super) const INVD: u64 = 0x76;
    pub(super) const RDTSCP: u64 = 0x87;
    pub(super) const WBINVD: u64 = 0x89;
    pub(super) const MONITOR: u64 = 0x8A;
    pub(super) const MWAIT: u64 = 0x8B;
    pub(super) const MMIO_READ: u64 = 0x8000_0001;
    pub(super) const MMIO_WRITE: u64 = 0x8000_0002;
    pub(super) const NMI_COMPLETE: u64 = 0x8000_0003;
    pub(super) const AP_RESET_HOLD: u64 = 0x8000_0004;
    pub(super) const PAGE_STATE_CHANGE: u64 = 0x8000_0010;
    pub(super) const GUEST_REQUEST: u64 = 0x8000_0011;
    pub(super) const EXTENDED_GUEST_REQUEST: u64 = 0x8000_0012;
    pub(super) const AP_CREATION: u64 = 0x8000_0013;
    pub(super) const DOORBELL: u64 = 0x8000_0014;
    pub(super) const HV_IPI: u64 = 0x8000_0015;
    pub(super) const APIC_IDS: u64 = 0x8000_0017;
    pub(super) const SPECIFIC_EOI: u64 = 0x8000_001D;
    pub(super) const RUN_VMPL: u64 = 0x8000_0018;
    pub(super) const HV_FEATURES: u64 = 0x8000_FFFD;
    pub(super) const TERMINATE: u64 = 0x8000_FFFE;
}

impl Machine {
    /// Carries out one event. `None`: another VMPL runs now, and the answer is written already.
    pub(crate) fn event(&mut self, ghcb: Ghcb, code: u64, info1: u64, info2: u64) -> Option<Outcome> {
        if !matches!(code, exit::IOIO | code::TERMINATE) {
            self.only_the_end(format_args!("exit code {code:#x}"));
        }
        // What others do cannot be put back.
        if !matches!(code, exit::IOIO | exit::CPUID | code::TERMINATE | code::RUN_VMPL) && self.goes_on() {
            return None;
        }
        if code == code::RUN_VMPL && !self.config.no_vmpls {
            return self.run_vmpl_event(ghcb, info1);
        }
        Some(match code {
            exit::CPUID => self.cpuid_event(ghcb),
            exit::IOIO => self.io(ghcb, info1, info2),
            exit::MSR => self.msr_event(ghcb, info1),
            exit::VMMCALL => self.hypercall(ghcb),
            code::RDTSC | code::RDTSCP => Ok(time(code)),
            code::DR7_READ => Ok(Answer::registers([(field::RAX, 0x400)])),
            code::DR7_WRITE | code::INVD | code::WBINVD | code::MONITOR | code::MWAIT | code::NMI_COMPLETE => {
                Ok(Answer::default())
            }
            code::MMIO_READ => self.mmio(ghcb, info1, info2, false),
            code::MMIO_WRITE => self.mmio(ghcb, info1, info2, true),
            code::AP_RESET_HOLD => {
                self.hold(Work::Held, format_args!("AP reset hold on the only vCPU"));
                Ok(Answer::default())
            }
            code::PAGE_STATE_CHANGE => self.page_state_list(ghcb),
            code::GUEST_REQUEST => self.guest_request(info1, info2, None),
            code::EXTENDED_GUEST_REQUEST => self.extended_request(ghcb, info1, info2),
            code::AP_CREATION => self.ap_creation(ghcb, info1, info2),
            code::DOORBELL => self.doorbell_event(info1, info2),
            code::HV_IPI => self.hv_ipi(info1),
            code::SPECIFIC_EOI => self.specific_eoi(info1),
            code::APIC_IDS => self.apic_ids(ghcb, info1),
            code::HV_FEATURES => Ok(Answer::info2(self.hv_features())),
            code::TERMINATE => {
                self.terminated(lo8(info1 & 15), lo8(info1 >> 4));
                Ok(Answer::default())
            }
            _ => Err(Malformed::InvalidEvent.into()),
        })
    }

    fn run_vmpl_event(&mut self, ghcb: Ghcb, target: u64) -> Option<Outcome> {
        let next = self.run_vmpl(target);
        if next == RunVmpl::Refused {
            return Some(Err(Malformed::InvalidInput.into()));
        }
        self.answer(ghcb, Ok(Answer::default()));
        self.go_on(next);
        None
    }

    fn cpuid_event(&self, ghcb: Ghcb) -> Outcome {
        let (leaf, subleaf) = (lo32(ghcb.get(field::RAX)?), lo32(ghcb.get(field::RCX)?));
        if leaf == 0xD {
            ghcb.get(field::XCR0)?;
        }
        let result = self.host_cpuid(leaf, subleaf);
        Ok(Answer::registers([
            (field::RAX, result.eax.into()),
            (field::RBX, result.ebx.into()),
            (field::RCX, result.ecx.into()),
            (field::RDX, result.edx.into()),
        ]))
    }

    /// KVM's answer to a hypercall that it does not know, and the one that only this machine has.
    fn hypercall(&mut self, ghcb: Ghcb) -> Outcome {
        const UNKNOWN: u64 = (-1000i64).cast_unsigned();
        if ghcb.get(field::RAX)? != steal::HYPERCALL || !self.config.steal {
            return Ok(Answer::registers([(field::RAX, UNKNOWN)]));
        }
        let theft = Theft::decode(ghcb.get(field::RBX)?).ok_or(Malformed::InvalidInput)?;
        self.memory.arm(theft);
        Ok(Answer::registers([(field::RAX, 0)]))
    }

    fn msr_event(&mut self, ghcb: Ghcb, info1: u64) -> Outcome {
        let msr = lo32(ghcb.get(field::RCX)?);
        if !may_reach_msr(msr) {
            log!("MSR {msr:#x} refused, vmpl={} rip={:#x}", self.current(), self.rip());
            return Err(Refused::GeneralProtection);
        }
        if info1 & 1 == 0 {
            let value = cpu::rdmsr(msr);
            return Ok(Answer::registers([(field::RAX, value & 0xFFFF_FFFF), (field::RDX, value >> 32)]));
        }
        if is_only_read(msr) {
            return Ok(Answer::default());
        }
        let value = ghcb.get(field::RDX)? << 32 | ghcb.get(field::RAX)? & 0xFFFF_FFFF;
        if apic::register_of(msr).is_some_and(|register| self.is_kept_from_apic(register, value)) {
            return Ok(Answer::default());
        }
        // SAFETY: `may_reach_msr` lets through the APIC's and memory types only, none of which this program's execution
        // rests on.
        unsafe { cpu::wrmsr(msr, value) };
        Ok(Answer::default())
    }

    fn mmio(&mut self, ghcb: Ghcb, gpa: u64, size: u64, write: bool) -> Outcome {
        let device = (0xA_0000..0x10_0000).contains(&gpa) || (0x8000_0000..npt::C).contains(&gpa);
        if !matches!(size, 1 | 2 | 4 | 8) || !device || self.memory.rmp.hpa(gpa).is_some() {
            return Err(Malformed::InvalidInput.into());
        }
        let buffer = self.scratch(ghcb, size)?;
        let bridge = self.config.mmio.iter().flatten().find(|bridge| bridge.is_at(gpa)).copied();
        if self.current() != 0 && (bridge.is_some() || self.config.hidden.has_address(gpa)) {
            if !write {
                phys::write(buffer, &[0xFF; 8][..us(size)]);
            }
            return Ok(Answer::default());
        }
        let remote = self.config.crb.as_mut().filter(|_| Remote::is_at(gpa));
        let mut bytes = [0; 8];
        if write {
            phys::read(buffer, &mut bytes[..us(size)]);
            let value = u64::from_le_bytes(bytes);
            if let Some(remote) = remote {
                remote.write(gpa, size, value);
            } else if let Some(bridge) = bridge {
                bridge.write(gpa, size, value);
            } else if !apic::register_at(gpa).is_some_and(|register| self.is_kept_from_apic(register, value)) {
                phys::device_write(gpa, size, value);
            }
        } else {
            let value = match (remote, bridge) {
                (Some(remote), _) => remote.read(gpa, size),
                (None, Some(bridge)) => bridge.read(gpa, size),
                (None, None) => phys::device_read(gpa, size),
            };
            phys::write(buffer, &value.to_le_bytes()[..us(size)]);
        }
        Ok(Answer::default())
    }

    /// Page-state changes by list: u16 current entry, u16 last entry, u32 reserved, then 8 bytes each.
    fn page_state_list(&mut self, ghcb: Ghcb) -> Outcome {
        const INVALID_HEADER: u64 = 1 << 32 | 1;
        const INVALID_ENTRY: u64 = 1 << 32 | 2;
        const ENTRIES: u64 = 253;
        let list = self.scratch(ghcb, 8)?;
        let mut header = [0; 8];
        phys::read(list, &mut header);
        let (first, last) = (u64::from(u16_at(&header, 0)), u64::from(u16_at(&header, 2)));
        if last >= ENTRIES || first > ENTRIES {
            return Ok(Answer::info2(INVALID_HEADER));
        }
        let list = self.scratch(ghcb, 8 + 8 * (last + 1))?;
        let at_once = self.config.lies.psc_partial.unwrap_or(u64::MAX);
        for index in (first..=last).take(us(at_once)) {
            let slot = list + 8 + 8 * index;
            if self.page_state_entry(slot).is_err() {
                return Ok(Answer::info2(INVALID_ENTRY));
            }
            phys::write(list, &lo16(index + 1).to_le_bytes());
        }
        Ok(Answer::default())
    }

    fn page_state_entry(&mut self, slot: u64) -> Result<(), u32> {
        let entry = phys::read_u64(slot);
        let (done, gpa) = (entry & 0xFFF, entry & 0x000F_FFFF_FFFF_F000);
        let (operation, huge) = (lo8(entry >> 52 & 15), entry >> 56 & 1 == 1);
        let pages = if huge { 512 } else { 1 };
        if done >= pages {
            return Ok(());
        }
        self.page_state(gpa, operation, huge)?;
        phys::write_u64(slot, entry & !0xFFF | pages);
        Ok(())
    }

    /// List of APIC ids: u32 count, then u32 each; RAX has the pages that the guest offers at `gpa`.
    fn apic_ids(&self, ghcb: Ghcb, gpa: u64) -> Outcome {
        let pages = ghcb.get(field::RAX)?;
        if pages == 0 {
            return Ok(Answer::registers([(field::RAX, 1)]));
        }
        let list =
            self.memory.shared_bytes(gpa, 8).filter(|_| gpa.is_multiple_of(PAGE)).ok_or(Malformed::InvalidInput)?;
        let count = self.processors.len() as u64;
        phys::write(list, &lo32(count).to_le_bytes());
        (0..count).for_each(|id| phys::write(list + 4 + 4 * id, &lo32(id).to_le_bytes()));
        Ok(Answer::registers([(field::RAX, 1)]))
    }

    fn extended_request(&mut self, ghcb: Ghcb, request: u64, response: u64) -> Outcome {
        let (data, pages) = (ghcb.get(field::RAX)?, ghcb.get(field::RBX)?);
        self.guest_request(request, response, Some((data, pages)))
    }
}

fn time(code: u64) -> Answer {
    let tsc = cpu::rdtsc();
    let (low, high) = ((field::RAX, tsc & 0xFFFF_FFFF), (field::RDX, tsc >> 32));
    if code == code::RDTSCP { Answer::registers([low, high, (field::RCX, 0)]) } else { Answer::registers([low, high]) }
}

/// MSRs that are read as they are, and whose writing does nothing: banks of machine checks and AMD's SYSCFG and DE_CFG,
/// which Linux looks at.
fn is_only_read(msr: u32) -> bool {
    matches!(msr, 0x17B | 0x400..=0x47F | 0xC001_0010 | 0xC001_1029)
}

/// MSRs whose access the guest may ask for: APIC base, x2APIC, MTRRs (read and write), microcode level and a few that
/// Linux reads.
fn may_reach_msr(msr: u32) -> bool {
    is_only_read(msr)
        || matches!(msr, 0x1B | 0x8B | 0xFE | 0x179 | 0x17A | 0x1A0 | 0x200..=0x20F | 0x250..=0x26F | 0x2FF | 0x800..=0x8FF | 0xC001_0015 | 0xC001_001F)
}
