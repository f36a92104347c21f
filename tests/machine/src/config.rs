//! The configuration file (fw_cfg `opt/org.quoin/config`): `key=value`, one a line.
//!
//! - `access`: `kvm` (default): a private access to a page that is not private and validated, and a shared access to a
//!   private one, go as KVM lets them go, and the host changes the state of any page that it is told to; `stop`: each
//!   stops the machine by its rule
//! - `rmp-pages`: `4k` (default): entries of the reverse map are of 4 KiB, as those of guest_memfd; `2m`: a page-state
//!   change of 2 MiB makes one of 2 MiB
//! - `vmpls`: `yes` (default): the host runs VMPLs, whether its features say so or not; `no`: it is an upstream KVM,
//!   which runs none
//! - `cpuid`: `epyc` (default): the launcher writes the CPUID page by itself, XSAVE and its leaves included; `image`:
//!   it fills in the image's leaves, and hides what TCG has not
//! - `invlpgb`: `yes`: there are INVLPGB and TLBSYNC, and CPUID says so; `no`: there are not; default: with more than
//!   one processor there are
//! - `injection`: `any` (default): the host has no restricted injection, as upstream's KVM; `restricted`: it has;
//!   `alternate`: and alternate injection, too
//! - `window`: `FIRST-END`: where VMPL0 is on its way to run the guest; #HV takes it to the end
//! - `steal`: `1`: the guest may name a page (VMMCALL, [`crate::steal`]) that the host then takes at the moment at
//!   which VMPL0 reaches for it
//! - `legacy`: `hole` (default): no RAM from 640 KiB to 1 MiB, as on a host with KVM; `ram`: valid RAM there, for a
//!   Linux without EFI, which looks for option ROMs
//! - `refusable`: `FIRST-LAST`, up to 6 times: instructions of VMPL0 that may reach a page that the host has taken; for
//!   `fault=inject`
//! - `refused`: the address where VMPL0 goes on after such an access has faulted
//! - `vmpl-fault`: `stop` (default): a VMPL violation by VMPL1–3 stops the machine; `gp`: the offender gets #GP
//! - `ahead`: `yes` (default): the machine goes on by itself behind a PVALIDATE of VMPL0 as far as it can
//!   ([`crate::ahead`]); `no`: each has its exit
//! - `ram`: MiB of RAM for the guest; default: all that is left
//! - `ticks`: `1`: a line in the log at each of VMPL0's console, with the ticks of the time-stamp counter so far
//! - `stack`: `BOTTOM-TOP` (GPA): VMPL0's stack, filled with one word when it starts; a line in the log whenever it has
//!   been used further down when another VMPL is run
//! - `calls`: `1`: a line in the log whenever VMPL0 has run between two times of VMPL2, with the ticks of the
//!   time-stamp counter in VMPL0 ([`crate::calls`])
//! - `turns`: `1`: QEMU's one thread gives the turn to the next processor at one of two exits of VMPL0, at random
//! - `trace`: `1`: a line in the log for every VMGEXIT
//! - `crb`: the port of a UART; what is at its other end serves the MMIO at 0xFED40000 ([`crate::remote`])
//! - `mmio`: `GPA-DEVICE`, up to twice: the virtio device of PCI device DEVICE is at GPA, too, over MMIO
//!   ([`crate::bridge`])
//! - `seed`: a number from which VMPCKs are derived instead of RDRAND
//! - `case`: a word for the guest, which may read this file through the GHCB (tests/rules does): the machine ignores it
//! - `report`: `AT:DIGITS`, up to 12 times: octets of the report from offset AT on, in hexadecimal, signed as the rest
//! - `report-from`: `N`: the reports that have these, from the Nth on (default: the first)
//! - `fault`: `NAME[:ARG]`, a lie of the host, below; may be given several times

use crate::injection::Injection;
use crate::log::bad_launch;

