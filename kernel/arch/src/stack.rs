//! The large stack. The firmware boots on it, and then it is the TPM's: a processor that has the TPM's lock changes to
//! it. The entry stub has painted it, which shows how much of it has been used.

use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

use kernel::attest::{EndorsementKey, Reports};
use kernel::state::Kept;
use kernel::svsm::vtpm::Buffers;
use kernel::svsm::{Busy, Tpm};
use kernel::sync::Mutex;

use crate::layout;

/// What the stub fills the stack with; no address, and no small number.
pub const PAINT: u64 = 0x5AC3_96E1_A5C3_3C69;

/// Bytes of the stack, and how many of them have been written to.
pub fn usage() -> (u64, u64) {
    let (bottom, top) = (layout::stack_guard() + kernel::mm::PAGE_SIZE, layout::stack_top());
    // SAFETY: mapped as data, aligned, and below all frames in use as long as the paint lasts; volatile, since no Rust
    // object is there.
    let is_painted = |address: &u64| unsafe { (*address as *const u64).read_volatile() } == PAINT;
    let untouched = (bottom..top).step_by(size_of::<u64>()).take_while(is_painted).count();
    let size = top - bottom;
    (size, size.saturating_sub(untouched as u64 * size_of::<u64>() as u64))
}

/// The boot has left the large stack.
static LEFT: AtomicBool = AtomicBool::new(false);
/// There is an [`OnLargeStack`].
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Goes on with `run` on the stack for calls, and never comes back: the large stack is free from then on.
pub fn leave(run: extern "C" fn() -> !) -> ! {
    // SAFETY: the other stack is mapped, aligned to a page, and nobody's, as nobody comes back to call this again;
    // nothing that lies on this one is used again, as what is called takes a function only.
    unsafe {
        asm!(
            "mov rsp, {top}",
            "xor ebp, ebp",
            "push 0",
            "jmp {begin}",
            top = in(reg) layout::call_stack_top(),
            begin = sym begin,
            in("rdi") run,
            options(noreturn)
        )
    }
}

/// The first frame on the other stack.
extern "C" fn begin(run: extern "C" fn() -> !) -> ! {
    LEFT.store(true, Ordering::Release);
    run()
}

/// The TPM, which works on the large stack, once the boot has left it.
pub struct OnLargeStack<T>(T);

impl<T> OnLargeStack<T> {
    /// The one that there is. `None`: there was one before.
    pub fn new(tpm: T) -> Option<Self> {
        (!TAKEN.swap(true, Ordering::AcqRel)).then_some(Self(tpm))
    }
}

/// Work on its way to the other stack, and what comes of it.
struct Job<'a, T, W, R> {
    tpm: &'a mut T,
    work: Option<W>,
    result: Option<R>,
}

extern "C" fn perform<T, W: FnOnce(&mut T) -> R, R>(job: &mut Job<'_, T, W, R>) {
    job.result = job.work.take().map(|work| work(job.tpm));
}

impl<T> OnLargeStack<T> {
    /// Runs `work` on the large stack. `None` does not happen: `perform` has put a result there.
    fn with<W: FnOnce(&mut T) -> R, R>(&mut self, work: W) -> Option<R> {
        if !LEFT.load(Ordering::Acquire) {
            return Some(work(&mut self.0));
        }
        let mut job = Job { tpm: &mut self.0, work: Some(work), result: None };
        // SAFETY: the boot has left the large stack, there is one value of this type, and `&mut self` keeps a second
        // job away. The call follows the C ABI, R12 is restored by it, and the argument outlives the call.
        unsafe {
            asm!(
                "mov r12, rsp",
                "mov rsp, {top}",
                "call {run}",
                "mov rsp, r12",
                top = in(reg) layout::stack_top(),
                run = in(reg) perform::<T, W, R> as extern "C" fn(&mut Job<'_, T, W, R>),
                in("rdi") &raw mut job,
                out("r12") _,
                clobber_abi("C"),
            );
        }
        job.result
    }
}

impl<T: Tpm> Tpm for OnLargeStack<T> {
    fn execute(&mut self, command: &[u8], response: &mut [u8]) -> usize {
        self.with(|tpm| tpm.execute(command, response)).unwrap_or(0)
    }

    fn buffers(&mut self) -> &mut Buffers {
        self.0.buffers()
    }

    fn execute_in_buffers(&mut self, command: usize, response: usize) -> usize {
        self.with(|tpm| tpm.execute_in_buffers(command, response)).unwrap_or(0)
    }

    fn endorsement_key(&mut self) -> Option<EndorsementKey> {
        self.with(Tpm::endorsement_key)?
    }

    fn keys(&mut self) -> Option<Vec<Vec<u8>>> {
        self.with(Tpm::keys)?
    }

    fn kept(&self) -> Option<Kept> {
        self.0.kept()
    }

    fn idle(&mut self, reports: &Mutex<dyn Reports + '_>) {
        self.with(|tpm| tpm.idle(reports));
    }

    fn prepare(&mut self, command: &[u8], reports: &Mutex<dyn Reports + '_>) -> Result<(), Busy> {
        self.with(|tpm| tpm.prepare(command, reports)).unwrap_or(Ok(()))
    }

    fn prepare_in_buffers(&mut self, command: usize, reports: &Mutex<dyn Reports + '_>) -> Result<(), Busy> {
        self.with(|tpm| tpm.prepare_in_buffers(command, reports)).unwrap_or(Ok(()))
    }
}
