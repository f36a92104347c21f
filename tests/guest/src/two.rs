//! What two vCPUs try at once: one makes a call while the other changes what the call goes by; both use the TPM.

use crate::apic;
use crate::attest::{self, OPERATION, REPORT};
use crate::entry;
use crate::ghcb::{self, Creation};
use crate::hostile::{FIRMWARE, Report};
use crate::page::{Area, Page};
use crate::svsm::{self, Registers, SUCCESS, Taken, protocol};
use crate::vcpu::{self, TASK, field};
use crate::vtpm;
use core::sync::atomic::{AtomicU64, Ordering};

/// Tasks of the second vCPU.
mod task {
    pub(super) const NONE: u64 = 0;
    pub(super) const SCRIBBLE: u64 = 1;
    pub(super) const EXTEND: u64 = 2;
    /// Gives a page up and takes it back, again and again.
    pub(super) const TAKE_AND_GIVE: u64 = 3;
}

/// What the second vCPU scribbles: 8 octets at an address, now these, now those.
static AT: AtomicU64 = AtomicU64::new(0);
static VALUES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// How often it shall do its task, how often it has, and how often that was wrong.
static COUNT: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);

static SCRATCH: Area<64> = Area::new();
static BUFFERS: [Page; 2] = [const { Page::new() }; 2];
/// A page for each that goes to the host and comes back.
static PASSED: [Page; 2] = [const { Page::new() }; 2];
static LIST: [Page; 2] = [const { Page::new() }; 2];

const INVALID_ADDRESS: u64 = 0x8000_0003;
const INVALID_PARAMETER: u64 = 0x8000_0005;
const UNSUPPORTED_CALL: u64 = 0x8000_0002;
const BUSY: u64 = 0x8000_0007;
const SIZE_MISMATCH: u64 = 0x8000_1006;
const UNCHANGED: u64 = 0x8000_1010;

/// The second vCPU, for ever.
pub(crate) fn second() -> ! {
    loop {
        match TASK.load(Ordering::SeqCst) {
            task::SCRIBBLE => scribble(),
            task::EXTEND => each(|| extend(1)),
            apic::TAKE => apic::take(),
            task::TAKE_AND_GIVE => each(|| pass(1)),
            _ => core::hint::spin_loop(),
        }
    }
}

fn scribble() {
    let at = AT.load(Ordering::SeqCst);
    for value in &VALUES {
        SCRATCH.write(0, value.load(Ordering::SeqCst));
        // SAFETY: a page that is given for it; where it is not ours at the moment, the fault is caught.
        let _ = unsafe { entry::copy(at, SCRATCH.gpa(), 8) };
        DONE.fetch_add(1, Ordering::SeqCst);
        // Where both processors are one thread of QEMU's, it is the other's turn.
        core::hint::spin_loop();
    }
}

fn each(mut work: impl FnMut() -> bool) {
    for _ in 0..COUNT.load(Ordering::SeqCst) {
        if !work() {
            WRONG.fetch_add(1, Ordering::SeqCst);
        }
        DONE.fetch_add(1, Ordering::SeqCst);
    }
    TASK.store(task::NONE, Ordering::SeqCst);
}

/// Has the second vCPU write to `page`, until [`rest`].
fn scribble_at(page: &Page, at: usize, values: [u64; 2]) {
    AT.store(page.gpa() + at as u64, Ordering::SeqCst);
    VALUES[0].store(values[0], Ordering::SeqCst);
    VALUES[1].store(values[1], Ordering::SeqCst);
    DONE.store(0, Ordering::SeqCst);
    TASK.store(task::SCRIBBLE, Ordering::SeqCst);
    while DONE.load(Ordering::SeqCst) == 0 {
        core::hint::spin_loop();
    }
}

fn rest() {
    TASK.store(task::NONE, Ordering::SeqCst);
}

fn let_do(what: u64, count: u64) {
    COUNT.store(count, Ordering::SeqCst);
    DONE.store(0, Ordering::SeqCst);
    WRONG.store(0, Ordering::SeqCst);
    TASK.store(what, Ordering::SeqCst);
}

