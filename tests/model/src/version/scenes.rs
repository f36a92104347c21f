//! What the processors do at once. Each vCPU calls from a calling area and a register state of its own.

use core::cell::RefCell;
use std::rc::Rc;

use snp::svsm::attestation::AttestServices;
use snp::svsm::vtpm::PageList;
use snp::vmsa::Vmsa;
use zerocopy::{FromZeros, IntoBytes};

use super::cpu::{Cpu, Do, Outcome, Shared, SlowPsp, SlowTpm, act, firmware_alone, guest_alone};
use super::mm::owners::Owners;
use super::mm::ownership::Ownership;
use super::mm::{GUEST_VMPL, Region};
use super::svsm::vcpus::{Guest, Vcpu};
use super::svsm::{self, Registers};
use super::sync::Mutex;
use crate::Scene;
use crate::engine::{self, Finale, Job, Lock};
use crate::hardware::{FEATURES, MAX_PROCESSORS, Owner, PAGE, Rule, World};

const RAM: u64 = 0x10_0000;
const RAM_END: u64 = 0x20_0000;
const FIRMWARE: u64 = 0x80_0000_0000;

/// The register states of the vCPUs that run when a scene begins.
const VMSAS: [u64; MAX_PROCESSORS] = [FIRMWARE + 0x5000, RAM + 0x1000, RAM + 0x2000];
/// Their calling areas.
const AREAS: [u64; MAX_PROCESSORS] = [RAM + 0x4000, RAM + 0x5000, RAM + 0x6000];
/// Pages with register states to be made.
const NEW: [u64; 2] = [RAM + 0x8000, RAM + 0x9000];
/// The page that is fought for.
const PRIZE: u64 = RAM + 0xa000;
/// Another of the guest's.
const OTHER: u64 = RAM + 0xb000;
/// A page for each vCPU's own lists, operations and buffers.
const OWN: [u64; MAX_PROCESSORS] = [RAM + 0xc000, RAM + 0xd000, RAM + 0xe000];

const REMAP: u64 = 0;
const PVALIDATE: u64 = 1;
const CREATE: u64 = 2;
const DELETE: u64 = 3;
const DEPOSIT: u64 = 4;
const WITHDRAW: u64 = 5;
const QUERY: u64 = 6;
const ATTEST: u64 = 1 << 32;
const COMMAND: u64 = 2 << 32 | 1;
const COMMAND_IN_PAGES: u64 = 2 << 32 | 0x8000_0001;
const VALID: u64 = 4;

const SUCCESS: Outcome = Some(0);
const INVALID_ADDRESS: Outcome = Some(0x8000_0003);
const INVALID_PARAMETER: Outcome = Some(0x8000_0005);
const BUSY: Outcome = Some(0x8000_0007);
const IN_USE: Outcome = Some(0x8000_1003);
const UNCHANGED: Outcome = Some(0x8000_1010);

