//! What tpm-core needs from the platform, and the TPM as the service that a guest calls.

use alloc::boxed::Box;
use alloc::vec::Vec;

use tpm_core::profile::{MAX_COMMAND_SIZE, MAX_RESPONSE_SIZE};
use tpm_core::rc::{Fmt1, Rc};
use tpm_core::{Clock, Entropy, Failure, Fault, Hooks, Locality, StateError};

use authority::{Authorities, Channel, NotIssued};

use crate::attest::{EndorsementKey, Reports};
use crate::identity::Identity;
use crate::state::Kept;
use crate::svsm::vtpm::{BUFFER, Buffers};
use crate::svsm::{self, Busy};
use crate::sync::Mutex;

const _: () = assert!(MAX_COMMAND_SIZE == BUFFER && MAX_RESPONSE_SIZE == BUFFER);

/// Who keeps the TPM's state.
pub trait Keeper {
    /// Writes what must survive the loss of power, if it is not what was written last. When this returns it is there
    /// whatever happens; `None` if it may not be.
    fn keep(&mut self, tpm: &tpm_core::Tpm) -> Option<()>;
    /// What is attested of it now.
    fn kept(&self) -> Kept;
}

impl<K: Keeper + ?Sized> Keeper for Box<K> {
    fn keep(&mut self, tpm: &tpm_core::Tpm) -> Option<()> {
        (**self).keep(tpm)
    }

    fn kept(&self) -> Kept {
        (**self).kept()
    }
}

/// A TPM with its platform.
pub struct Platform<E, C> {
    tpm: Box<tpm_core::Tpm>,
    buffers: Box<Buffers>,
    entropy: E,
    clock: C,
    identity: Identity,
    endorsed: fn(u64),
    keeper: Option<Box<dyn Keeper + Send>>,
}

/// What is answered where the state cannot be kept: the TPM is in failure mode from then on.
const FAILURE: [u8; 10] = Rc::failure(Fault::Platform).response();

impl<E: Entropy, C: Clock> Platform<E, C> {
    /// Makes a TPM with new seeds, as after _TPM_Init: its first user begins with TPM2_Startup. `endorsed` is told each
    /// time that an endorsement key was made, and the milliseconds that it took.
    pub fn manufacture(entropy: E, clock: C, endorsed: fn(u64)) -> Result<Self, Failure> {
        let mut platform = Self::vacant(entropy, clock, endorsed);
        platform.with(tpm_core::Tpm::manufacture)?;
        platform.identity.provide_all(&mut platform.tpm)?;
        Ok(platform)
    }

    /// The TPM of a state that was taken where it was powered off: as after _TPM_Init. An NV Index that the guest has
    /// defined where this firmware would provide one stays the guest's.
    ///
    /// # Errors
    /// [`StateError`]: it is no state of this build's, or there is no entropy.
    pub fn resume(state: &[u8], entropy: E, clock: C, endorsed: fn(u64)) -> Result<Self, StateError> {
        let mut platform = Self::vacant(entropy, clock, endorsed);
        platform.take(state)?;
        Ok(platform)
    }

    /// The place of a TPM that is to come: until then what is there is in failure mode.
    ///
    /// Not in line: a blank TPM is, and there is one.
    #[inline(never)]
    pub fn vacant(entropy: E, clock: C, endorsed: fn(u64)) -> Self {
        let tpm = Box::new(tpm_core::Tpm::blank());
        let (buffers, identity) = (Box::default(), Identity::default());
        Self { tpm, buffers, entropy, clock, identity, endorsed, keeper: None }
    }

    /// Puts the TPM of a state in the place of what is here. One of a whole state goes on where it was.
    ///
    /// # Errors
    /// [`StateError`]: there is no TPM here then.
    pub fn take(&mut self, state: &[u8]) -> Result<(), StateError> {
        let mut hooks = Hooks { entropy: &mut self.entropy, clock: &mut self.clock };
        self.identity = Identity::default();
        self.tpm.import(state, &mut hooks)?;
        let _ = self.identity.provide_all(&mut self.tpm);
        Ok(())
    }

    /// From here on the state is kept: no response is given before what it says would survive the loss of power.
    /// `None`: it cannot be kept even now.
    pub fn keep_by(&mut self, mut keeper: Box<dyn Keeper + Send>) -> Option<()> {
        keeper.keep(&self.tpm)?;
        self.keeper = Some(keeper);
        Some(())
    }

    /// Keeps the state. If that fails, the TPM fails until the next start, which begins with what was kept last.
    /// Whether what the TPM says may be said. After commands it is done; the firmware calls it after what it has
    /// changed itself.
    pub fn keep(&mut self) -> bool {
        let Some(keeper) = self.keeper.as_mut().filter(|_| !self.tpm.is_in_failure_mode()) else { return true };
        let kept = keeper.keep(&self.tpm).is_some();
        if !kept {
            self.tpm.enter_failure_mode();
        }
        kept
    }

