//! A machine of plain memory for tests: it keeps the CPU's rules about pages and fails the test that breaks one.

use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use snp::ghcb::doorbell::Presented;
use snp::message::certificates;
use snp::report::Report;
use tpm_core::{Clock, Entropy, EntropyFailure};
use zerocopy::FromZeros;

use crate::attest::{Certificates, EndorsementKey, ReportError, Reports};
use crate::interrupts::Interrupts;
use crate::mm::ownership::Ownership;
use crate::mm::{
    Attributes, GPA_LIMIT, Inaccessible, LARGE_PAGE_SIZE, Owners, PAGE, PAGE_SIZE, PageSize, Pages, Permissions,
    Pvalidated, Region, RmpError, Vmpl,
};
use crate::svsm::apic::Wires;
use crate::svsm::vcpus::{Guest, Vcpu};
use crate::svsm::{self, Machine, Registers};
use spin::Mutex;

/// The firmware's 8 MiB.
pub(crate) const FIRMWARE: u64 = 0x80_0000_0000;
const FIRMWARE_END: u64 = FIRMWARE + 0x80_0000;
/// RAM below 1 MiB that nobody has validated, and the hole above it.
const LOW_RAM_END: u64 = 0xa_0000;
/// First byte of the guest's memory.
pub(crate) const GIVEN: u64 = 0x10_0000;
/// End of the guest's memory.
pub(crate) const GIVEN_END: u64 = 0x70_0000;
/// End of RAM; from [`GIVEN_END`] on it is not validated.
pub(crate) const RAM_END: u64 = 0x80_0000;
/// A page amid the guest's memory that is shared with the host.
pub(crate) const SHARED_PAGE: u64 = 0x60_0000;
/// A register state of another vCPU, amid the guest's memory.
pub(crate) const OTHER_VMSA: u64 = GIVEN + 0x2_0000;
/// What stands for the endorsement key's public area.
pub(crate) const EK: &[u8] = b"an endorsement key's public area";
/// What stands for an attestation key's.
pub(crate) const AK: &[u8] = b"an attestation key's";

fn region(start: u64, end: u64) -> Region {
    Region::new(start, end).unwrap()
}

/// Whether the page is RAM that may change hands.
pub(crate) fn is_ram(gpa: u64) -> bool {
    let ram = gpa < LOW_RAM_END || (GIVEN..RAM_END).contains(&gpa);
    ram && gpa != OTHER_VMSA
}

fn is_given(gpa: u64) -> bool {
    let page = gpa - gpa % PAGE_SIZE;
    (GIVEN..GIVEN_END).contains(&gpa) && page != SHARED_PAGE && page != OTHER_VMSA
}

