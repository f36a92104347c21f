//! How long a call of VMPL2's takes VMPL0, and how QEMU's one thread is made to change processors.
//!
//! Under QEMU's `-icount shift=0` a tick of the time-stamp counter is an instruction, of whichever processor: it counts
//! on while another one has its turn. The ticks of a call are those between VMRUN and exit of VMPL0 on the processor
//! that was called; what the machine does for it is left out. A processor loses its turn by PAUSE, that is where it
//! waits for a lock, and after a tenth of a second; a call that has lost its turn within VMPL0 shows the other's
//! instructions, too.

use crate::cpu::rdtsc;
use crate::log::log;
use crate::machine::{Exits, Machine};

/// A call that VMPL0 is about to serve, as VMPL2 has made it.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Call {
    rax: u64,
    rcx: u64,
    before: Exits,
}

impl Machine {
    /// The VMPL `from` has stopped and `to` goes on, whose registers are loaded.
    pub(crate) fn note_call(&mut self, from: usize, to: usize) {
        if !self.config.calls {
            return;
        }
        let me = self.me;
        let processor = self.processor_mut();
        let [rax, rcx] = [0, 1].map(|register| processor.levels[2].regs.gpr[register]);
        let exits = processor.exits;
        match (from, to) {
            (2, 0) => processor.call = Call { rax, rcx, before: exits },
            (0, 2) => {
                let Call { rax: call, rcx, before } = processor.call;
                log!(
                    "call {call:#x} rcx={rcx:#x} processor={me}: {rax:#x}, VMPL0 {} ticks, {} exits",
                    exits.ticks(0) - before.ticks(0),
                    exits.all - before.all,
                );
            }
            _ => {}
        }
    }

    /// Whether another processor has its turn before this one runs VMPL0 again. By the time: what is regular would be
    /// in step with what the two do.
    pub(crate) fn gives_turn(&self) -> bool {
        self.config.turns && self.current() == 0 && rdtsc().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 63 != 0
    }
}