    /// Starts the TPM, if nobody has, and makes of it what guests of Azure know (docs/boot.md, "Azure's vTPM"). Whether
    /// there was room for the attestation key: in a state that was kept its guest may have left none.
    ///
    /// # Errors
    /// [`Failure`]: the TPM does not do it.
    pub fn become_azure(&mut self) -> Result<bool, Failure> {
        const STARTUP_CLEAR: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
        let is_placed = Identity::provide_azure(&mut self.tpm)?;
        // Clients by tss-esapi do not know them.
        self.tpm.omit_later_properties();
        let mut answer = [0; MAX_RESPONSE_SIZE];
        let mut hooks = Hooks { entropy: &mut self.entropy, clock: &mut self.clock };
        let tpm = &mut self.tpm;
        let mut run = |command: &[u8]| {
            let len = tpm.execute(&mut hooks, Locality::ZERO, command, &mut answer);
            let (head, rest) = answer.get(..len)?.split_at_checked(10)?;
            head.ends_with(&[0; 4]).then(|| rest.to_vec())
        };
        // TPM_RC_INITIALIZE, if it has been started: what follows shows whether it is.
        let _ = run(&STARTUP_CLEAR);
        self.identity.become_azure(self.keeper.is_some(), &mut run).map(|()| is_placed).ok_or(Failure)
    }

    /// Runs `work` with the TPM and its hooks.
    pub fn with<R>(&mut self, work: impl FnOnce(&mut tpm_core::Tpm, &mut Hooks<'_>) -> R) -> R {
        let mut hooks = Hooks { entropy: &mut self.entropy, clock: &mut self.clock };
        work(&mut self.tpm, &mut hooks)
    }

    /// Provides an NV Index with these contents: the guest's NV memory has nothing of them.
    ///
    /// # Errors
    /// [`Failure`]: the TPM does not take the index.
    pub fn provide(&mut self, index: u32, contents: Vec<u8>) -> Result<(), Failure> {
        self.identity.provide(&mut self.tpm, index, contents)
    }

    /// Asks the operator's program for a certificate of the issuer of this boot, by which those of the TPM's keys lead
    /// to one of `authorities`. To be called before a guest runs.
    ///
    /// # Errors
    /// Why there is none: certificates are the firmware's own then.
    pub fn certify(
        &mut self,
        authorities: &Authorities,
        channel: &mut dyn Channel,
        reports: &Mutex<dyn Reports + '_>,
    ) -> Result<(), NotIssued> {
        let Self { tpm, entropy, clock, identity, .. } = self;
        identity.certify(tpm, entropy, reports, authorities, channel, &mut || clock.now_ms())
    }

    /// What has been made of keys and certificates.
    #[cfg(test)]
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Milliseconds since the start.
    pub fn now_ms(&mut self) -> u64 {
        self.clock.now_ms()
    }
}

impl<E: Entropy, C: Clock> svsm::Tpm for Platform<E, C> {
    /// The engine knows how much the guest's way of this command holds, and refuses by itself what is longer (through
    /// one page, what ML-DSA-65 and -87 need). A response that the caller's buffer cannot hold would become
    /// TPM_RC_SIZE.
    fn execute(&mut self, command: &[u8], response: &mut [u8]) -> usize {
        const TOO_LONG: [u8; 10] = Fmt1::SIZE.plain().response();
        self.tpm.set_buffer_size(response.len());
        let mut hooks = Hooks { entropy: &mut self.entropy, clock: &mut self.clock };
        let mut len =
            self.tpm.execute_with(&mut hooks, &self.identity, Locality::ZERO, command, &mut self.buffers.response);
        if !self.keep() {
            len = fail(&mut self.buffers.response);
        }
        let answer = self.buffers.response.get(..len).filter(|answer| answer.len() <= response.len());
        let answer = answer.unwrap_or(&TOO_LONG);
        response.iter_mut().zip(answer).for_each(|(to, from)| *to = *from);
        let len = answer.len();
        self.buffers.response.fill(0);
        len
    }

    fn buffers(&mut self) -> &mut Buffers {
        &mut self.buffers
    }

    fn execute_in_buffers(&mut self, command: usize, response: usize) -> usize {
        let Buffers { command: all, response: answer } = &mut *self.buffers;
        self.tpm.set_buffer_size(response);
        let mut hooks = Hooks { entropy: &mut self.entropy, clock: &mut self.clock };
        let command = all.get(..command).unwrap_or_default();
        let len = self.tpm.execute_with(&mut hooks, &self.identity, Locality::ZERO, command, answer);
        if self.keep() { len } else { fail(&mut self.buffers.response) }
    }

    fn kept(&self) -> Option<Kept> {
        self.keeper.as_ref().map(|keeper| keeper.kept())
    }