/// GPAs at and around every edge, at which `len` bytes are not all the guest's.
pub(crate) fn forbidden_gpas(len: u64) -> Vec<u64> {
    let edges = [
        0,
        LOW_RAM_END,
        GIVEN,
        SHARED_PAGE,
        SHARED_PAGE + 4096,
        OTHER_VMSA,
        OTHER_VMSA + 4096,
        GIVEN_END,
        RAM_END,
        0xf000_0000,
        0xfec0_0000,
        0xfed4_0000,
        0xfee0_0000,
        FIRMWARE + 0x40_0000,
        FIRMWARE - 0x20_0000,
        1 << 32,
        FIRMWARE,
        FIRMWARE + 0x5000,
        FIRMWARE_END - 4096,
        FIRMWARE_END,
        GPA_LIMIT,
        GIVEN | 1 << 47,
        GIVEN | 1 << 51,
        GIVEN | 1 << 52,
        1 << 63,
        0xffff_8000_0000_0000 + GIVEN,
        0x4000_0000,
        0xffff_ffff_f000,
    ];
    let steps = [
        0,
        1,
        2,
        3,
        4,
        7,
        8,
        9,
        15,
        16,
        31,
        32,
        63,
        64,
        65,
        0x3f,
        0x40,
        0x57,
        0x58,
        0x7f,
        0x80,
        0xff,
        0x100,
        0x7ff,
        0x800,
        0x801,
        0xfff,
        4087,
        4088,
        4089,
        4095,
        4096,
        4097,
        8191,
        8192,
        8193,
        len - 1,
        len,
        len + 1,
        0x1f_ffff,
        0x20_0000,
        0x20_0001,
    ];
    let mut all: Vec<u64> = edges
        .into_iter()
        .flat_map(|edge: u64| {
            steps.into_iter().flat_map(move |step| [edge.wrapping_add(step), edge.wrapping_sub(step)])
        })
        .filter(|gpa| !allowed(*gpa, len))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn allowed(gpa: u64, len: u64) -> bool {
    let bytes = u128::from(gpa)..u128::from(gpa) + u128::from(len);
    let mut pages = (bytes.start / 4096..=(bytes.end - 1) / 4096).map(|page| u64::try_from(page * 4096));
    gpa != 0 && pages.all(|page| page.is_ok_and(is_given))
}

/// What the CPU knows of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct State {
    validated: bool,
    rights: [u8; 4],
    vmsa: bool,
    /// The contents were zero when VMPL2 got its rights.
    granted_zeroed: bool,
}

/// What others do while a processor is waited for.
pub(crate) type WhileStarting = Box<dyn FnOnce(&mut FakeMachine)>;

/// Memory and what the CPU knows of it.
pub(crate) struct FakeMachine {
    contents: BTreeMap<u64, [u8; PAGE]>,
    states: BTreeMap<u64, State>,
    booted: bool,
    reads: Option<BTreeMap<u64, u32>>,
    /// Pages whose old rights the CPU may remember.
    remembered: BTreeSet<u64>,
    /// The host backs everything with 4 KiB pages.
    pub(crate) small_pages_only: bool,
    /// A VMSA that a CPU is running.
    pub(crate) in_use: Option<u64>,
    /// The host puts another page, which is not validated, in the place of the next one that PVALIDATE gets.
    pub(crate) swap_at_next_pvalidate: bool,
    /// A page for which RMPADJUST gives out no rights.
    pub(crate) refuse_grant_of: Option<u64>,
    /// The pages that the heap has got.
    pub(crate) heap: Vec<u64>,
    /// As many as it has addresses for.
    pub(crate) heap_limit: usize,
    /// The processors that were to be started, each with its pages.
    pub(crate) started: Vec<(u32, Vec<u64>)>,
    /// A processor that does not come up.
    pub(crate) dead_processor: Option<u32>,
    /// Once.
    pub(crate) while_starting: Option<WhileStarting>,
    /// A page that the host takes, and the accesses to it that it lets through before that.
    pub(crate) taken: Option<(u64, u32)>,
}

impl FakeMachine {
    /// As the guest finds it.
    pub(crate) fn new() -> FakeMachine {
        let mut machine = FakeMachine::unvalidated();
        machine.booted = true;
        machine
    }

    /// As the firmware finds it: no RAM is valid.
    pub(crate) fn unvalidated() -> FakeMachine {
        let (contents, states) = (BTreeMap::new(), BTreeMap::new());
        FakeMachine {
            contents,
            states,
            booted: false,
            reads: None,
            remembered: BTreeSet::new(),
            small_pages_only: false,
            in_use: None,
            swap_at_next_pvalidate: false,
            refuse_grant_of: None,
            heap: Vec::new(),
            heap_limit: usize::MAX,
            started: Vec::new(),
            dead_processor: None,
            while_starting: None,
            taken: None,
        }
    }

    /// A map of all RAM in which nothing is the guest's.
    pub(crate) fn ownership(&self) -> Ownership {
        let ram = [region(0, LOW_RAM_END), region(GIVEN, RAM_END)];
        Ownership::new(&ram, &[region(FIRMWARE, FIRMWARE_END)]).unwrap()
    }