/// Defines the lies once: field, name, sentence.
macro_rules! lies {
    ($($field:ident $name:literal $default:literal $sentence:literal)*) => {
        /// How the host lies. Each field is `None` (it does not) or the argument.
        #[derive(Clone, Copy, Default, Debug)]
        pub(crate) struct Lies {
            $(#[doc = $sentence] pub(crate) $field: Option<u64>,)*
        }

        impl Lies {
            /// Takes `NAME[:ARG]`; false when there is no such lie.
            fn set(&mut self, name: &str, argument: Option<u64>) -> bool {
                match name {
                    $($name => self.$field = Some(argument.unwrap_or($default)),)*
                    _ => return false,
                }
                true
            }
        }
    };
}

lies! {
    busy "busy" 1 "the first N guest requests are answered with BUSY (vmm_err 2)"
    stale_answer "stale-answer" 1 "the Nth guest request (from 1) is answered with the answer page of the one before, the PSP is not asked"
    no_answer "no-answer" 1 "the Nth guest request is reported as done, the answer page is left alone"
    ghcb_invalid "ghcb-invalid" 0 "the valid bitmap of the GHCB is cleared after every VMGEXIT of kind ARG (0: any)"
    wrong_seq "wrong-seq" 1 "the answer to the Nth guest request carries a wrong sequence number, correctly encrypted under it"
    bit_flip "bit-flip" 0 "bit N (modulo 32768) of every guest-message answer page is flipped"
    cert_truncated "cert-truncated" 0 "the host claims that ARG (0: one too many) certificate pages are needed, for ever"
    psc_partial "psc-partial" 1 "a page-state-change list is carried out N entries at a time"
    psc_refused "psc-refused" 1 "page-state changes are reported as done and not carried out"
    hv_features "hv-features" 0 "the hypervisor's features are reported as ARG"
    ghcb_register_other "ghcb-register-other" 0 "GHCB registration answers with another page"
    wrong_vmpl_report "wrong-vmpl-report" 1 "the report's VMPL is ARG, signed all the same"
    wrong_report_data "wrong-report-data" 0 "bit N of REPORT_DATA is flipped in the report, signed all the same"
    report_status "report-status" 0x16 "the PSP answers report requests with status ARG and no report"
    cbit_lie "cbit-lie" 51 "the MSR protocol (SEV information) and host CPUID name ARG as the C-bit"
    cpuid_overflow "cpuid-overflow" 65 "the CPUID page's count is ARG"
    spurious_run "spurious-run" 1 "every Nth intercept of VMPL2 that is no VMGEXIT makes the host run VMPL0"
    doorbell_refused "doorbell-refused" 0 "no #HV doorbell page is taken, of processors from number ARG on"
    doorbell_other "doorbell-other" 1 "the #HV doorbell page is another one than the guest has named, and the host says so"
    event "event" 64 "vector ARG (bits 7:0) is raised in VMPL0, once, with ARG in its doorbell page"
    present "present" 20 "at every Nth exit of a VMPL2 with alternate injection what chance has is presented to it"
    hv "hv" 50 "every event is raised at every Nth exit of VMPL0, where it has restricted injection (signals.rs)"
    ap_never "ap-never" 1 "the Nth AP creation is reported as done and not carried out"
    ap_refused "ap-refused" 1 "the Nth AP creation is refused"
    ap_other "ap-other" 1 "the Nth AP creation is carried out for the next processor"
    ap_late "ap-late" 1 "the Nth AP creation is carried out with the one after it, before that"
    ap_twice "ap-twice" 1 "the Nth AP creation is carried out for the next processor, too"
    ap_vmpl "ap-vmpl" 1 "the Nth AP creation is carried out for another VMPL"
    ap_page "ap-page" 1 "the Nth AP creation is carried out with the page behind the one that was named"
    parked_run "parked-run" 1 "the launched register states of the processors but the first are run"
    vmsa_swapped "vmsa-swapped" 1 "from the Nth run-VMPL of VMPL0 on, two processors have each other's VMSA of that VMPL"
    swap_before_rescind "swap-before-rescind" 1 "the Nth page of RAM that VMPL0 rescinds is another by then, and not validated"
    no_rdseed "no-rdseed" 1 "CPUID says that there is no RDSEED"
    no_rdrand "no-rdrand" 1 "CPUID says that there is no RDRAND"
    cpuid_repeats "cpuid-repeats" 4 "the CPUID page has its first ARG entries twice"
    cpuid_contradicts "cpuid-contradicts" 1 "the CPUID page has leaf ARG twice, not alike"
    inject "inject" 1000 "every exception is made up at every Nth exit of VMPL0 (inject.rs)"
    window "window" 1 "at every Nth instruction of marked calls exceptions are made up and pages taken (window.rs)"
    window_start "window-start" 1 "at every Nth instruction of another processor's start exceptions are made up (window.rs)"
    unasked "unasked" 1 "VMPL2 is run while VMPL0 works for a marked call (window.rs)"
    psmash "psmash" 1 "once VMPL2 runs, a page of 2 MiB is split before VMPL0's PVALIDATE or RMPADJUST of it, after as many others of it as bits 23:21 of its address say"
    memory_map_lie "memory-map-lie" 0 "the memory map offers the firmware's own pages as RAM"
    required_validated "required-validated" 0x700000 "the page at offset ARG of required memory has been validated at the launch"
    map_pages "map-pages" 1 "the memory map offers ARG pages of RAM from 4 GiB up that are not there"
    map_ranges "map-ranges" 2 "the memory map has the RAM from 4 MiB up in ARG pieces with a page between each two"
    map_overlap "map-overlap" 0 "the memory map lists a page at 1 MiB a second time"
    map_unsorted "map-unsorted" 0 "the memory map begins with its last range and ends with its first"
}

/// What a VMPL violation by VMPL1–3 does.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) enum VmplFault {
    /// Stop the machine.
    #[default]
    Stop,
    /// #GP to the offender.
    Gp,
}