/// Waits until the second vCPU has done its task; how often that was wrong.
fn wrong_of_second() -> u64 {
    while TASK.load(Ordering::SeqCst) != task::NONE {
        core::hint::spin_loop();
    }
    WRONG.load(Ordering::SeqCst)
}

/// TPM2_PCR_Extend of PCR 8 by a digest of zeros, which pcrUpdateCounter counts; whether it was executed.
fn extend(vcpu: usize) -> bool {
    // TPM_ST_SESSIONS, PCR 8, a password session with an empty password, one digest of SHA-256.
    const HEAD: [u8; 33] = [
        0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82, 0, 0, 0, 8, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x0B,
    ];
    let mut command = [0; 65];
    command[..33].copy_from_slice(&HEAD);
    answers(vcpu, &command, 19)
}

/// Whether a command is executed: its response has this length and TPM_RC_SUCCESS.
fn answers(vcpu: usize, command: &[u8], length: usize) -> bool {
    let Ok((size, _)) = vtpm::command(&BUFFERS[vcpu], command) else { return false };
    let mut head = [0; 10];
    BUFFERS[vcpu].copy_out(4, &mut head);
    size == length && head[6..] == [0; 4]
}

/// pcrUpdateCounter, by TPM2_PCR_Read of PCR 8.
fn update_counter() -> u64 {
    const PCR_READ: [u8; 20] = [0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7E, 0, 0, 0, 1, 0, 0x0B, 3, 0, 1, 0];
    let mut counter = [0; 4];
    if vtpm::command(&BUFFERS[0], &PCR_READ).is_ok() {
        BUFFERS[0].copy_out(14, &mut counter);
    }
    u32::from_be_bytes(counter).into()
}

/// PVALIDATE of one entry.
fn pvalidate(vcpu: usize, entry: u64) -> Option<u64> {
    LIST[vcpu].write(0, 1);
    LIST[vcpu].write(8, entry);
    vcpu::core_call(Registers::call(protocol::CORE, 1, LIST[vcpu].gpa()))
}

const VALIDATE: u64 = 4;
const IGNORE: u64 = 8;

/// A page is given up and taken back: it is zero.
fn pass(vcpu: usize) -> bool {
    let page = &PASSED[vcpu];
    page.write(0x100, 7);
    let passed = [pvalidate(vcpu, page.gpa()), pvalidate(vcpu, page.gpa() | VALIDATE)] == [Some(SUCCESS); 2];
    passed && page.read(0x100) == 0
}

/// How often each of some outcomes was seen, and how often another.
struct Seen<const N: usize> {
    allowed: [u64; N],
    times: [u64; N],
    wrong: u64,
    last_wrong: u64,
}

impl<const N: usize> Seen<N> {
    const fn new(allowed: [u64; N]) -> Self {
        Self { allowed, times: [0; N], wrong: 0, last_wrong: 0 }
    }

    fn see(&mut self, code: u64) {
        core::hint::spin_loop();
        match self.allowed.iter().position(|allowed| *allowed == code) {
            Some(at) => self.times[at] += 1,
            None => self.wrong(code),
        }
    }

    fn wrong(&mut self, code: u64) {
        self.wrong += 1;
        self.last_wrong = code;
    }
}

impl<const N: usize> Seen<N> {
    fn tell<const M: usize>(&self, report: &mut Report<M>, name: &str) {
        let Self { times, wrong, last_wrong, .. } = self;
        let writes = DONE.load(Ordering::SeqCst);
        let name = format_args!("{name}; outcomes {times:?}, last wrong {last_wrong:#x}, other writes {writes}");
        // Without a write of the other's nothing was tried.
        report.attempt(name, 0, wrong + u64::from(writes == 0));
    }
}