/// All scenes, those of two processors first.
pub const SCENES: [Scene; 42] = [
    scene("CREATE_VCPU beside writes to the register state", 2, || create_beside_writes(2)),
    scene("two CREATE_VCPU of one page", 2, || two_creates_of_a_page(2)),
    scene("DELETE_VCPU beside a call of that vCPU", 2, || delete_beside_a_call(2)),
    scene("DELETE_VCPU and CREATE_VCPU anew beside calls", 2, || create_anew(2)),
    scene("CREATE_VCPU in the place of a vCPU, which is deleted", 2, || replaced(2)),
    scene("VMPL0 is run while its VMPL2 runs", 2, vmpl0_beside_vmpl2),
    scene("PVALIDATE beside a TPM command in that page", 2, || pvalidate_beside_command(2)),
    scene("PVALIDATE beside a TPM command in a list with that page", 2, || pvalidate_beside_page_list(2)),
    scene("PVALIDATE of one page from all vCPUs", 2, || pvalidate_from_all(2)),
    scene("PVALIDATE beside a report to that page", 2, || pvalidate_beside_report(2)),
    scene("REMAP_CA beside PVALIDATE of that page", 2, || remap_beside_pvalidate(2)),
    scene("PVALIDATE of another vCPU's calling area", 2, || pvalidate_of_the_area(2)),
    scene("CREATE_VCPU of a mailbox amid a TPM command", 2, || create_of_a_mailbox(2)),
    scene("TPM commands from all vCPUs", 2, || commands_from_all(2)),
    scene("reports for all vCPUs", 2, || reports_for_all(2)),
    scene("DEPOSIT_MEM and WITHDRAW_MEM beside writes to the page", 2, || deposit_beside_writes(2)),
    scene("DEPOSIT_MEM of one page from all vCPUs", 2, || deposit_from_all(2)),
    scene("DEPOSIT_MEM beside PVALIDATE of that page", 2, || deposit_beside_pvalidate(2)),
    scene("DEPOSIT_MEM of another vCPU's calling area", 2, || deposit_of_the_area(2)),
    scene("WITHDRAW_MEM from all vCPUs", 2, || withdraw_from_all(2)),
    scene("a report beside a TPM command", 2, report_beside_command),
    scene("two CREATE_VCPU for a processor that is to be started", 2, || creates_that_start(2)),
    scene("CREATE_VCPU that starts a processor beside PVALIDATE of the register state", 2, start_beside_pvalidate),
    scene("CREATE_VCPU that starts a processor beside WITHDRAW_MEM", 2, start_beside_withdraw),
    scene("CREATE_VCPU beside writes to the register state", 3, || create_beside_writes(3)),
    scene("two CREATE_VCPU for one processor", 3, two_creates_for_a_processor),
    scene("two CREATE_VCPU of one page", 3, || two_creates_of_a_page(3)),
    scene("DELETE_VCPU beside a call of that vCPU", 3, || delete_beside_a_call(3)),
    scene("DELETE_VCPU and CREATE_VCPU anew beside calls", 3, || create_anew(3)),
    scene("CREATE_VCPU in the place of a vCPU, which is deleted", 3, || replaced(3)),
    scene("PVALIDATE beside a TPM command in that page", 3, || pvalidate_beside_command(3)),
    scene("PVALIDATE beside a TPM command in a list with that page", 3, || pvalidate_beside_page_list(3)),
    scene("PVALIDATE of one page from all vCPUs", 3, || pvalidate_from_all(3)),
    scene("PVALIDATE beside a report to that page", 3, || pvalidate_beside_report(3)),
    scene("REMAP_CA beside PVALIDATE of that page", 3, || remap_beside_pvalidate(3)),
    scene("CREATE_VCPU of a mailbox amid a TPM command", 3, || create_of_a_mailbox(3)),
    scene("DEPOSIT_MEM and WITHDRAW_MEM beside writes to the page", 3, || deposit_beside_writes(3)),
    scene("DEPOSIT_MEM beside PVALIDATE of that page", 3, || deposit_beside_pvalidate(3)),
    scene("vCPUs that delete each other", 3, delete_each_other),
    scene("two CREATE_VCPU for a processor that is to be started", 3, || creates_that_start(3)),
    scene("TPM commands of two vCPUs beside PVALIDATE", 3, commands_beside_pvalidate),
    scene("reports for all vCPUs", 3, || reports_for_all(3)),
];

const fn scene(name: &'static str, vcpus: usize, set_up: fn() -> (Vec<Job>, Finale)) -> Scene {
    Scene { name, vcpus, set_up }
}

/// A scene that is being set up.
struct Stage {
    shared: Rc<Shared>,
    jobs: Vec<Job>,
}

type SetUp = (Vec<Job>, Finale);

impl Stage {
    /// `running` vCPUs of three processors, and `pages` that the scene is about beside theirs.
    fn new(running: usize, pages: &[u64]) -> Stage {
        Stage::with(running, pages, |map, vcpu| Guest::new(map, 0, vcpu, &[1, 2]))
    }

    /// Two vCPUs, and a third processor that takes a page when it is started; `deposited` are of `pages`.
    fn with_later(pages: &[u64], deposited: &[u64]) -> Stage {
        let stage = Stage::with(2, pages, |map, vcpu| Guest::new(map, 0, vcpu, &[1])?.with_later([2], 1));
        stage.call_now(stage.deposits(0, deposited));
        stage
    }

    fn with(running: usize, pages: &[u64], guest: fn(Ownership, Vcpu) -> Option<Guest<Ownership>>) -> Stage {
        engine::apply(|world| {
            world.add(VMSAS[0], Owner::Firmware);
            world.launch(VMSAS[0])?;
            let own = VMSAS[1..running].iter().chain(&AREAS[..running]);
            own.chain(pages).for_each(|page| world.add(*page, Owner::Guest));
            world.place(VMSAS[0], offered().as_bytes())
        });
        let region = |start, end| Region::new(start, end).expect("whole pages");
        let mut map =
            Ownership::new(&[region(RAM, RAM_END)], &[region(FIRMWARE, FIRMWARE + 0x8000)]).expect("a small map");
        map.give(region(RAM, RAM_END)).expect("all of its RAM");
        let vcpu = Vcpu { vmsa: VMSAS[0], calling_area: AREAS[0], sev_features: FEATURES };
        let guest = guest(map, vcpu).expect("three processors");
        let shared = Rc::new(Shared {
            guest: Mutex::new(Lock::Guest, guest),
            tpm: Mutex::new(Lock::Tpm, SlowTpm::default()),
            reports: Mutex::new(Lock::Psp, SlowPsp),
            outcomes: RefCell::default(),
        });
        let stage = Stage { shared, jobs: Vec::new() };
        for number in 1..running {
            stage.offer(VMSAS[number]);
            stage.call_now([CREATE, VMSAS[number], AREAS[number], number as u64]);
        }
        stage
    }

    /// A register state that is good, for a call to be made of it.
    fn offer(&self, gpa: u64) {
        self.place(gpa, offered().as_bytes());
    }