    /// The map that goes with [`FakeMachine::new`].
    pub(crate) fn booted(&self) -> Ownership {
        let mut map = self.ownership();
        self.give_to_guest(&mut map);
        map
    }

    fn give_to_guest(&self, map: &mut Ownership) {
        let mut gpa = GIVEN;
        while gpa < GIVEN_END {
            let next = (gpa - gpa % LARGE_PAGE_SIZE + LARGE_PAGE_SIZE).min(GIVEN_END);
            map.give(region(gpa, next)).unwrap();
            gpa = next;
        }
        map.take(region(SHARED_PAGE, SHARED_PAGE + PAGE_SIZE)).unwrap();
        map.make_vmsa(OTHER_VMSA).unwrap();
    }

    fn state(&self, page: u64) -> State {
        let firmware = (FIRMWARE..FIRMWARE_END).contains(&page);
        let vmsa = self.booted && page == OTHER_VMSA;
        let given = self.booted && is_given(page);
        let vmpl2 = if given { 0xf } else { u8::from(vmsa) };
        let first =
            State { validated: firmware || given || vmsa, rights: [0xf, 0, vmpl2, 0], vmsa, granted_zeroed: false };
        self.states.get(&page).copied().unwrap_or(first)
    }

    /// What a test puts into memory; no rule applies.
    pub(crate) fn place(&mut self, gpa: u64, bytes: &[u8]) {
        let mut bytes = bytes;
        let mut gpa = gpa;
        while !bytes.is_empty() {
            let at = (gpa % PAGE_SIZE) as usize;
            let (part, rest) = bytes.split_at(bytes.len().min(PAGE - at));
            self.contents.entry(gpa - gpa % PAGE_SIZE).or_insert([0; PAGE])[at..at + part.len()].copy_from_slice(part);
            (gpa, bytes) = (gpa + part.len() as u64, rest);
        }
    }

    /// A page that was measured into the image: validated, the firmware's alone.
    pub(crate) fn launch(&mut self, page: u64, bytes: &[u8]) {
        self.each(page, PageSize::Size4K, |state, _| state.validated = true);
        self.place(page, bytes);
    }

