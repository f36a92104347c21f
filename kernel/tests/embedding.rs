//! `kernel` as whoever embeds it sees it: nothing of ours but what is public, no hardware, no boot. Memory is an array,
//! page ownership a list with the six functions that have no default, and the guest makes its calls as a guest does, by
//! its register state and its calling area.
#![expect(clippy::cast_possible_truncation, reason = "tests run on 64-bit hosts")]

use kernel::attest::{Certificates, ReportError, Reports};
use kernel::clock::TickClock;
use kernel::hooks::Platform;
use kernel::interrupts::Interrupts;
use kernel::mm::{
    Attributes, GUEST_VMPL, Inaccessible, Owner, Owners, OwnershipError, PageSize, Pages, Pvalidated, Region, RmpError,
};
use kernel::svsm::Machine;
use kernel::svsm::apic::Wires;
use kernel::svsm::request::{Stop, after_stop};
use kernel::svsm::vcpus::{Guest, Vcpu};
use snp::ghcb::doorbell::Presented;
use snp::report::Report;
use snp::svsm::attestation::AttestServices;
use snp::svsm::vtpm::PageList;
use snp::vmsa::Vmsa;
use spin::Mutex;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const PAGE: u64 = 4096;
/// The guest's memory is all of this but the first page, which the paravisor has for the guest's register state.
const MEMORY: u64 = 16 * PAGE;
const VMSA: u64 = 0;
const CALLING_AREA: u64 = PAGE;
const FREE: u64 = 2 * PAGE;
/// EXITCODE of VMGEXIT.
const VMGEXIT: u64 = 0x403;

/// The guest's memory.
struct Bytes(Vec<u8>);

impl Bytes {
    fn at(&mut self, gpa: u64, len: usize) -> &mut [u8] {
        &mut self.0[gpa as usize..][..len]
    }
}

impl Pages for Bytes {
    fn read(&mut self, gpa: u64, out: &mut [u8]) -> Result<(), Inaccessible> {
        out.copy_from_slice(self.at(gpa, out.len()));
        Ok(())
    }
    fn write(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), Inaccessible> {
        self.at(gpa, bytes.len()).copy_from_slice(bytes);
        Ok(())
    }
    fn exchange(&mut self, gpa: u64, value: u8) -> Result<u8, Inaccessible> {
        Ok(core::mem::replace(&mut self.at(gpa, 1)[0], value))
    }
    fn zero(&mut self, gpa: u64, size: PageSize) -> Result<(), Inaccessible> {
        self.at(gpa, size.bytes() as usize).fill(0);
        Ok(())
    }
    fn pvalidate(&mut self, _: u64, _: PageSize, _: bool) -> Result<Pvalidated, RmpError> {
        Ok(Pvalidated::Changed)
    }
    fn rmpadjust(&mut self, _: u64, _: PageSize, _: Attributes) -> Result<(), RmpError> {
        Ok(())
    }
    fn extend_heap(&mut self, _: u64) -> bool {
        false
    }
    fn start_processor(&mut self, _: u32, _: &[u64]) -> bool {
        false
    }
    fn flush(&mut self) {}
}

/// What each page is.
struct List(Vec<Owner>);

impl List {
    fn change(&mut self, region: Region, from: Owner, to: Owner) -> Result<(), OwnershipError> {
        if !self.all(region, from) {
            return Err(OwnershipError::State);
        }
        region.pages().for_each(|gpa| self.0[(gpa / PAGE) as usize] = to);
        Ok(())
    }

    fn page(gpa: u64) -> Region {
        Region::covering(gpa, 1).unwrap()
    }
}

impl Owners for List {
    fn owner(&self, gpa: u64) -> Owner {
        self.0.get((gpa / PAGE) as usize).copied().unwrap_or(Owner::Unbacked)
    }
    fn give(&mut self, region: Region) -> Result<(), OwnershipError> {
        self.change(region, Owner::Unvalidated, Owner::Guest)
    }
    fn take(&mut self, region: Region) -> Result<(), OwnershipError> {
        self.change(region, Owner::Guest, Owner::Unvalidated)
    }
    fn poison(&mut self, pages: Region) {
        pages.pages().for_each(|gpa| self.0[(gpa / PAGE) as usize] = Owner::Poisoned);
    }
    fn make_vmsa(&mut self, gpa: u64) -> Result<(), OwnershipError> {
        self.change(Self::page(gpa), Owner::Guest, Owner::Vmsa)
    }
    fn unmake_vmsa(&mut self, gpa: u64) -> Result<(), OwnershipError> {
        self.change(Self::page(gpa), Owner::Vmsa, Owner::Guest)
    }
}