    fn place(&self, gpa: u64, bytes: &[u8]) {
        engine::apply(|world| world.place(gpa, bytes));
    }

    /// Before the scene begins.
    fn call_now(&self, [rax, rcx, rdx, r8]: [u64; 4]) {
        let mut registers = Registers { rax, rcx, rdx, r8, r9: 0 };
        svsm::serve(&mut self.shared.machine(&mut Cpu::new(0)), &mut registers);
        assert_eq!(registers.rax, 0, "the scene cannot begin");
    }

    /// The next processor's part; its vCPU has the register state `vmsa`.
    fn part(&mut self, vmsa: u64, script: Vec<Do>) {
        let (shared, number) = (Rc::clone(&self.shared), self.jobs.len());
        self.jobs.push(Box::new(move || act(&shared, number, vmsa, script)));
    }

    /// The part of a vCPU that runs when the scene begins.
    fn plays(&mut self, script: Vec<Do>) {
        self.part(VMSAS[self.jobs.len()], script);
    }

    /// A list of DEPOSIT_MEM there.
    fn deposits(&self, number: usize, entries: &[u64]) -> [u64; 4] {
        let [_, list, ..] = self.list(number, entries);
        [DEPOSIT, list, 0, 0]
    }

    /// A list of PVALIDATE in the processor's own page.
    fn list(&self, number: usize, entries: &[u64]) -> [u64; 4] {
        let head = [entries.len() as u64];
        let words = head.iter().chain(entries).flat_map(|word| word.to_le_bytes());
        self.place(OWN[number], &words.collect::<Vec<u8>>());
        [PVALIDATE, OWN[number], 0, 0]
    }

    /// A TPM command in `buffer`: one octet, the processor's number and one.
    fn command(&self, number: usize, buffer: u64) -> [u64; 4] {
        self.place(buffer, &[8, 0, 0, 0, 0, 1, 0, 0, 0, name_of(number)]);
        [COMMAND, buffer, 0, 0]
    }

    /// The same in a page that a list in the processor's own page names.
    fn command_in_pages(&self, number: usize, page: u64) -> [u64; 4] {
        let mut list = PageList::new_zeroed();
        (list.platform_command, list.size, list.count) = (8.into(), 1.into(), 1.into());
        list.pages[0] = page.into();
        self.place(OWN[number], list.as_bytes());
        self.place(page, &[name_of(number)]);
        [COMMAND_IN_PAGES, OWN[number], 0, 0]
    }

    /// An operation of attestation in the processor's own page, with its report in `report`.
    fn attestation(&self, number: usize, report: u64) -> [u64; 4] {
        let mut operation = AttestServices::new_zeroed();
        operation.report_gpa = report.into();
        operation.report_size = 4096.into();
        operation.nonce_gpa = (OWN[number] + 0x800).into();
        operation.nonce_size = 64.into();
        operation.manifest_gpa = OTHER.into();
        operation.manifest_size = 4096.into();
        self.place(OWN[number], operation.as_bytes());
        self.place(OWN[number] + 0x800, &[name_of(number); 64]);
        [ATTEST, OWN[number], 0, 0]
    }

    fn ends(self, check: impl Fn(&World, &[Vec<Outcome>; MAX_PROCESSORS]) -> Rule<()> + 'static) -> SetUp {
        let shared = self.shared;
        let finale = move |world: &World| {
            let outcomes = shared.outcomes.borrow();
            check(world, &outcomes).map(|()| format!("{outcomes:x?}"))
        };
        (self.jobs, Box::new(finale))
    }
}

fn name_of(number: usize) -> u8 {
    u8::try_from(number + 1).unwrap_or(u8::MAX)
}

fn offered() -> Vmsa {
    let mut vmsa = Vmsa::real_mode(GUEST_VMPL, FEATURES, 0xffff_fff0);
    vmsa.set_runnable(true);
    vmsa
}

/// The words without which a zeroed page is no register state: VMPL, EFER, SEV_FEATURES.
fn written_anew(gpa: u64) -> [Do; 3] {
    [
        Do::Write(gpa + 0xca, vec![2]),
        Do::Write(gpa + 0xd0, 0x1000_u64.to_le_bytes().to_vec()),
        Do::Write(gpa + 0x3b0, FEATURES.to_le_bytes().to_vec()),
    ]
}

/// Makes it a register state of VMPL0's.
fn attack(gpa: u64) -> Do {
    Do::Write(gpa + 0xca, vec![0])
}

fn call(number: usize, registers: [u64; 4]) -> Do {
    Do::Call(AREAS[number], registers)
}

/// Each processor's outcomes are among those that are allowed, and there is one for each call.
fn among(outcomes: &[Vec<Outcome>; MAX_PROCESSORS], allowed: &[&[&[Outcome]]]) -> Rule<()> {
    for (number, allowed) in allowed.iter().enumerate() {
        let got = &outcomes[number];
        let fits = got.len() == allowed.len() && got.iter().zip(*allowed).all(|(one, among)| among.contains(one));
        if !fits {
            return Err(format!("processor {number}'s calls came to {got:x?}"));
        }
    }
    Ok(())
}