/// Runs everything, `count` times each, with a line for each as [`crate::hostile::run`].
pub(crate) fn run<const N: usize>(text: &'static Area<N>, count: u64) -> usize {
    let mut report = Report::new(text);
    let outcome = try_all(&mut report, count);
    report.attempt(
        outcome.err().unwrap_or("two vCPUs: created, destroyed and created again"),
        0,
        u64::from(outcome.is_err()),
    );
    report.finish()
}

fn try_all<const N: usize>(report: &mut Report<N>, count: u64) -> Result<(), &'static str> {
    vcpu::start(0)?;
    calling_area(report, count);
    mailbox(report, count);
    list(report, count);
    attestation(report, count.div_ceil(50));
    traffic(report, count);
    vcpu::stop(0)?;
    vcpu::start(1)?;
    register_state(report, count);
    // Its register state is nobody's since another was created, and it runs all the same.
    ghcb::ap_create(Creation::Destroy, vcpu::APIC_ID, vcpu::state(1).gpa()).map_err(|_| "AP_CREATE (destroy)")?;
    if vcpu::delete(vcpu::state(1)) != Some(SUCCESS) {
        return Err("DELETE_VCPU of a register state that is nobody's is refused");
    }
    vcpu::start(0)?;
    let extended = extend(0);
    let_do(task::EXTEND, 1);
    if wrong_of_second() != 0 || !extended {
        return Err("the TPM does not answer in the end");
    }
    vcpu::stop(0)
}

/// The pending byte changes while a call is made: it is served as it was made, or not at all.
fn calling_area<const N: usize>(report: &mut Report<N>, count: u64) {
    const QUERY: u64 = 6;
    let (mut seen, argument) = (Seen::new([SUCCESS, QUERY]), protocol::VTPM << 32 | 1);
    scribble_at(svsm::calling_area_of(0), 0, [0, 1]);
    for _ in 0..count {
        let mut registers = Registers::call(protocol::CORE, QUERY, argument);
        match svsm::call(&mut registers) {
            Ok(_) if registers.rax == QUERY && registers.rcx == argument => seen.see(QUERY),
            Ok(_) if registers.rax == SUCCESS && registers.rcx == 1 << 32 | 1 => seen.see(SUCCESS),
            _ => seen.wrong(registers.rax),
        }
    }
    rest();
    settle();
    seen.tell(report, "the calling area changes during a call");
}

/// The second vCPU has seen that it rests.
fn settle() {
    for _ in 0..100_000 {
        core::hint::spin_loop();
    }
    svsm::pending_of(0).store(0, Ordering::SeqCst);
}

/// Platform command, locality and size change while a TPM command is sent.
fn mailbox<const N: usize>(report: &mut Report<N>, count: u64) {
    let mut seen = Seen::new([SUCCESS, INVALID_PARAMETER, UNSUPPORTED_CALL]);
    // TPM_SEND_COMMAND, locality 0, size 12; another command, locality, a size beyond the page.
    scribble_at(&vtpm::BUFFER, 0, [0x0000_0C00_0000_0008, 0xFFFF_FF01_0000_0009]);
    for _ in 0..count {
        vtpm::request(vtpm::SEND_COMMAND, 0, 12, &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 8]);
        match vtpm::send() {
            Ok((Taken::Yes, rax)) => seen.see(rax),
            _ => seen.wrong(u64::MAX),
        }
    }
    rest();
    settle();
    seen.tell(report, "the mailbox changes during a TPM command");
}

/// An entry changes between a page of ours and one of the firmware's while a list is worked off.
fn list<const N: usize>(report: &mut Report<N>, count: u64) {
    let mut seen = Seen::new([SUCCESS, INVALID_ADDRESS, INVALID_PARAMETER, UNCHANGED, SIZE_MISMATCH]);
    let page = PASSED[0].gpa();
    scribble_at(&LIST[0], 8, [page | VALIDATE | IGNORE, FIRMWARE.start | VALIDATE]);
    for _ in 0..count {
        match pvalidate(0, page) {
            Some(rax) => seen.see(rax),
            None => seen.wrong(u64::MAX),
        }
    }
    scribble_at(&LIST[0], 0, [1, 0xFFFF_0001_0000_0001]);
    for _ in 0..count {
        match pvalidate(0, page | IGNORE) {
            Some(rax) => seen.see(rax),
            None => seen.wrong(u64::MAX),
        }
    }
    rest();
    settle();
    if pvalidate(0, page | VALIDATE | IGNORE) != Some(SUCCESS) {
        seen.wrong(u64::MAX - 1);
    }
    seen.tell(report, "a PVALIDATE list changes while it is worked off");
}

