//! What two vCPUs do at once: one makes a call while the other changes what the call goes by; both use the TPM; one
//! makes keys while the other passes pages to the host and back.
//!
//! | module | is |
//! |---|---|
//! | `hostile` | calls whose registers, lists and buffers the other vCPU changes |
//! | `traffic` | TPM commands whose answers are known beforehand |
//! | `sha256` | what they are known by |

mod hostile;
mod sha256;
mod traffic;

use crate::apic;
use crate::entry;
use crate::ghcb::{self, Creation};
use crate::hostile::Report;
use crate::page::{Area, Page};
use crate::svsm::{self, Registers, SUCCESS, protocol};
use crate::vcpu::{self, TASK};
use core::sync::atomic::{AtomicU64, Ordering};

/// Tasks of the second vCPU.
mod task {
    pub(super) const NONE: u64 = 0;
    pub(super) const SCRIBBLE: u64 = 1;
    pub(super) const USE_TPM: u64 = 2;
    /// Gives a page up and takes it back, again and again.
    pub(super) const TAKE_AND_GIVE: u64 = 3;
    pub(super) const MAKE_KEYS: u64 = 4;
}

/// What the second vCPU scribbles: 8 octets at an address, now these, now those.
static AT: AtomicU64 = AtomicU64::new(0);
static VALUES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// How often it shall do its task, how often it has, and how often that was wrong.
static COUNT: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);
/// It has seen that it has nothing to do.
static RESTS: AtomicU64 = AtomicU64::new(0);

static SCRATCH: Area<64> = Area::new();
static BUFFERS: [Page; 2] = [const { Page::new() }; 2];
/// A page for each that goes to the host and comes back.
static PASSED: [Page; 2] = [const { Page::new() }; 2];
static LIST: [Page; 2] = [const { Page::new() }; 2];

/// The second vCPU, for ever.
pub(crate) fn second() -> ! {
    loop {
        match TASK.load(Ordering::SeqCst) {
            task::SCRIBBLE => scribble(),
            task::USE_TPM => finish(traffic::second()),
            apic::TAKE => apic::take(),
            task::TAKE_AND_GIVE => each(|_| pass(1)),
            task::MAKE_KEYS => each(traffic::make_key),
            _ => {
                RESTS.store(1, Ordering::SeqCst);
                core::hint::spin_loop();
            }
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

/// Does what is numbered so often; how often that was wrong is counted.
fn each(mut work: impl FnMut(u64) -> bool) {
    let mut wrong = 0;
    for number in 0..COUNT.load(Ordering::SeqCst) {
        wrong += u64::from(!work(number));
        DONE.fetch_add(1, Ordering::SeqCst);
    }
    finish(wrong);
}

fn finish(wrong: u64) {
    WRONG.store(wrong, Ordering::SeqCst);
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

/// The second vCPU writes no more when this returns.
fn rest() {
    RESTS.store(0, Ordering::SeqCst);
    TASK.store(task::NONE, Ordering::SeqCst);
    while RESTS.load(Ordering::SeqCst) == 0 {
        core::hint::spin_loop();
    }
    svsm::pending_of(0).store(0, Ordering::SeqCst);
}

fn let_do(what: u64, count: u64) {
    COUNT.store(count, Ordering::SeqCst);
    DONE.store(0, Ordering::SeqCst);
    WRONG.store(0, Ordering::SeqCst);
    TASK.store(what, Ordering::SeqCst);
}

fn is_at_work() -> bool {
    TASK.load(Ordering::SeqCst) != task::NONE
}

/// Waits until the second vCPU has done its task; how often that was wrong.
fn wrong_of_second() -> u64 {
    while is_at_work() {
        core::hint::spin_loop();
    }
    WRONG.load(Ordering::SeqCst)
}

fn list_of(vcpu: usize) -> &'static Page {
    &LIST[vcpu]
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

type Work<const N: usize> = fn(&mut Report<N>, u64);

/// What can be asked for, by its number (tests/host/src/relay.rs has the same list).
fn work<const N: usize>(number: u8) -> Option<Work<N>> {
    Some(match number {
        0 => hostile::calling_area,
        1 => hostile::mailbox,
        2 => hostile::list,
        3 => hostile::attestation,
        4 => register_state,
        5 => traffic::run,
        6 => pass_alone,
        7 => pass_beside_keys,
        8 => hostile::deposits,
        9 => hostile::page_list,
        _ => return None,
    })
}

/// Does one work, `count` times, with a line for each attempt as [`crate::hostile::run`]; gives the text's length.
pub(crate) fn run<const N: usize>(text: &'static Area<N>, number: u8, count: u64) -> Option<usize> {
    let work = work::<N>(number)?;
    let mut report = Report::new(text);
    let outcome = with_second(|| work(&mut report, count));
    let name = outcome.err().unwrap_or("a second vCPU is created, and destroyed in the end");
    report.attempt(name, 0, u64::from(outcome.is_err()));
    Some(report.finish())
}

fn with_second(work: impl FnOnce()) -> Result<(), &'static str> {
    vcpu::start(0)?;
    work();
    vcpu::stop(0)
}

/// The second vCPU runs from another register state meanwhile, which is nobody's since one was created.
fn register_state<const N: usize>(report: &mut Report<N>, count: u64) {
    let outcome = instead(|| hostile::register_state(report, count));
    report.attempt(outcome.err().unwrap_or("destroyed and created again"), 0, u64::from(outcome.is_err()));
}

fn instead(work: impl FnOnce()) -> Result<(), &'static str> {
    vcpu::stop(0)?;
    vcpu::start(1)?;
    work();
    ghcb::ap_create(Creation::Destroy, vcpu::APIC_ID, vcpu::state(1).gpa()).map_err(|_| "AP_CREATE (destroy)")?;
    if vcpu::delete(vcpu::state(1)) != Some(SUCCESS) {
        return Err("DELETE_VCPU of a register state that is nobody's is refused");
    }
    vcpu::start(0)
}

/// Where both processors are one thread of QEMU's, the other one has its turn between two passes.
fn pass_and_wait(vcpu: usize) -> bool {
    core::hint::spin_loop();
    pass(vcpu)
}

/// Passes a page while the other vCPU does nothing.
fn pass_alone<const N: usize>(report: &mut Report<N>, count: u64) {
    traffic::start_tpm();
    let wrong = (0..count).filter(|_| !pass_and_wait(0)).count() as u64;
    report.attempt(format_args!("{count} pages passed: wrong"), 0, wrong);
}

/// Passes a page as long as the other vCPU makes so many RSA keys.
fn pass_beside_keys<const N: usize>(report: &mut Report<N>, count: u64) {
    traffic::start_tpm();
    let_do(task::MAKE_KEYS, count);
    let (mut passed, mut wrong) = (0_u64, 0);
    while is_at_work() {
        passed += 1;
        wrong += u64::from(!pass_and_wait(0));
    }
    wrong += wrong_of_second();
    report.attempt(format_args!("{passed} pages passed beside {count} RSA keys: wrong"), 0, wrong);
}