    fn endorsement_key(&mut self) -> Option<EndorsementKey> {
        let start = self.now_ms();
        let (key, is_new) = self.identity.endorsement_key(&self.tpm)?;
        let key = EndorsementKey::from_slice(key).ok()?;
        if is_new {
            (self.endorsed)(self.now_ms().saturating_sub(start));
        }
        Some(key)
    }

    fn keys(&mut self) -> Option<Vec<Vec<u8>>> {
        self.endorsement_key()?;
        self.identity.all(&self.tpm)
    }

    fn prepare(&mut self, command: &[u8], reports: &Mutex<dyn Reports + '_>) -> Result<(), Busy> {
        self.identity.prepare(&mut self.tpm, &mut self.entropy, command, reports)
    }

    fn prepare_in_buffers(&mut self, command: usize, reports: &Mutex<dyn Reports + '_>) -> Result<(), Busy> {
        let command = self.buffers.command.get(..command).unwrap_or_default();
        self.identity.prepare(&mut self.tpm, &mut self.entropy, command, reports)
    }
}

/// Puts the response of a TPM that fails in place of another; its length.
fn fail(response: &mut [u8]) -> usize {
    response.fill(0);
    response.iter_mut().zip(FAILURE).for_each(|(to, from)| *to = from);
    FAILURE.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svsm::Tpm;
    use crate::testing::{Counted, Stopped};
    use core::sync::atomic::{AtomicU32, Ordering};

    static MADE: AtomicU32 = AtomicU32::new(0);

    const STARTUP: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
    const PASSWORD: &[u8] = &[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];

    fn run(tpm: &mut impl Tpm, command: &[u8]) {
        let mut response = [0; 4087];
        let len = tpm.execute(command, &mut response);
        assert_eq!(response[6..10], [0; 4], "{:x?}", &response[..len]);
    }

    fn with_password(code: u8, handle: u32) -> std::vec::Vec<u8> {
        let head = [0x80, 2, 0, 0, 0, 27, 0, 0, 1, code];
        [&head, &handle.to_be_bytes()[..], PASSWORD].concat()
    }

    /// TPM2_GetCapability of TPM_PT_MAX_COMMAND_SIZE, the first of two properties; TPM_PT_MAX_RESPONSE_SIZE is the
    /// other.
    const SIZES: &[u8] = &[0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 6, 0, 0, 1, 0x1e, 0, 0, 0, 2];

    /// A guest with one page is told of one page, whatever another has sent in a list before.
    #[test]
    fn the_tpm_tells_each_caller_what_its_own_way_holds() {
        let mut tpm = Platform::manufacture(Counted(0), Stopped, |_| ()).ok().unwrap();
        run(&mut tpm, STARTUP);
        let size = |response: &[u8]| [&response[23..27], &response[31..35]].map(|size| size.to_vec());
        for _ in 0..2 {
            let mut page = [0; 4087];
            let len = tpm.execute(SIZES, &mut page);
            assert_eq!((len, size(&page)), (35, [4087_u32; 2].map(|size| size.to_be_bytes().to_vec())));
            for (room, told) in [(4096, 4096_u32), (8192, 8192)] {
                tpm.buffers().command[..SIZES.len()].copy_from_slice(SIZES);
                assert_eq!(tpm.execute_in_buffers(SIZES.len(), room), 35);
                assert_eq!(size(&tpm.buffers().response), [told; 2].map(|size| size.to_be_bytes().to_vec()));
            }
        }
    }

    /// Part 3, 24.5: TPM2_ChangeEPS makes other endorsement keys; TPM2_Clear does not (24.6).
    #[test]
    fn the_endorsement_key_is_made_once_for_each_seed() {
        let endorsed = |_| _ = MADE.fetch_add(1, Ordering::Relaxed);
        let mut tpm = Platform::manufacture(Counted(0), Stopped, endorsed).ok().unwrap();
        assert_eq!(MADE.load(Ordering::Relaxed), 0, "nobody has asked for it");
        let first = tpm.endorsement_key().unwrap();
        run(&mut tpm, STARTUP);
        run(&mut tpm, &with_password(0x26, 0x4000_000c));
        assert_eq!(tpm.endorsement_key().unwrap(), first);
        assert_eq!(MADE.load(Ordering::Relaxed), 1);
        run(&mut tpm, &with_password(0x24, 0x4000_000c));
        let second = tpm.endorsement_key().unwrap();
        assert_ne!(first, second);
        assert_eq!(MADE.load(Ordering::Relaxed), 2);
        let mut out = [0; tpm_core::MAX_EK_PUBLIC];
        let len = tpm.with(|tpm, _| tpm.endorsement_key(tpm_core::EkTemplate::Rsa2048, &mut out)).ok().unwrap();
        assert_eq!(out[..len], second[..]);
    }
}