/// What an access does that finds the page in another state than it is meant for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) enum WrongState {
    /// What KVM does: the page is converted, and #VC says that it is not validated.
    #[default]
    Kvm,
    /// Stop the machine.
    Stop,
}

/// Most octets of a [`Patch`]: a CHIP_ID.
const PATCH: usize = 64;

/// Octets of a report that are other ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patch {
    at: usize,
    octets: [u8; PATCH],
    len: usize,
}

impl Patch {
    fn parse(value: &str) -> Option<Self> {
        let (at, digits) = value.split_once(':')?;
        let mut patch = Self { at: usize::try_from(number(at)?).ok()?, octets: [0; PATCH], len: digits.len() / 2 };
        if digits.len() % 2 != 0 || !digits.is_ascii() || patch.len == 0 || patch.len > PATCH {
            return None;
        }
        for (octet, at) in patch.octets[..patch.len].iter_mut().zip((0..).step_by(2)) {
            *octet = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
        }
        Some(patch)
    }

    /// What lies beyond the report stays away.
    pub(crate) fn apply(&self, report: &mut [u8]) {
        report.iter_mut().skip(self.at).zip(&self.octets[..self.len]).for_each(|(to, octet)| *to = *octet);
    }
}

/// All of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) access: WrongState,
    /// The reverse map may have entries of 2 MiB.
    pub(crate) huge_entries: bool,
    /// The host has no VMPLs.
    pub(crate) no_vmpls: bool,
    pub(crate) cpuid: crate::cpuid::Source,
    /// INVLPGB and TLBSYNC, where it is said whether there are.
    pub(crate) invlpgb: Option<bool>,
    pub(crate) injection: Injection,
    /// First address and end.
    pub(crate) window: Option<(u64, u64)>,
    pub(crate) steal: bool,
    /// There is RAM from 640 KiB to 1 MiB.
    pub(crate) legacy_ram: bool,
    /// First and last address.
    refusable: [Option<(u64, u64)>; 6],
    pub(crate) refused: Option<u64>,
    pub(crate) vmpl_fault: VmplFault,
    /// Instructions behind a PVALIDATE are carried out without an exit.
    pub(crate) ahead: bool,
    /// MiB.
    pub(crate) ram: Option<u64>,
    /// First byte and end.
    pub(crate) stack: Option<(u64, u64)>,
    pub(crate) ticks: bool,
    pub(crate) calls: bool,
    /// Another processor has its turn at each exit of VMPL0.
    pub(crate) turns: bool,
    pub(crate) trace: bool,
    /// When VMPL2 halts the host runs VMPL0, for which nobody has asked.
    pub(crate) visit: bool,
    /// Each Nth time that VMPL0 has VMPL2 run, its own pages are inspected (own.rs).
    pub(crate) own: Option<u64>,
    /// The firmware's memory is where its GPA says: QEMU has memory there, which its devices reach.
    pub(crate) dma: bool,
    /// PCI functions that only VMPL0 sees.
    pub(crate) hidden: crate::pci::Hidden,
    /// Where a TPM's registers are served.
    pub(crate) crb: Option<crate::remote::Remote>,
    /// Virtio over MMIO.
    pub(crate) mmio: [Option<crate::bridge::Bridge>; 2],
    pub(crate) seed: Option<u64>,
    report: [Option<Patch>; 12],
    report_from: u64,
    pub(crate) lies: Lies,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            access: WrongState::default(),
            huge_entries: false,
            no_vmpls: false,
            cpuid: crate::cpuid::Source::default(),
            invlpgb: None,
            injection: Injection::default(),
            window: None,
            steal: false,
            legacy_ram: false,
            refusable: [None; 6],
            refused: None,
            vmpl_fault: VmplFault::default(),
            ahead: true,
            ram: None,
            stack: None,
            ticks: false,
            calls: false,
            turns: false,
            trace: false,
            visit: false,
            own: None,
            dma: false,
            hidden: crate::pci::Hidden::default(),
            crb: None,
            mmio: [None; 2],
            seed: None,
            report: [None; 12],
            report_from: 1,
            lies: Lies::default(),
        }
    }
}

