//! The large stack. The firmware boots on it, and then it is the TPM's: a processor that has the TPM's lock changes to
//! it. The entry stub has painted it, which shows how much of it has been used.

use core::arch::asm;

use kernel::svsm::Tpm;

use super::layout;

/// What the stub fills the stack with; no address, and no small number.
pub(crate) const PAINT: u64 = 0x5AC3_96E1_A5C3_3C69;

/// Bytes of the stack, and how many of them have been written to.
pub(crate) fn usage() -> (u64, u64) {
    let (bottom, top) = (layout::stack_guard() + kernel::mm::PAGE_SIZE, layout::stack_top());
    // SAFETY: mapped as data, aligned, and below all frames in use as long as the paint lasts; volatile, since no Rust
    // object is there.
    let is_painted = |address: &u64| unsafe { (*address as *const u64).read_volatile() } == PAINT;
    let untouched = (bottom..top).step_by(size_of::<u64>()).take_while(is_painted).count();
    let size = top - bottom;
    (size, size.saturating_sub(untouched as u64 * size_of::<u64>() as u64))
}

/// Goes on with `run` on the stack that ends at `top`, and never comes back: the large stack is free from then on.
pub(crate) fn leave(top: u64, run: extern "C" fn() -> !) -> ! {
    // SAFETY: a mapped stack that nobody uses, aligned to a page; nothing that lies on this one is used again, as `run`
    // takes no argument.
    unsafe {
        asm!("mov rsp, {top}", "xor ebp, ebp", "push 0", "jmp {run}", top = in(reg) top, run = in(reg) run, options(noreturn))
    }
}

/// The TPM, whose commands are executed on the large stack.
pub(crate) struct OnLargeStack<T>(T);

impl<T> OnLargeStack<T> {
    /// # Safety
    /// From the first command on nobody else is on the large stack: boot has left it, and this is the only such value.
    pub(crate) unsafe fn new(tpm: T) -> Self {
        Self(tpm)
    }
}

/// A command on its way to the other stack.
struct Command<'a, T> {
    tpm: &'a mut T,
    command: &'a [u8],
    response: &'a mut [u8],
    len: usize,
}

extern "C" fn execute<T: Tpm>(command: &mut Command<'_, T>) {
    command.len = command.tpm.execute(command.command, command.response);
}

impl<T: Tpm> Tpm for OnLargeStack<T> {
    fn execute(&mut self, command: &[u8], response: &mut [u8]) -> usize {
        let mut command = Command { tpm: &mut self.0, command, response, len: 0 };
        // SAFETY: the large stack is nobody's, as `new` was told, and `&mut self` keeps a second command away. The call
        // follows the C ABI, R12 is restored by it, and the argument outlives the call.
        unsafe {
            asm!(
                "mov r12, rsp",
                "mov rsp, {top}",
                "call {run}",
                "mov rsp, r12",
                top = in(reg) layout::stack_top(),
                run = in(reg) execute::<T> as extern "C" fn(&mut Command<'_, T>),
                in("rdi") &raw mut command,
                out("r12") _,
                clobber_abi("C"),
            );
        }
        command.len
    }
}