fn count(outcomes: &[Vec<Outcome>; MAX_PROCESSORS], wanted: Outcome) -> usize {
    outcomes.iter().flatten().filter(|outcome| **outcome == wanted).count()
}

fn is(world: &World, gpa: u64, owner: Owner) -> Rule<()> {
    if world.owner(gpa)? == owner { Ok(()) } else { Err(format!("{gpa:#x} is not {owner:?} in the end")) }
}

fn exactly(what: &str, wanted: core::ops::RangeInclusive<usize>, got: usize) -> Rule<()> {
    if wanted.contains(&got) { Ok(()) } else { Err(format!("{what}: {got}, not {wanted:?}")) }
}

// ---- Register states.

/// The third processor runs what was made, and calls.
fn create_beside_writes(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(2, &[NEW[0], AREAS[2]]);
    stage.offer(NEW[0]);
    stage.plays(vec![call(0, [CREATE, NEW[0], AREAS[2], 2])]);
    let harmless = Do::Write(NEW[0] + 0x178, vec![0xf0]);
    stage.plays(vec![harmless, attack(NEW[0]), Do::Stop]);
    if vcpus == 3 {
        stage.part(NEW[0], vec![call(2, [QUERY, 1, 0, 0])]);
    }
    stage.ends(|_, outcomes| {
        among(outcomes, &[&[&[SUCCESS, INVALID_PARAMETER]], &[&[None]]])?;
        let served = if outcomes[0] == [SUCCESS] { 0..=1 } else { 0..=0 };
        exactly("calls of the vCPU that was made", served, outcomes[2].len())
    })
}

/// The third processor is the one, and makes a call.
fn two_creates_for_a_processor() -> SetUp {
    let mut stage = Stage::new(3, &NEW);
    NEW.iter().for_each(|page| stage.offer(*page));
    for (number, page) in NEW.into_iter().enumerate() {
        stage.plays(vec![call(number, [CREATE, page, AREAS[2], 2])]);
    }
    stage.plays(vec![call(2, [QUERY, 1, 0, 0])]);
    stage.ends(|world, outcomes| {
        let each: &[Outcome] = &[SUCCESS, BUSY];
        among(outcomes, &[&[each], &[each]])?;
        NEW.iter().zip(outcomes).try_for_each(|(page, outcome)| {
            is(world, *page, if *outcome == [SUCCESS] { Owner::Vmsa } else { Owner::Guest })
        })
    })
}

fn two_creates_of_a_page(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(2, &[NEW[0], AREAS[2]]);
    stage.offer(NEW[0]);
    for number in 0..2 {
        stage.plays(vec![call(number, [CREATE, NEW[0], AREAS[2], 2])]);
    }
    if vcpus == 3 {
        stage.part(NEW[0], vec![call(2, [QUERY, 1, 0, 0])]);
    }
    stage.ends(|_, outcomes| {
        let each: &[Outcome] = &[SUCCESS, INVALID_ADDRESS, BUSY];
        among(outcomes, &[&[each], &[each]])?;
        exactly("register states made of the page", 1..=1, count(&[outcomes[0].clone(), outcomes[1].clone(), vec![]], SUCCESS))
    })
}

fn delete_beside_a_call(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(vcpus, &[]);
    stage.plays(vec![call(0, [DELETE, VMSAS[1], 0, 0])]);
    stage.plays(vec![call(1, [QUERY, 1, 0, 0])]);
    if vcpus == 3 {
        stage.plays(vec![call(2, [DELETE, VMSAS[1], 0, 0])]);
    }
    stage.ends(move |world, outcomes| {
        let each: &[Outcome] = &[SUCCESS, IN_USE, INVALID_PARAMETER];
        let deleted = outcomes[0].iter().chain(&outcomes[2]).filter(|outcome| **outcome == SUCCESS).count();
        among(outcomes, &[&[each]])?;
        exactly("deletions", 0..=1, deleted)?;
        let left = if deleted == 1 { Owner::Guest } else { Owner::Vmsa };
        is(world, VMSAS[1], left)?;
        // A vCPU that was not deleted has its answer.
        exactly("answers", 1 - deleted..=1, outcomes[1].len())
    })
}

/// A vCPU loses its processor to another, and its register state; the third deletes that, too.
fn replaced(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(vcpus, &[NEW[0]]);
    stage.offer(NEW[0]);
    let old = VMSAS[1];
    stage.plays(vec![call(0, [CREATE, NEW[0], AREAS[1], 1]), call(0, [DELETE, old, 0, 0])]);
    stage.plays(vec![call(1, [QUERY, 1, 0, 0])]);
    if vcpus == 3 {
        stage.plays(vec![call(2, [DELETE, old, 0, 0])]);
    }
    stage.ends(move |world, outcomes| {
        let each: &[Outcome] = &[SUCCESS, IN_USE, INVALID_PARAMETER];
        among(outcomes, &[&[&[SUCCESS, BUSY], each]])?;
        let deleted = outcomes[0][1..].iter().chain(&outcomes[2]).filter(|outcome| **outcome == SUCCESS).count();
        exactly("deletions", 0..=1, deleted)?;
        let left = if deleted == 1 { Owner::Guest } else { Owner::Vmsa };
        is(world, old, left)
    })
}