impl Config {
    /// Reads the file; a line that is not understood is a bad launch.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let Ok(text) = core::str::from_utf8(text) else { bad_launch!("the configuration is not UTF-8") };
        let mut config = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if config.line(line).is_none() {
                bad_launch!("configuration line not understood: {line}");
            }
        }
        config
    }

    /// Whether the instruction at `rip` may reach a page that the host has taken.
    pub(crate) fn is_refusable(&self, rip: u64) -> bool {
        self.refusable.iter().flatten().any(|(first, last)| (*first..=*last).contains(&rip))
    }

    /// What is otherwise in the Nth report, from 1 on.
    pub(crate) fn patches(&self, number: u64) -> impl Iterator<Item = &Patch> {
        self.report.iter().flatten().filter(move |_| number >= self.report_from)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let (key, value) = line.split_once('=')?;
        match (key, value) {
            ("vmpl-fault", "stop") => self.vmpl_fault = VmplFault::Stop,
            ("vmpl-fault", "gp") => self.vmpl_fault = VmplFault::Gp,
            ("access", "kvm") => self.access = WrongState::Kvm,
            ("access", "stop") => self.access = WrongState::Stop,
            ("rmp-pages", "4k") => self.huge_entries = false,
            ("rmp-pages", "2m") => self.huge_entries = true,
            ("vmpls", "yes") => self.no_vmpls = false,
            ("vmpls", "no") => self.no_vmpls = true,
            ("cpuid", "epyc") => self.cpuid = crate::cpuid::Source::Epyc,
            ("cpuid", "image") => self.cpuid = crate::cpuid::Source::Image,
            ("legacy", "hole") => self.legacy_ram = false,
            ("legacy", "ram") => self.legacy_ram = true,
            ("invlpgb", "yes") => self.invlpgb = Some(true),
            ("invlpgb", "no") => self.invlpgb = Some(false),
            ("injection", "any") => self.injection = Injection::Any,
            ("injection", "alternate") => self.injection = Injection::Alternate,
            ("window", value) => {
                let (first, end) = value.split_once('-')?;
                self.window = Some((number(first)?, number(end)?));
            }
            ("injection", "restricted") => self.injection = Injection::Restricted,
            ("steal", value) => self.steal = number(value)? != 0,
            ("refusable", value) => {
                let (first, last) = value.split_once('-')?;
                *self.refusable.iter_mut().find(|free| free.is_none())? = Some((number(first)?, number(last)?));
            }
            ("refused", value) => self.refused = Some(number(value)?),
            ("ahead", "yes") => self.ahead = true,
            ("ahead", "no") => self.ahead = false,
            ("ram", value) => self.ram = Some(number(value)?),
            ("stack", value) => {
                let (bottom, top) = value.split_once('-')?;
                self.stack = Some((number(bottom)?, number(top)?));
            }
            ("ticks", value) => self.ticks = number(value)? != 0,
            ("calls", value) => self.calls = number(value)? != 0,
            ("turns", value) => self.turns = number(value)? != 0,
            ("trace", value) => self.trace = number(value)? != 0,
            ("visit", value) => self.visit = number(value)? != 0,
            ("own", value) => self.own = Some(number(value)?),
            ("crb", value) => self.crb = Some(crate::remote::Remote::new(u16::try_from(number(value)?).ok()?)),
            ("mmio", value) => {
                let (gpa, device) = value.split_once('-')?;
                let bridge = crate::bridge::Bridge::new(number(gpa)?, number(device)?)?;
                *self.mmio.iter_mut().find(|free| free.is_none())? = Some(bridge);
            }
            ("dma", "yes") => self.dma = true,
            ("dma", "no") => self.dma = false,
            ("hidden", value) => self.hidden.add(number(value)?)?,
            ("case", _) => {}
            ("report", value) => *self.report.iter_mut().find(|free| free.is_none())? = Some(Patch::parse(value)?),
            ("report-from", value) => self.report_from = number(value)?,
            ("seed", value) => self.seed = Some(number(value)?),
            ("fault", value) => {
                let (name, argument) = match value.split_once(':') {
                    Some((name, argument)) => (name, Some(number(argument)?)),
                    None => (value, None),
                };
                return self.lies.set(name, argument).then_some(());
            }
            _ => return None,
        }
        Some(())
    }
}

/// Decimal, or hexadecimal after `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