    /// What a test sees in memory; no rule applies.
    pub(crate) fn bytes(&self, gpa: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let gpa = gpa + bytes.len() as u64;
            let at = (gpa % PAGE_SIZE) as usize;
            let part = at..PAGE.min(at + len - bytes.len());
            match self.contents.get(&(gpa - gpa % PAGE_SIZE)) {
                Some(page) => bytes.extend_from_slice(&page[part]),
                None => bytes.resize(bytes.len() + part.len(), 0),
            }
        }
        bytes
    }

    /// All memory that was ever written, with its addresses.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        self.contents.iter().flat_map(|(gpa, page)| gpa.to_le_bytes().into_iter().chain(*page)).collect()
    }

    /// All that was ever done to pages.
    pub(crate) fn states(&self) -> BTreeMap<u64, State> {
        self.states.clone()
    }

    /// From now on every byte that is read is counted.
    pub(crate) fn watch_reads(&mut self) {
        self.reads = Some(BTreeMap::new());
    }

    pub(crate) fn most_reads_of_a_byte(&self) -> u32 {
        self.reads.as_ref().and_then(|reads| reads.values().max()).copied().unwrap_or(0)
    }

    pub(crate) fn assert_granted(&self, page: u64) {
        let state = self.state(page);
        assert!(state.validated && !state.vmsa && state.rights == [0xf, 0, 0xf, 0], "{page:#x}: {state:?}");
    }

    pub(crate) fn assert_granted_zeroed(&self, page: u64) {
        self.assert_granted(page);
        assert!(self.state(page).granted_zeroed, "{page:#x} was granted with its old contents");
    }

    pub(crate) fn assert_revoked(&self, page: u64) {
        let state = self.state(page);
        assert!(!state.validated && state.rights == [0xf, 0, 0, 0], "{page:#x}: {state:?}");
    }

    /// The firmware's alone, zeroed, and no CPU remembers anything else.
    pub(crate) fn assert_deposited(&self, page: u64) {
        let state = self.state(page);
        assert!(state.validated && !state.vmsa && state.rights == [0xf, 0, 0, 0], "{page:#x}: {state:?}");
        assert!(!self.remembered.contains(&page), "{page:#x} can be reached with stale translations");
        assert!(self.bytes(page, PAGE).iter().all(|byte| *byte == 0), "{page:#x} is not zeroed");
    }

    pub(crate) fn assert_vmsa(&self, page: u64) {
        let state = self.state(page);
        assert!(state.validated && state.vmsa && state.rights == [0xf, 0, 1, 0], "{page:#x}: {state:?}");
    }

    fn check_access(&mut self, gpa: u64, len: usize) -> Result<(), Inaccessible> {
        assert!(gpa % PAGE_SIZE + len as u64 <= PAGE_SIZE, "access across pages at {gpa:#x}");
        let page = gpa - gpa % PAGE_SIZE;
        self.reach(page, PageSize::Size4K)?;
        assert!(self.state(page).validated, "access to {page:#x}, which is not validated");
        Ok(())
    }

    /// Every access, PVALIDATE and RMPADJUST comes through here.
    fn reach(&mut self, gpa: u64, size: PageSize) -> Result<(), Inaccessible> {
        match &mut self.taken {
            Some((page, left)) if (gpa..gpa + size.bytes()).contains(page) => {
                *left = left.checked_sub(1).ok_or(Inaccessible)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn each(&mut self, gpa: u64, size: PageSize, change: impl Fn(&mut State, &mut [u8; PAGE])) {
        for page in (gpa..gpa + size.bytes()).step_by(PAGE) {
            let mut state = self.state(page);
            change(&mut state, self.contents.entry(page).or_insert([0; PAGE]));
            self.states.insert(page, state);
        }
    }

    fn pages_in_use(&self) -> usize {
        self.started.iter().map(|(_, pages)| pages.len()).sum::<usize>() + self.heap.len()
    }

    fn check_size(&self, gpa: u64, size: PageSize) -> Result<(), RmpError> {
        assert!(gpa.is_multiple_of(size.bytes()), "misaligned page {gpa:#x}");
        if size == PageSize::Size2M && self.small_pages_only { Err(RmpError::SizeMismatch) } else { Ok(()) }
    }
}

impl Pages for FakeMachine {
    fn read(&mut self, gpa: u64, out: &mut [u8]) -> Result<(), Inaccessible> {
        self.check_access(gpa, out.len())?;
        out.copy_from_slice(&self.bytes(gpa, out.len()));
        if let Some(reads) = &mut self.reads {
            (gpa..gpa + out.len() as u64).for_each(|byte| *reads.entry(byte).or_default() += 1);
        }
        Ok(())
    }

    fn write(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), Inaccessible> {
        self.check_access(gpa, bytes.len())?;
        self.place(gpa, bytes);
        Ok(())
    }

    fn exchange(&mut self, gpa: u64, value: u8) -> Result<u8, Inaccessible> {
        self.check_access(gpa, 1)?;
        let old = self.bytes(gpa, 1)[0];
        self.place(gpa, &[value]);
        Ok(old)
    }

    fn zero(&mut self, gpa: u64, size: PageSize) -> Result<(), Inaccessible> {
        for page in (gpa..gpa + size.bytes()).step_by(PAGE) {
            self.check_access(page, PAGE)?;
        }
        self.each(gpa, size, |_, contents| contents.fill(0));
        Ok(())
    }

    fn pvalidate(&mut self, gpa: u64, size: PageSize, validate: bool) -> Result<Pvalidated, RmpError> {
        self.check_size(gpa, size)?;
        self.reach(gpa, size)?;
        if core::mem::take(&mut self.swap_at_next_pvalidate) {
            self.each(gpa, size, |state, _| state.validated = false);
        }
        if self.state(gpa).validated == validate {
            return Ok(Pvalidated::Unchanged);
        }
        assert!(!self.remembered.contains(&gpa), "{gpa:#x} changes with stale translations");
        // A page that has just become valid holds what its last owner left.
        self.each(gpa, size, |state, contents| {
            *state = State { validated: validate, granted_zeroed: false, ..*state };
            contents.fill(0xcc);
        });
        Ok(Pvalidated::Changed)
    }

    fn rmpadjust(&mut self, gpa: u64, size: PageSize, attributes: Attributes) -> Result<(), RmpError> {
        self.check_size(gpa, size)?;
        self.reach(gpa, size)?;
        assert!(self.state(gpa).validated, "RMPADJUST of {gpa:#x}, which is not validated");
        // Another vCPU could run it while it changes: the firmware must clear EFER.SVME first.
        let runnable = self.bytes(gpa + 0xd0, 2)[1] & 0x10 != 0;
        if self.in_use == Some(gpa) || (self.state(gpa).vmsa && runnable) {
            return Err(RmpError::InUse);
        }
        if self.refuse_grant_of == Some(gpa) {
            return Err(RmpError::Permission);
        }
        let bits = attributes.bits();
        let vmpl = Vmpl::from_number(bits & 0xff).ok_or(RmpError::Input)?;
        let rights = (bits >> 8 & 0xff) as u8;
        if self.state(gpa).rights[usize::from(vmpl.number())] & !rights != 0 {
            self.remembered.insert(gpa);
        }
        let remembered = self.remembered.contains(&gpa);
        assert!(bits >> 16 & 1 == 0 || !remembered, "{gpa:#x} becomes a VMSA with stale translations");
        self.each(gpa, size, |state, contents| {
            state.rights[usize::from(vmpl.number())] = rights;
            state.vmsa = bits >> 16 & 1 != 0;
            if rights == Permissions::ALL.bits() {
                state.granted_zeroed = contents.iter().all(|byte| *byte == 0);
            }
        });
        Ok(())
    }

    fn extend_heap(&mut self, gpa: u64) -> bool {
        self.assert_deposited(gpa);
        let room = self.heap.len() < self.heap_limit;
        self.heap.extend(room.then_some(gpa));
        room
    }

    fn start_processor(&mut self, apic_id: u32, block: &[u64]) -> bool {
        block.iter().for_each(|page| self.assert_deposited(*page));
        assert!(!block[0].is_multiple_of(LARGE_PAGE_SIZE), "hardware fails with a register state there");
        let before = self.started.iter().flat_map(|(_, pages)| pages).chain(&self.heap);
        assert!(before.chain(block).collect::<BTreeSet<_>>().len() == self.pages_in_use() + block.len(), "used twice");
        self.started.push((apic_id, block.to_vec()));
        if let Some(work) = self.while_starting.take() {
            work(self);
        }
        self.dead_processor != Some(apic_id)
    }

    fn flush(&mut self) {
        self.remembered.clear();
    }
}

/// A TPM that remembers what it was told.
#[derive(Default)]
pub(crate) struct FakeTpm {
    pub(crate) seen: Vec<u8>,
    pub(crate) calls: u32,
    /// How often it was asked for its endorsement key.
    pub(crate) asked: u32,
    pub(crate) has_no_key: bool,
    /// How much room its last caller had for a response.
    pub(crate) room: usize,
    /// Bytes more than there are in its usual answer.
    pub(crate) more: usize,
    pub(crate) buffers: Box<svsm::vtpm::Buffers>,
    /// The command that it was to be ready for.
    pub(crate) prepared: Vec<u8>,
    /// It waits for a report.
    pub(crate) is_kept_waiting: bool,
}

impl FakeTpm {
    /// What it answers to everything.
    pub(crate) fn response(&self) -> Vec<u8> {
        let mut response = vec![0x80, 1, 0, 0, 0, 14, 0, 0, 0, 0, 1, 2, 3, 4];
        response.extend((0..self.more).map(|at| (at / 256 + at) as u8));
        response
    }
}

impl svsm::Tpm for FakeTpm {
    fn execute(&mut self, command: &[u8], response: &mut [u8]) -> usize {
        self.seen = command.to_vec();
        self.calls += 1;
        self.room = response.len();
        let answer = self.response();
        response[..answer.len()].copy_from_slice(&answer);
        answer.len()
    }

    fn buffers(&mut self) -> &mut svsm::vtpm::Buffers {
        &mut self.buffers
    }

    fn execute_in_buffers(&mut self, command: usize, response: usize) -> usize {
        let mut answer = vec![0; response];
        let command = self.buffers.command[..command].to_vec();
        let len = self.execute(&command, &mut answer);
        self.buffers.response[..response].copy_from_slice(&answer);
        len
    }

    fn endorsement_key(&mut self) -> Option<EndorsementKey> {
        self.asked += 1;
        (!self.has_no_key).then(|| EndorsementKey::from_slice(EK).unwrap())
    }

    fn keys(&mut self) -> Option<Vec<Vec<u8>>> {
        self.asked += 1;
        (!self.has_no_key).then(|| vec![EK.to_vec(), AK.to_vec()])
    }

    fn prepare(&mut self, command: &[u8], _: &Mutex<dyn Reports + '_>) -> Result<(), svsm::Busy> {
        self.prepared = command.to_vec();
        if self.is_kept_waiting { Err(svsm::Busy) } else { Ok(()) }
    }
}

/// A PSP, and a host with a certificate.
pub(crate) struct FakeReports {
    pub(crate) certificates: Vec<u8>,
    pub(crate) asked: u32,
    pub(crate) broken: Option<ReportError>,
}

impl FakeReports {
    pub(crate) fn new() -> FakeReports {
        let mut table = certificates::VCEK.to_bytes().to_vec();
        table.extend([48, 0, 0, 0, 5, 0, 0, 0]);
        table.extend([0; 24]);
        table.extend(b"chip.");
        FakeReports { certificates: table, asked: 0, broken: None }
    }
}

impl Reports for FakeReports {
    fn report(&mut self, report_data: &[u8; 64], wanted: Option<&mut Certificates>) -> Result<Report, ReportError> {
        self.asked += 1;
        if let Some(error) = self.broken {
            return Err(error);
        }
        if let Some(wanted) = wanted {
            wanted.fill(|out| out[..self.certificates.len()].copy_from_slice(&self.certificates));
        }
        let mut report = Report::new_zeroed();
        report.report_data = *report_data;
        Ok(report)
    }
}

/// APIC ids of a guest's two processors.
pub(crate) const PROCESSORS: [u32; 2] = [0, 9];

/// APIC ids of processors that are started when their vCPU is created, where there are any.
pub(crate) const LATER: [u32; 2] = [9, 4];

fn guest(map: Ownership, others: &[u32]) -> Guest<Ownership> {
    let vcpu = Vcpu { vmsa: FIRMWARE + 0x5000, calling_area: GIVEN + 0xf000, sev_features: 1 };
    Guest::new(map, PROCESSORS[0], vcpu, others).unwrap()
}

/// A guest that has been started, and all that its calls reach.
pub(crate) struct Scene {
    pub(crate) machine: FakeMachine,
    pub(crate) guest: Mutex<Guest<Ownership>>,
    /// The processor that calls.
    pub(crate) apic_id: u32,
    pub(crate) tpm: Mutex<FakeTpm>,
    pub(crate) reports: Mutex<FakeReports>,
    pub(crate) wires: FakeWires,
}

/// What a host presents, and was told.
#[derive(Default)]
pub(crate) struct FakeWires {
    pub(crate) presented: Presented,
    pub(crate) ended: Vec<u8>,
    pub(crate) signalled: Vec<u32>,
}

impl Wires for FakeWires {
    fn presented(&mut self) -> Presented {
        core::mem::take(&mut self.presented)
    }

    fn end_of_level(&mut self, vector: u8) {
        self.ended.push(vector);
    }

    fn signal(&mut self, apic_id: u32) {
        self.signalled.push(apic_id);
    }
}

impl Scene {
    /// On one processor.
    pub(crate) fn alone() -> Scene {
        Scene::on(&[])
    }

    /// On two, of which the first has a vCPU.
    pub(crate) fn new() -> Scene {
        Scene::on(&PROCESSORS[1..])
    }

    /// On one, and two more that are started later with so many pages each; their APIC ids are those of [`LATER`].
    pub(crate) fn with_later(pages: usize) -> Scene {
        let machine = FakeMachine::new();
        let guest = guest(machine.booted(), &[]).with_later(LATER, pages).unwrap();
        Scene::around(machine, guest)
    }

    fn on(others: &[u32]) -> Scene {
        let machine = FakeMachine::new();
        let map = machine.booted();
        Scene::with(machine, map, others)
    }

    /// On one processor, with `ranges` of RAM, of which the guest has what it has elsewhere.
    pub(crate) fn of(ranges: &[Region]) -> Scene {
        let machine = FakeMachine::new();
        let mut map = Ownership::new(ranges, &[region(FIRMWARE, FIRMWARE_END)]).unwrap();
        machine.give_to_guest(&mut map);
        Scene::with(machine, map, &[])
    }

    fn with(machine: FakeMachine, map: Ownership, others: &[u32]) -> Scene {
        Scene::around(machine, guest(map, others))
    }

    fn around(machine: FakeMachine, guest: Guest<Ownership>) -> Scene {
        Scene {
            machine,
            guest: Mutex::new(guest),
            apic_id: PROCESSORS[0],
            tpm: Mutex::new(FakeTpm::default()),
            reports: Mutex::new(FakeReports::new()),
            wires: FakeWires::default(),
        }
    }

    pub(crate) fn map(&mut self) -> &mut dyn Owners {
        &mut self.guest.get_mut().map
    }

    /// The vCPU that calls.
    pub(crate) fn vcpu(&self) -> Vcpu {
        *self.guest.lock().calling(self.apic_id).unwrap()
    }

    pub(crate) fn tpm(&mut self) -> &mut FakeTpm {
        self.tpm.get_mut()
    }

    pub(crate) fn reports(&mut self) -> &mut FakeReports {
        self.reports.get_mut()
    }

    pub(crate) fn parts(&mut self) -> Machine<'_> {
        Machine {
            apic_id: self.apic_id,
            pages: &mut self.machine,
            guest: &self.guest,
            tpm: &self.tpm,
            interrupts: Interrupts::Any,
            weaknesses: None,
            reports: &self.reports,
            wires: &mut self.wires,
        }
    }

    /// Serves a call, and returns the registers after it.
    pub(crate) fn call(&mut self, rax: u64, [rcx, rdx, r8, r9]: [u64; 4]) -> Registers {
        let mut registers = Registers { rax, rcx, rdx, r8, r9 };
        svsm::serve(&mut self.parts(), &mut registers);
        registers
    }
}

/// Entropy that repeats itself, and a clock that stands still.
pub(crate) struct Counted(pub(crate) u8);

impl Entropy for Counted {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure> {
        out.iter_mut().for_each(|byte| {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        });
        Ok(())
    }
}

/// See [`Counted`].
pub(crate) struct Stopped;

impl Clock for Stopped {
    fn now_ms(&mut self) -> u64 {
        0
    }
}