/// The host runs VMPL0 while VMPL2 of the same processor runs, too.
fn vmpl0_beside_vmpl2() -> SetUp {
    let mut stage = Stage::new(1, &[]);
    let shared = Rc::clone(&stage.shared);
    stage.jobs.push(Box::new(|| {
        let calls = [([QUERY, 1], [0, 1 << 32 | 1]), ([QUERY, 9 << 32 | 1], [0, 0])];
        guest_alone(0, VMSAS[0], AREAS[0], &calls);
    }));
    stage.jobs.push(Box::new(move || firmware_alone(&shared, 0, VMSAS[0], 3)));
    stage.ends(|_, outcomes| exactly("calls that were served", 0..=2, outcomes[0].iter().flatten().count()))
}

fn create_anew(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(vcpus, &[]);
    let vmsa = VMSAS[1];
    let [first, second, third] = written_anew(vmsa);
    stage.plays(vec![
        call(0, [DELETE, vmsa, 0, 0]),
        first,
        second,
        third,
        call(0, [CREATE, vmsa, AREAS[1], 1]),
    ]);
    stage.plays(vec![call(1, [QUERY, 1, 0, 0]), call(1, [QUERY, 1, 0, 0])]);
    if vcpus == 3 {
        stage.plays(vec![attack(vmsa), attack(vmsa), Do::Stop]);
    }
    stage.ends(|_, outcomes| {
        among(outcomes, &[&[&[SUCCESS, IN_USE], &[SUCCESS, INVALID_ADDRESS, INVALID_PARAMETER, BUSY]]])
    })
}

fn delete_each_other() -> SetUp {
    let mut stage = Stage::new(3, &[NEW[0]]);
    stage.offer(NEW[0]);
    stage.plays(vec![call(0, [CREATE, NEW[0], AREAS[1], 1])]);
    stage.plays(vec![call(1, [DELETE, VMSAS[2], 0, 0])]);
    stage.plays(vec![call(2, [DELETE, VMSAS[1], 0, 0])]);
    stage.ends(|_, outcomes| among(outcomes, &[&[&[SUCCESS, BUSY]]]))
}

// ---- Processors that are started.

const WANTED: Outcome = Some(0x4000_0001);

/// There is memory for two. The third processor runs what was made first, and calls.
fn creates_that_start(vcpus: usize) -> SetUp {
    let mut stage = Stage::with_later(&[NEW[0], NEW[1], AREAS[2], PRIZE, OTHER, OWN[0]], &[PRIZE, OTHER]);
    NEW.iter().for_each(|page| stage.offer(*page));
    for (number, page) in NEW.into_iter().enumerate() {
        stage.plays(vec![call(number, [CREATE, page, AREAS[2], 2])]);
    }
    if vcpus == 3 {
        stage.part(NEW[0], vec![call(2, [QUERY, 1, 0, 0])]);
    }
    stage.ends(|world, outcomes| {
        let each: &[Outcome] = &[SUCCESS, BUSY];
        among(outcomes, &[&[each], &[each]])?;
        exactly("vCPUs that were created", 1..=2, count_of(outcomes, 2))?;
        exactly("starts", 1..=1, world.started.len())
    })
}

fn start_beside_pvalidate() -> SetUp {
    let mut stage = Stage::with_later(&[NEW[0], AREAS[2], PRIZE, OWN[0], OWN[1]], &[PRIZE]);
    stage.offer(NEW[0]);
    stage.plays(vec![call(0, [CREATE, NEW[0], AREAS[2], 2])]);
    let list = stage.list(1, &[NEW[0]]);
    stage.plays(vec![call(1, list)]);
    stage.ends(|world, outcomes| {
        let each: &[Outcome] = &[SUCCESS, INVALID_ADDRESS];
        among(outcomes, &[&[each], &[each]])?;
        exactly("calls that were done", 1..=1, count(outcomes, SUCCESS))?;
        is(world, NEW[0], if outcomes[0] == [SUCCESS] { Owner::Vmsa } else { Owner::Unvalidated })
    })
}

fn start_beside_withdraw() -> SetUp {
    let mut stage = Stage::with_later(&[NEW[0], AREAS[2], PRIZE, OWN[0], OWN[1]], &[PRIZE]);
    stage.offer(NEW[0]);
    stage.plays(vec![call(0, [CREATE, NEW[0], AREAS[2], 2])]);
    stage.plays(vec![call(1, [WITHDRAW, OWN[1], 0, 0])]);
    stage.ends(|world, outcomes| {
        among(outcomes, &[&[&[SUCCESS, WANTED]], &[&[SUCCESS]]])?;
        let has_started = outcomes[0] == [SUCCESS];
        is(world, PRIZE, if has_started { Owner::Firmware } else { Owner::Guest })?;
        exactly("starts", usize::from(has_started)..=usize::from(has_started), world.started.len())?;
        exactly("pages in the list", usize::from(!has_started)..=usize::from(!has_started), {
            usize::try_from(world.word(OWN[1])?).unwrap_or(usize::MAX)
        })
    })
}

