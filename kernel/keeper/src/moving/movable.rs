//! The TPM as a guest calls it, which looks for messages of a migration before a command, and when the host runs VMPL0
//! without one.

use alloc::boxed::Box;
use alloc::vec::Vec;

use kernel::attest::{EndorsementKey, Reports};
use kernel::hooks::Platform;
use kernel::state::Kept;
use kernel::svsm::vtpm::Buffers;
use kernel::svsm::{Busy, Tpm};
use kernel::sync::Mutex;
use relay::Relay;
use tpm_core::{Clock, Entropy};

use super::{Home, Leaving, Stand};

/// A look at the relay leaves the guest: commands that come faster than this have one look for all of them.
const EVERY_MS: u64 = 10;

/// The way by which a TPM may leave.
pub struct Way<R> {
    leaving: Leaving<'static>,
    relay: R,
    home: Box<dyn Home + Send>,
    tell: fn(Stand),
    /// When it was looked for messages last.
    looked_ms: Option<u64>,
    stand: Stand,
}

impl<R> Way<R> {
    /// Over this relay. `tell` is told what comes of it.
    pub const fn new(leaving: Leaving<'static>, relay: R, home: Box<dyn Home + Send>, tell: fn(Stand)) -> Self {
        Self { leaving, relay, home, tell, looked_ms: None, stand: Stand::Here }
    }
}

/// A TPM that may leave, if there is a way.
pub struct Movable<E, C, R> {
    platform: Platform<E, C>,
    way: Option<Way<R>>,
}

impl<E: Entropy, C: Clock, R: Relay> Movable<E, C, R> {
    /// This TPM.
    pub const fn new(platform: Platform<E, C>, way: Option<Way<R>>) -> Self {
        Self { platform, way }
    }

    /// Between two commands, or where the guest has none.
    fn look(&mut self, reports: &Mutex<dyn Reports + '_>) {
        let Some(way) = &mut self.way else { return };
        let now = self.platform.now_ms();
        if way.looked_ms.is_some_and(|last| now.saturating_sub(last) < EVERY_MS) {
            return;
        }
        // Somebody else asks the secure processor: another time.
        let Some(mut reports) = reports.try_lock() else { return };
        let stand = way.leaving.poll(&mut way.relay, &mut self.platform, &mut *reports, &mut *way.home);
        way.looked_ms = Some(self.platform.now_ms());
        if stand != Stand::Here && stand != way.stand {
            (way.tell)(stand);
        }
        way.stand = stand;
    }

    /// Whether the TPM lives elsewhere, or may: nothing is attested of it here then.
    fn is_gone(&self) -> bool {
        self.way.as_ref().is_some_and(|way| !way.leaving.answers())
    }
}

impl<E: Entropy, C: Clock, R: Relay> Tpm for Movable<E, C, R> {
    fn execute(&mut self, command: &[u8], response: &mut [u8]) -> usize {
        self.platform.execute(command, response)
    }

    fn buffers(&mut self) -> &mut Buffers {
        self.platform.buffers()
    }

    fn execute_in_buffers(&mut self, command: usize, response: usize) -> usize {
        self.platform.execute_in_buffers(command, response)
    }

    fn endorsement_key(&mut self) -> Option<EndorsementKey> {
        if self.is_gone() { None } else { self.platform.endorsement_key() }
    }

    fn keys(&mut self) -> Option<Vec<Vec<u8>>> {
        if self.is_gone() { None } else { self.platform.keys() }
    }

    fn kept(&self) -> Option<Kept> {
        if self.is_gone() { None } else { self.platform.kept() }
    }

    fn idle(&mut self, reports: &Mutex<dyn Reports + '_>) {
        self.look(reports);
    }

    fn prepare(&mut self, command: &[u8], reports: &Mutex<dyn Reports + '_>) -> Result<(), Busy> {
        self.look(reports);
        self.platform.prepare(command, reports)
    }

    fn prepare_in_buffers(&mut self, command: usize, reports: &Mutex<dyn Reports + '_>) -> Result<(), Busy> {
        self.look(reports);
        self.platform.prepare_in_buffers(command, reports)
    }
}