/// A secure processor that signs nothing.
struct Psp;

impl Reports for Psp {
    fn report(&mut self, data: &[u8; 64], _: Option<&mut Certificates>) -> Result<Report, ReportError> {
        let mut report = Report::new_zeroed();
        report.report_data = *data;
        Ok(report)
    }
}

struct NoWires;

impl Wires for NoWires {
    fn presented(&mut self) -> Presented {
        Presented::default()
    }
    fn end_of_level(&mut self, _: u8) {}
    fn signal(&mut self, _: u32) {}
}

struct Counter(u8);

impl tpm_core::Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), tpm_core::EntropyFailure> {
        out.iter_mut().for_each(|byte| (self.0, *byte) = (self.0.wrapping_add(1), self.0));
        Ok(())
    }
}

type Tpm = Platform<Counter, TickClock<fn() -> u64>>;

/// What a paravisor has.
struct Paravisor {
    memory: Bytes,
    guest: Mutex<Guest<List>>,
    tpm: Mutex<Tpm>,
    reports: Mutex<Psp>,
}

impl Paravisor {
    fn new() -> Self {
        let mut memory = Bytes(vec![0; MEMORY as usize]);
        let mut vmsa = Vmsa::real_mode(GUEST_VMPL, 1, 0);
        vmsa.set_runnable(true);
        memory.at(VMSA, PAGE as usize)[..size_of::<Vmsa>()].copy_from_slice(vmsa.as_bytes());
        let mut owners = List(vec![Owner::Guest; (MEMORY / PAGE) as usize]);
        owners.0[0] = Owner::Firmware;
        let vcpu = Vcpu { vmsa: VMSA, calling_area: CALLING_AREA, sev_features: 1 };
        let tpm = Platform::manufacture(Counter(0), TickClock::new((|| 0) as fn() -> u64, None), |_| ());
        Self {
            memory,
            guest: Mutex::new(Guest::new(owners, 0, vcpu, &[]).unwrap()),
            tpm: Mutex::new(tpm.ok().unwrap()),
            reports: Mutex::new(Psp),
        }
    }

    /// The guest makes a call and stops; what it finds when it runs again.
    fn call(&mut self, [rax, rcx, rdx, r8]: [u64; 4]) -> [u64; 4] {
        let mut vmsa = self.vmsa();
        (vmsa.rax, vmsa.rcx, vmsa.rdx, vmsa.r8) = (rax.into(), rcx.into(), rdx.into(), r8.into());
        vmsa.guest_exit_code = VMGEXIT.into();
        self.memory.at(VMSA, size_of::<Vmsa>()).copy_from_slice(vmsa.as_bytes());
        self.memory.at(CALLING_AREA, 1)[0] = 1;
        let machine = &mut Machine {
            apic_id: 0,
            pages: &mut self.memory,
            guest: &self.guest,
            tpm: &self.tpm,
            interrupts: Interrupts::Any,
            weaknesses: None,
            reports: &self.reports,
            wires: &mut NoWires,
        };
        assert_eq!(after_stop(machine), Stop::Served);
        let after = self.vmsa();
        [after.rax.get(), after.rcx.get(), after.rdx.get(), after.r8.get()]
    }

    fn vmsa(&mut self) -> Vmsa {
        Vmsa::read_from_bytes(self.memory.at(VMSA, size_of::<Vmsa>())).unwrap()
    }

    fn owner(&self, gpa: u64) -> Owner {
        self.guest.lock().map.owner(gpa)
    }
}

const STARTUP: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
const SUCCESS: [u8; 10] = [0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0];