// ---- Pages that change hands.

const GIVEN_AND_TAKEN: [u64; 2] = [PRIZE, PRIZE | VALID];

fn pvalidate_beside_command(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(vcpus, &[PRIZE, OWN[0]]);
    let (list, command) = (stage.list(0, &GIVEN_AND_TAKEN), stage.command(1, PRIZE));
    stage.plays(vec![call(0, list)]);
    stage.plays(vec![call(1, command)]);
    if vcpus == 3 {
        stage.plays(vec![Do::Write(PRIZE + 0x100, vec![1]), Do::Write(PRIZE + 0x100, vec![2]), Do::Stop]);
    }
    stage.ends(|world, outcomes| {
        among(outcomes, &[&[&[SUCCESS]], &[&[SUCCESS, INVALID_PARAMETER]]])?;
        let executed = if outcomes[1] == [SUCCESS] { 1..=1 } else { 0..=1 };
        exactly("commands executed", executed, world.executed.len())
    })
}

/// The third writes meanwhile.
fn pvalidate_from_all(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(vcpus, &[PRIZE, OWN[0], OWN[1]]);
    for number in 0..2 {
        let list = stage.list(number, &GIVEN_AND_TAKEN);
        stage.plays(vec![call(number, list)]);
    }
    if vcpus == 3 {
        stage.plays(vec![Do::Write(PRIZE, vec![1]), Do::Write(PRIZE, vec![2]), Do::Stop]);
    }
    stage.ends(|_, outcomes| {
        let each: &[Outcome] = &[SUCCESS, UNCHANGED];
        among(outcomes, &[&[each], &[each]])?;
        exactly("lists that were done", 1..=2, count(outcomes, SUCCESS))
    })
}

/// The third writes to the page, and gives nothing away.
fn pvalidate_beside_page_list(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(vcpus, &[PRIZE, OWN[0], OWN[1]]);
    let (list, command) = (stage.list(0, &GIVEN_AND_TAKEN), stage.command_in_pages(1, PRIZE));
    stage.plays(vec![call(0, list)]);
    stage.plays(vec![call(1, command)]);
    if vcpus == 3 {
        stage.plays(vec![Do::Write(PRIZE, vec![7]), Do::Stop]);
    }
    stage.ends(|world, outcomes| {
        among(outcomes, &[&[&[SUCCESS]], &[&[SUCCESS, INVALID_PARAMETER]]])?;
        let executed = if outcomes[1] == [SUCCESS] { 1..=1 } else { 0..=1 };
        exactly("commands executed", executed, world.executed.len())
    })
}

fn pvalidate_beside_report(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(vcpus, &[PRIZE, OTHER, OWN[0], OWN[1]]);
    let (list, operation) = (stage.list(0, &GIVEN_AND_TAKEN), stage.attestation(1, PRIZE));
    stage.plays(vec![call(0, list)]);
    stage.plays(vec![call(1, operation)]);
    if vcpus == 3 {
        stage.plays(vec![Do::Write(PRIZE, vec![1]), Do::Write(PRIZE, vec![2]), Do::Stop]);
    }
    stage.ends(|_, outcomes| among(outcomes, &[&[&[SUCCESS]], &[&[SUCCESS, INVALID_PARAMETER]]]))
}

/// The third gives it back.
fn remap_beside_pvalidate(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(vcpus, &[PRIZE, OWN[0], OWN[2]]);
    let list = stage.list(0, &[PRIZE]);
    stage.plays(vec![call(0, list)]);
    stage.plays(vec![call(1, [REMAP, PRIZE, 0, 0]), Do::Call(PRIZE, [QUERY, 1, 0, 0])]);
    if vcpus == 3 {
        let list = stage.list(2, &[PRIZE | VALID]);
        stage.plays(vec![call(2, list)]);
    }
    stage.ends(|_, outcomes| {
        among(outcomes, &[&[&[SUCCESS]], &[&[SUCCESS, INVALID_ADDRESS], &[SUCCESS, None]]])
    })
}

fn pvalidate_of_the_area(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(vcpus, &[OWN[0]]);
    let list = stage.list(0, &[AREAS[1], AREAS[1] | VALID]);
    stage.plays(vec![call(0, list)]);
    stage.plays(vec![call(1, [QUERY, 1, 0, 0]), call(1, [QUERY, 1, 0, 0])]);
    stage.ends(|_, outcomes| among(outcomes, &[&[&[SUCCESS]], &[&[SUCCESS, None], &[SUCCESS, None]]]))
}