/// The report's address changes between a page of ours and one of the firmware's.
fn attestation<const N: usize>(report: &mut Report<N>, count: u64) {
    let mut seen = Seen::new([SUCCESS, INVALID_PARAMETER, BUSY]);
    scribble_at(&OPERATION, attest::field::REPORT_GPA, [REPORT.gpa(), FIRMWARE.start]);
    for _ in 0..count {
        attest::request([0; 16], 0, &[7; 64]);
        match attest::send(0) {
            Ok((Taken::Yes, registers)) => seen.see(registers.rax),
            _ => seen.wrong(u64::MAX),
        }
    }
    rest();
    settle();
    seen.tell(report, "an attestation's structure changes during the call");
}

/// Both send TPM commands, and pages come and go beside them: every command is executed, once.
fn traffic<const N: usize>(report: &mut Report<N>, count: u64) {
    const STARTUP: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
    // It may have been started before.
    let _ = vtpm::command(&BUFFERS[0], &STARTUP);
    let before = update_counter();
    let_do(task::EXTEND, count);
    let (mut wrong, mut passes) = (0, 0);
    for round in 0..count {
        wrong += u64::from(!extend(0));
        if round % 8 == 0 {
            passes += 1;
            wrong += u64::from(!pass(0));
        }
    }
    wrong += wrong_of_second();
    let lost = (2 * count).abs_diff(update_counter() - before);
    let name = format_args!("{count} TPM commands from each, {passes} pages passed to and fro: wrong or lost");
    report.attempt(name, 0, wrong + lost);
    let_do(task::TAKE_AND_GIVE, count);
    let wrong = (0..count).filter(|_| !pass(0)).count() as u64 + wrong_of_second();
    report.attempt(format_args!("{count} pages passed to and fro by each at once: wrong"), 0, wrong);
}

/// A page changes while it becomes a register state: what has become one is as it was judged.
fn register_state<const N: usize>(report: &mut Report<N>, count: u64) {
    let page = vcpu::state(0);
    for (name, at, values) in [
        ("VMPL and CPL of a register state change while it is created", 0xC8, [2 << 16, 0]),
        ("SEV_FEATURES of a register state change while it is created", field::SEV_FEATURES, [1, 3]),
        ("EFER of a register state changes while it is created", field::EFER, [vcpu::EFER, 0x500]),
    ] {
        let mut seen = Seen::new([SUCCESS, INVALID_PARAMETER]);
        scribble_at(page, at, values);
        for _ in 0..count {
            vcpu::fill(page);
            let code = vcpu::create(page).unwrap_or(u64::MAX);
            seen.see(code);
            if code == SUCCESS {
                judge(page, &mut seen);
                match vcpu::delete(page) {
                    Some(SUCCESS) => {}
                    code => seen.wrong(code.unwrap_or(u64::MAX)),
                }
            }
        }
        rest();
        settle();
        seen.tell(report, name);
    }
}

/// We may read a register state.
fn judge<const N: usize>(page: &Page, seen: &mut Seen<N>) {
    for _ in 0..2 {
        let fields = [page.read(0xC8) >> 16 & 0xFF, page.read(field::SEV_FEATURES), page.read(field::EFER)];
        if fields != [2, 1, vcpu::EFER] {
            seen.wrong(fields[0] | fields[1] << 8 | fields[2] << 16);
        }
        core::hint::spin_loop();
    }
}