#[test]
fn a_tpm_command_goes_through_a_page() {
    let mut paravisor = Paravisor::new();
    assert_eq!(paravisor.call([2 << 32, 0, 0, 0])[..3], [0, 0x100, 1 << 63]);
    let request = [&[8, 0, 0, 0, 0, 12, 0, 0, 0][..], &STARTUP].concat();
    paravisor.memory.at(FREE, request.len()).copy_from_slice(&request);
    assert_eq!(paravisor.call([2 << 32 | 1, FREE, 0, 0])[0], 0);
    assert_eq!(*paravisor.memory.at(FREE, 14), [&[10, 0, 0, 0][..], &SUCCESS].concat());
}

#[test]
fn a_tpm_command_goes_through_a_list_of_pages() {
    let mut paravisor = Paravisor::new();
    let mut list = PageList::new_zeroed();
    (list.platform_command, list.size, list.count) = (8.into(), 12.into(), 2.into());
    (list.pages[0], list.pages[1]) = ((FREE + 3 * PAGE).into(), (FREE + PAGE).into());
    paravisor.memory.at(FREE, 0x90).copy_from_slice(list.as_bytes());
    paravisor.memory.at(FREE + 3 * PAGE, 12).copy_from_slice(&STARTUP);
    assert_eq!(paravisor.call([2 << 32 | 0x8000_0001, FREE, 0, 0])[0], 0);
    assert_eq!(
        (paravisor.memory.at(FREE + 8, 1)[0], paravisor.memory.at(FREE + 3 * PAGE, 10).to_vec()),
        (10, SUCCESS.to_vec())
    );
}

#[test]
fn the_tpm_is_attested() {
    let mut paravisor = Paravisor::new();
    let mut operation = AttestServices::new_zeroed();
    (operation.report_gpa, operation.report_size) = ((FREE + PAGE).into(), 4096.into());
    (operation.nonce_gpa, operation.nonce_size) = ((FREE + 0x800).into(), 64.into());
    (operation.manifest_gpa, operation.manifest_size) = ((FREE + 2 * PAGE).into(), 8192.into());
    paravisor.memory.at(FREE, 0x40).copy_from_slice(operation.as_bytes());
    let [rax, manifest, certificates, report] = paravisor.call([1 << 32, FREE, 0, 0]);
    assert_eq!((rax, certificates, report), (0, 0, 0x4A0));
    let manifest = paravisor.memory.at(FREE + 2 * PAGE, manifest as usize).to_vec();
    let data = snp::svsm::attestation::report_data(&[0; 64], &manifest);
    assert_eq!(*paravisor.memory.at(FREE + PAGE + 0x50, 64), data);
}

/// The core protocol asks the paravisor's own map, and tells it. Memory is not deposited with one that has no use for
/// it.
#[test]
fn pages_change_hands_in_the_paravisors_own_map() {
    let mut paravisor = Paravisor::new();
    let page = FREE + 4 * PAGE;
    let change = |paravisor: &mut Paravisor, entry: u64, call: u64| {
        paravisor.memory.at(FREE, 16).copy_from_slice(&[1_u64.to_le_bytes(), entry.to_le_bytes()].concat());
        paravisor.call([call, FREE, 0, 0])[0]
    };
    assert_eq!((change(&mut paravisor, page, 1), paravisor.owner(page)), (0, Owner::Unvalidated));
    let request = [&[8, 0, 0, 0, 0, 12, 0, 0, 0][..], &STARTUP].concat();
    paravisor.memory.at(page, request.len()).copy_from_slice(&request);
    assert_eq!(paravisor.call([2 << 32 | 1, page, 0, 0])[0], 0x8000_0005, "it is not the guest's");
    assert_eq!((change(&mut paravisor, page | 4, 1), paravisor.owner(page)), (0, Owner::Guest));
    assert_eq!((change(&mut paravisor, page | 4, 1), paravisor.owner(page)), (0x8000_1010, Owner::Guest));
    assert_eq!((change(&mut paravisor, page, 4), paravisor.owner(page)), (0x8000_0006, Owner::Guest));
    assert_eq!((change(&mut paravisor, VMSA, 1), paravisor.owner(VMSA)), (0x8000_0003, Owner::Firmware));
    assert_eq!(paravisor.call([2 << 32 | 1, MEMORY, 0, 0])[0], 0x8000_0005, "there is no memory");
}