/// The third processor runs what was made.
fn create_of_a_mailbox(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(2, &[PRIZE, AREAS[2]]);
    stage.offer(PRIZE);
    let command = stage.command(1, PRIZE);
    stage.plays(vec![call(0, [CREATE, PRIZE, AREAS[2], 2])]);
    stage.plays(vec![call(1, command)]);
    if vcpus == 3 {
        stage.part(PRIZE, vec![call(2, [QUERY, 1, 0, 0])]);
    }
    stage.ends(|world, outcomes| {
        among(outcomes, &[&[&[SUCCESS]], &[&[SUCCESS, INVALID_PARAMETER]]])?;
        let executed = if outcomes[1] == [SUCCESS] { 1..=1 } else { 0..=1 };
        exactly("commands executed", executed, world.executed.len())
    })
}

// ---- Memory for the firmware.

/// What the second writes is its TPM command's, which comes or does not. The third writes, too.
fn deposit_beside_writes(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(vcpus, &[PRIZE, OWN[0]]);
    let (deposit, command) = (stage.deposits(0, &[PRIZE]), stage.command(1, PRIZE));
    stage.plays(vec![call(0, deposit), call(0, [WITHDRAW, OWN[0] + 0x800, 0, 0])]);
    stage.plays(vec![Do::Write(PRIZE + 0x100, vec![1]), Do::Write(PRIZE + 0x100, vec![2]), call(1, command)]);
    if vcpus == 3 {
        stage.plays(vec![Do::Write(PRIZE + 0x200, vec![1]), Do::Write(PRIZE + 0x200, vec![2]), Do::Stop]);
    }
    stage.ends(|world, outcomes| {
        among(outcomes, &[&[&[SUCCESS], &[SUCCESS]], &[&[SUCCESS, INVALID_PARAMETER]]])?;
        is(world, PRIZE, Owner::Guest)?;
        let listed = [world.word(OWN[0] + 0x800)?, world.word(OWN[0] + 0x808)?];
        if listed == [1, PRIZE] { Ok(()) } else { Err(format!("the list has {listed:x?}")) }
    })
}

fn deposit_from_all(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(vcpus, &[PRIZE, OWN[0], OWN[1]]);
    for number in 0..2 {
        let deposit = stage.deposits(number, &[PRIZE]);
        stage.plays(vec![call(number, deposit)]);
    }
    stage.ends(|world, outcomes| {
        let each: &[Outcome] = &[SUCCESS, INVALID_ADDRESS];
        among(outcomes, &[&[each], &[each]])?;
        is(world, PRIZE, Owner::Firmware)?;
        exactly("deposits of the page", 1..=1, count(outcomes, SUCCESS))
    })
}

/// The third writes meanwhile.
fn deposit_beside_pvalidate(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(vcpus, &[PRIZE, OWN[0], OWN[1]]);
    let (deposit, list) = (stage.deposits(0, &[PRIZE]), stage.list(1, &GIVEN_AND_TAKEN));
    stage.plays(vec![call(0, deposit)]);
    stage.plays(vec![call(1, list)]);
    if vcpus == 3 {
        stage.plays(vec![Do::Write(PRIZE, vec![1]), Do::Write(PRIZE, vec![2]), Do::Stop]);
    }
    stage.ends(|_, outcomes| {
        let each: &[Outcome] = &[SUCCESS, INVALID_ADDRESS];
        among(outcomes, &[&[each], &[each]])?;
        exactly("lists that were done", 1..=2, count(outcomes, SUCCESS))
    })
}

/// Its vCPU goes on through another one, and no call of its is lost.
fn deposit_of_the_area(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(vcpus, &[OTHER, OWN[0]]);
    let deposit = stage.deposits(0, &[AREAS[1]]);
    stage.plays(vec![call(0, deposit)]);
    stage.plays(vec![call(1, [REMAP, OTHER, 0, 0]), Do::Call(OTHER, [QUERY, 1, 0, 0])]);
    stage.ends(|_, outcomes| among(outcomes, &[&[&[SUCCESS, INVALID_ADDRESS]], &[&[SUCCESS], &[SUCCESS]]]))
}

/// A page goes in and out.
fn withdraw_from_all(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(vcpus, &[[PRIZE].as_slice(), &OWN[..vcpus]].concat());
    let deposits = [stage.deposits(0, &[PRIZE]), stage.deposits(1, &[PRIZE])];
    let withdraw = |number: usize| call(number, [WITHDRAW, OWN[number] + 0x800, 0, 0]);
    stage.plays(vec![call(0, deposits[0]), withdraw(0)]);
    stage.plays(vec![withdraw(1), call(1, deposits[1])]);
    stage.ends(|world, outcomes| {
        let each: &[Outcome] = &[SUCCESS, INVALID_ADDRESS];
        among(outcomes, &[&[each, &[SUCCESS]], &[&[SUCCESS], each]])?;
        let deposits = [outcomes[0][0], outcomes[1][1]].iter().filter(|outcome| **outcome == SUCCESS).count();
        let mut listed = usize::from(world.owner(PRIZE)? == Owner::Firmware);
        for (number, outcomes) in outcomes.iter().enumerate().filter(|(_, outcomes)| !outcomes.is_empty()) {
            let list = OWN[number] + 0x800;
            listed += usize::from([world.word(list)? & 0xffff, world.word(list + 8)?] == [1, PRIZE]);
            exactly("calls", 1..=2, outcomes.len())?;
        }
        exactly("pages that are there or were listed", deposits..=deposits, listed)
    })
}

