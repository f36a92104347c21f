//! Several processors: how they start, the one lock that they share, and how one makes another leave the guest.
//!
//! Whoever works in the machine has the lock. A processor gives it up while it runs the guest, or waits; what is its
//! own, and in its nested page tables, others may then change, but if the guest there must not go on with what it has,
//! they [`expel`] it: an NMI, which every control block intercepts. An NMI that comes when the processor does not run
//! the guest stays pending, until it does or waits.

use crate::apic;
use crate::bits::us;
use crate::cpu::{rdmsr, wrmsr};
use crate::entry;
use crate::log::fault;
use crate::machine::{self, Machine};
use crate::phys::{self, PAGE, Pool};
use core::hint::spin_loop;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::Ordering::SeqCst;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};

/// As many processors as there may be.
pub(crate) const PROCESSORS: usize = 64;

/// Where a processor is, for the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// In the machine, or at its lock.
    Machine = 0,
    /// In the guest, or about to enter it.
    Guest = 1,
    /// Halted, or about to halt.
    Waits = 2,
}

static PLACES: [AtomicU8; PROCESSORS] = [const { AtomicU8::new(Place::Machine as u8) }; PROCESSORS];
/// The lock: the next ticket, and the one whose turn it is.
static NEXT: AtomicU32 = AtomicU32::new(0);
static TURN: AtomicU32 = AtomicU32::new(0);
/// What it is for.
static MACHINE: AtomicPtr<Machine> = AtomicPtr::new(core::ptr::null_mut());

/// The machine, locked.
pub(crate) struct Guard(&'static mut Machine);

impl Deref for Guard {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        self.0
    }
}

impl DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut Machine {
        self.0
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        TURN.fetch_add(1, SeqCst);
    }
}

impl Guard {
    /// Lets others into the machine while this processor is at `place`.
    pub(crate) fn away<T>(self, place: Place, what: impl FnOnce() -> T) -> (Self, T) {
        let me = self.me;
        PLACES[me].store(place as u8, SeqCst);
        drop(self);
        let result = what();
        PLACES[me].store(Place::Machine as u8, SeqCst);
        (lock(me), result)
    }
}

/// Opens the machine, which is at this address for ever and reached by nothing else, to all processors.
pub(crate) fn open(machine: *mut Machine) {
    MACHINE.store(machine, SeqCst);
}

/// Takes the machine, for processor `me`, once it is open and nobody has it.
pub(crate) fn lock(me: usize) -> Guard {
    while MACHINE.load(SeqCst).is_null() {
        spin_loop();
    }
    let ticket = NEXT.fetch_add(1, SeqCst);
    while TURN.load(SeqCst) != ticket {
        spin_loop();
    }
    // SAFETY: `open`'s caller has promised that the machine stays, and leaves it alone; the ticket makes this reference
    // the only one until the guard is dropped.
    let machine = unsafe { &mut *MACHINE.load(SeqCst) };
    machine.enter_as(me);
    Guard(machine)
}

/// Makes a processor look at what has changed for it, unless it is going to anyway. With the machine locked.
pub(crate) fn notify(processor: usize) {
    if PLACES[processor].load(SeqCst) != Place::Machine as u8 {
        apic::send_nmi(processor);
    }
}

/// Makes a processor leave the guest, if it is there: when this returns, its TLB remembers nothing, and it does not
/// come back before the machine is free again. With the machine locked.
pub(crate) fn expel(processor: usize) {
    let place = &PLACES[processor];
    if place.load(SeqCst) != Place::Guest as u8 {
        return;
    }
    apic::send_nmi(processor);
    while place.load(SeqCst) == Place::Guest as u8 {
        spin_loop();
    }
}

/// Where the trampoline is copied to for the time of the start.
const TRAMPOLINE: u64 = 0x8000;
/// Bytes of the stack of every processor but the first.
const STACK: usize = 256 * 1024;
/// How often a processor is looked for, before another startup IPI, and before it is given up.
const PATIENCE: u32 = 1000;
const ATTEMPTS: u32 = 1000;

/// For the trampoline: the stack of the processor that is started, and which one it is.
#[unsafe(no_mangle)]
static NEXT_STACK: AtomicU64 = AtomicU64::new(0);
#[unsafe(no_mangle)]
static NEXT_PROCESSOR: AtomicU64 = AtomicU64::new(0);
/// How many processors have started.
static STARTED: AtomicUsize = AtomicUsize::new(1);

/// PAT and memory types, which the BIOS has set on the first processor only. Each pair of variable ranges as base and
/// mask.
const MEMORY_TYPES: [u32; 29] = [
    0x277, 0x250, 0x258, 0x259, 0x268, 0x269, 0x26A, 0x26B, 0x26C, 0x26D, 0x26E, 0x26F, 0x200, 0x201, 0x202, 0x203,
    0x204, 0x205, 0x206, 0x207, 0x208, 0x209, 0x20A, 0x20B, 0x20C, 0x20D, 0x20E, 0x20F, 0x2FF,
];
static OF_THE_FIRST: [AtomicU64; MEMORY_TYPES.len()] = [const { AtomicU64::new(0) }; MEMORY_TYPES.len()];

/// Starts processors 1 to `count` - 1, one after the other. They wait until the machine is open.
pub(crate) fn start_others(pool: &mut Pool, count: usize) {
    if count < 2 {
        return;
    }
    for (msr, value) in MEMORY_TYPES.iter().zip(&OF_THE_FIRST) {
        value.store(rdmsr(*msr), SeqCst);
    }
    let mut before = [0; 256];
    phys::read(TRAMPOLINE, &mut before);
    phys::write(TRAMPOLINE, entry::trampoline());
    for processor in 1..count {
        let stack = pool.slice(STACK);
        NEXT_STACK.store(stack.as_ptr_range().end as u64, SeqCst);
        NEXT_PROCESSOR.store(processor as u64, SeqCst);
        start(processor);
    }
    phys::write(TRAMPOLINE, &before);
}

fn start(processor: usize) {
    let has_started = || STARTED.load(SeqCst) > processor;
    apic::send_init(processor);
    for _ in 0..ATTEMPTS {
        for _ in 0..PATIENCE {
            if has_started() {
                return;
            }
            spin_loop();
        }
        apic::send_startup(processor, TRAMPOLINE & !(PAGE - 1));
    }
    fault!("processor {processor} does not start");
}

/// From the trampoline.
#[unsafe(no_mangle)]
extern "sysv64" fn machine_processor(index: u64) -> ! {
    entry::load_exceptions();
    for (msr, value) in MEMORY_TYPES.iter().zip(&OF_THE_FIRST) {
        // SAFETY: the types of memory that the first processor runs with.
        unsafe { wrmsr(*msr, value.load(SeqCst)) };
    }
    STARTED.fetch_add(1, SeqCst);
    machine::run(us(index))
}