// ---- TPM and PSP.

/// A command of SUCCESS was executed once and has its own response; one of BUSY was not, and its buffer is as it was.
fn each_command_once(world: &World, outcomes: &[Vec<Outcome>], buffers: &[u64]) -> Rule<()> {
    for (number, buffer) in buffers.iter().enumerate() {
        let done = usize::from(outcomes[number] == [SUCCESS]);
        let name = name_of(number);
        let executed = world.executed.iter().filter(|command| **command == name).count();
        exactly("executions of a command", done..=done, executed)?;
        let expected = match done {
            1 => [1, 0, 0, 0, name, 1, 0, 0],
            _ => [8, 0, 0, 0, 0, 1, 0, 0],
        };
        if world.word(*buffer)? != u64::from_le_bytes(expected) {
            return Err(format!("processor {number} finds {:#x}", world.word(*buffer)?));
        }
    }
    exactly("commands that were done", 1..=buffers.len(), count_of(outcomes, buffers.len()))
}

fn count_of(outcomes: &[Vec<Outcome>], processors: usize) -> usize {
    outcomes[..processors].iter().flatten().filter(|outcome| **outcome == SUCCESS).count()
}

fn commands_from_all(vcpus: usize) -> SetUp {
    let mut stage = Stage::new(vcpus, &OWN[..vcpus]);
    for number in 0..vcpus {
        let command = stage.command(number, OWN[number]);
        stage.plays(vec![call(number, command)]);
    }
    stage.ends(move |world, outcomes| {
        let each: &[&[Outcome]] = &[&[SUCCESS, BUSY]];
        among(outcomes, &vec![each; vcpus])?;
        each_command_once(world, outcomes, &OWN[..vcpus])
    })
}

/// Which waits for neither.
fn commands_beside_pvalidate() -> SetUp {
    let mut stage = Stage::new(3, &[PRIZE, OWN[0], OWN[1], OWN[2]]);
    for number in 0..2 {
        let command = stage.command(number, OWN[number]);
        stage.plays(vec![call(number, command)]);
    }
    let list = stage.list(2, &GIVEN_AND_TAKEN);
    stage.plays(vec![call(2, list)]);
    stage.ends(|world, outcomes| {
        let each: &[&[Outcome]] = &[&[SUCCESS, BUSY]];
        among(outcomes, &[each, each, &[&[SUCCESS]]])?;
        each_command_once(world, outcomes, &OWN[..2])
    })
}

/// Each into a page of its own, with one page for all manifests.
fn reports_for_all(vcpus: usize) -> SetUp {
    let reports = [PRIZE, NEW[0], NEW[1]];
    let pages = [&reports[..vcpus], &OWN[..vcpus], &[OTHER]].concat();
    let mut stage = Stage::new(vcpus, &pages);
    for number in 0..vcpus {
        let operation = stage.attestation(number, reports[number]);
        stage.plays(vec![call(number, operation)]);
    }
    stage.ends(move |world, outcomes| {
        let each: &[&[Outcome]] = &[&[SUCCESS, BUSY]];
        among(outcomes, &vec![each; vcpus])?;
        exactly("reports", 1..=vcpus, count(outcomes, SUCCESS))?;
        for (report, outcome) in reports.iter().zip(outcomes).take(vcpus) {
            // REPORT_DATA is of the caller's nonce: none is zero.
            let written = world.word(report + 0x50)? != 0;
            if written != (*outcome == [SUCCESS]) {
                return Err(format!("the report at {report:#x} is written: {written}"));
            }
        }
        Ok(())
    })
}

/// The TPM is asked for its key, too: one of the two may find it at work.
fn report_beside_command() -> SetUp {
    let mut stage = Stage::new(2, &[PRIZE, OTHER, OWN[0], OWN[1]]);
    let operation = stage.attestation(0, PRIZE);
    stage.plays(vec![call(0, operation)]);
    let command = stage.command(1, OWN[1]);
    stage.plays(vec![call(1, command)]);
    stage.ends(|world, outcomes| {
        let each: &[&[Outcome]] = &[&[SUCCESS, BUSY]];
        among(outcomes, &[each, each])?;
        exactly("calls that were served", 1..=2, count(outcomes, SUCCESS))?;
        let executed = usize::from(outcomes[1] == [SUCCESS]);
        exactly("commands executed", executed..=executed, world.executed.len())
    })
}

const _: () = assert!(PAGE == 4096);
