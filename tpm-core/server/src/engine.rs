//! The TPM, as the server sees it.

use crate::folder::Folder;
use crate::hooks::Platform;
use anyhow::{Context, Result, anyhow, bail, ensure};
use core::sync::atomic::AtomicBool;
use std::path::Path;
use std::sync::Arc;
use tpm_core::profile::{MAX_COMMAND_SIZE, MIN_BUFFER_SIZE};
use tpm_core::rc::Rc;
use tpm_core::store::{MAX_RECORD_SIZE, Store, StoreError};
use tpm_core::{Fault, Locality, MAX_STATE_SIZE, StateError, StateForm, Tpm};
use tpm_ports::{Backend, BufferSizes, Resting, StateBlob};

/// `TPM_RC_FAILURE`.
const FAILURE: [u8; 10] = Rc::failure(Fault::Platform).response();

/// The TPM and its surroundings.
pub(crate) struct Engine {
    tpm: Box<Tpm>,
    platform: Platform,
    /// There was a measured launch.
    established: bool,
    kept: Option<Kept>,
    imported: Option<Imported>,
    /// At an orderly end of the platform there is a TPM2_Shutdown.
    shuts_down: bool,
    /// Nothing is saved but by [`Engine::commit`].
    held: bool,
    canceled: Arc<AtomicBool>,
    /// Octets of commands and responses.
    buffer_size: usize,
}

/// Where the state is kept.
struct Kept {
    folder: Folder,
    /// None after it could not be loaded.
    store: Option<Store<Folder>>,
    /// As long as the last state needed.
    buffer: Vec<u8>,
}

/// Octets of the first buffer of a TPM: most states are shorter.
const FIRST_BUFFER: usize = 16 << 10;

/// A TPM that rests: all but itself, and its state.
struct Rested {
    state: Vec<u8>,
    platform: Platform,
    established: bool,
    kept: Option<Kept>,
    shuts_down: bool,
    buffer_size: usize,
}

impl Resting for Rested {
    fn wake(mut self: Box<Self>) -> Result<Box<dyn Backend>> {
        let tpm = import(&self.state, &mut self.platform).map_err(|error| anyhow!("its state is refused: {error}"));
        self.state.fill(0);
        let Self { platform, established, kept, shuts_down, buffer_size, .. } = *self;
        let mut engine = Engine { established, shuts_down, ..Engine::of(tpm?, platform, kept) };
        engine.set_buffer_size(u32::try_from(buffer_size)?);
        Ok(Box::new(engine))
    }
}

/// A TPM of a state that a client has set, until the next reset.
struct Imported {
    tpm: Box<Tpm>,
    /// The state had what is lost without power.
    whole: bool,
}

impl Engine {
    /// A new TPM, or the one in the folder `state`.
    pub(crate) fn new(seed: Option<&str>, state: Option<&Path>) -> Result<Self> {
        let mut platform = Platform::new(seed);
        let (tpm, kept) = match state {
            None => (manufacture(&mut platform)?, None),
            Some(path) => {
                let (tpm, kept) = Kept::open(path, &mut platform)?;
                (tpm, Some(kept))
            }
        };
        Ok(Self::of(tpm, platform, kept))
    }

    /// A new TPM for a folder, where it takes the place of one that is there when it is [committed](Self::commit).
    pub(crate) fn replacing(state: &Path) -> Result<Self> {
        let mut platform = Platform::new(None);
        let mut kept = Kept { folder: Folder::open(state)?, store: None, buffer: Vec::new() };
        ensure!(kept.folder.has_tpm()? || kept.folder.is_empty()?, "something else is in {}", state.display());
        kept.begin()?;
        let tpm = manufacture(&mut platform)?;
        Ok(Self::of(tpm, platform, Some(kept)))
    }

    /// Whether there is a TPM in a folder, be it lost; there need not be a folder.
    pub(crate) fn is_in(state: &Path) -> Result<bool> {
        if state.try_exists().with_context(|| format!("cannot look at {}", state.display()))? {
            Folder::open(state)?.has_tpm()
        } else {
            Ok(false)
        }
    }

    fn of(tpm: Box<Tpm>, platform: Platform, kept: Option<Kept>) -> Self {
        Self {
            tpm,
            platform,
            established: false,
            kept,
            imported: None,
            shuts_down: true,
            held: false,
            canceled: Arc::default(),
            buffer_size: MAX_COMMAND_SIZE,
        }
    }

    /// One for which an orderly end of the platform is as the loss of power.
    pub(crate) fn without_shutdown(self) -> Self {
        Self { shuts_down: false, ..self }
    }

    /// One that saves nothing until [`Engine::commit`].
    pub(crate) fn held(self) -> Self {
        Self { held: true, ..self }
    }

    /// Shuts the TPM down, and saves all that was done since it was [held](Self::held), at once.
    pub(crate) fn commit(mut self) -> Result<()> {
        ensure!(!self.tpm.is_in_failure_mode(), "the TPM has failed: nothing is saved");
        self.tpm.shut_down(&mut self.platform.hooks());
        let kept = self.kept.as_mut().context("there is nothing to save it to")?;
        kept.save(&self.tpm).context("the TPM cannot be saved, and is as it was")?;
        if kept.folder.is_marked()? { Ok(()) } else { kept.folder.mark() }
    }

    /// Saves what must survive the loss of power. If that fails the TPM is in failure mode, since what it holds may be
    /// lost with the power: nothing more is saved until the next reset, which begins with what was saved last. Whether
    /// what the TPM says may be said.
    fn save(&mut self) -> bool {
        let Some(kept) = &mut self.kept else { return true };
        if self.held || self.tpm.is_in_failure_mode() {
            return true;
        }
        match kept.save(&self.tpm) {
            Ok(()) => true,
            Err(error) => {
                log::error!("the TPM fails until its next reset, since its state cannot be saved: {error:#}");
                self.tpm.enter_failure_mode();
                false
            }
        }
    }
}

fn manufacture(platform: &mut Platform) -> Result<Box<Tpm>> {
    let mut tpm = Box::new(Tpm::blank());
    tpm.manufacture(&mut platform.hooks()).map_err(|_| anyhow!("there is no entropy"))?;
    Ok(tpm)
}

fn import(state: &[u8], platform: &mut Platform) -> Result<Box<Tpm>, StateError> {
    let mut tpm = Box::new(Tpm::blank());
    tpm.import(state, &mut platform.hooks())?;
    Ok(tpm)
}

impl Kept {
    /// The TPM in a folder, or a new one in a new folder.
    fn open(path: &Path, platform: &mut Platform) -> Result<(Box<Tpm>, Self)> {
        let folder = Folder::open(path)?;
        let mut kept = Self { folder, store: None, buffer: Vec::new() };
        let marked = kept.folder.is_marked()?;
        let tpm = if !marked && kept.folder.is_empty()? {
            kept.begin()?;
            let tpm = manufacture(platform)?;
            kept.save(&tpm)?;
            log::info!("a new TPM is made in {}", path.display());
            tpm
        } else {
            kept.load(platform)
                .with_context(|| format!("no TPM is taken from {}, and none is made there", path.display()))?
        };
        if !marked {
            kept.folder.mark()?;
        }
        Ok((tpm, kept))
    }

    /// The store, in which nothing is looked for.
    fn begin(&mut self) -> Result<()> {
        self.store = Some(self.find()?.0);
        self.buffer = vec![0; FIRST_BUFFER];
        Ok(())
    }

    /// The store, and the state in it, for which there is room now.
    fn find(&mut self) -> Result<(Store<Folder>, Option<&[u8]>)> {
        self.buffer = vec![0; MAX_RECORD_SIZE];
        Store::open(self.folder.clone(), &mut self.buffer).map_err(|error| match error {
            StoreError::Disk(error) => error,
            other => anyhow!("its state is damaged ({other:?})"),
        })
    }

    /// The TPM that was saved last.
    fn load(&mut self, platform: &mut Platform) -> Result<Box<Tpm>> {
        self.store = None;
        let (store, state) = self.find()?;
        let state = state.context("there is no state in it")?;
        let tpm = import(state, platform).map_err(|error| anyhow!("its state is refused: {error}"))?;
        self.buffer.fill(0);
        self.buffer = vec![0; FIRST_BUFFER];
        self.store = Some(store);
        Ok(tpm)
    }

    fn save(&mut self, tpm: &Tpm) -> Result<()> {
        let store = self.store.as_mut().context("there is nothing to save it to")?;
        loop {
            match store.save(tpm, &mut self.buffer) {
                Ok(_) => return Ok(()),
                Err(StoreError::State(StateError::Room(_))) if self.buffer.len() < MAX_RECORD_SIZE => {
                    let more = self.buffer.len().saturating_mul(2).clamp(FIRST_BUFFER, MAX_RECORD_SIZE);
                    self.buffer.fill(0);
                    self.buffer = vec![0; more];
                }
                Err(StoreError::Disk(error)) => return Err(error),
                Err(other) => bail!("{other:?}"),
            }
        }
    }
}

impl Backend for Engine {
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>> {
        let locality = Locality::new(locality).context("there are no localities from 5 to 31")?;
        let mut response = vec![0; tpm_core::profile::MAX_RESPONSE_SIZE];
        let hooks = &mut self.platform.hooks();
        let length = self.tpm.execute_unless(hooks, locality, command, &mut response, &self.canceled);
        response.truncate(length);
        Ok(if self.save() { response } else { FAILURE.to_vec() })
    }

    fn buffer_sizes(&self) -> BufferSizes {
        let octets = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        BufferSizes { now: octets(self.buffer_size), least: octets(MIN_BUFFER_SIZE), most: octets(MAX_COMMAND_SIZE) }
    }

    fn set_buffer_size(&mut self, octets: u32) {
        self.buffer_size = usize::try_from(octets).map_or(MAX_COMMAND_SIZE, |octets| octets);
        self.tpm.set_buffer_size(self.buffer_size);
    }

    fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.canceled)
    }

    fn reset(&mut self) -> bool {
        if let Some(imported) = self.imported.take() {
            self.tpm = imported.tpm;
            self.tpm.set_buffer_size(self.buffer_size);
            return self.save();
        }
        match self.kept.as_mut().filter(|_| self.tpm.is_in_failure_mode()) {
            None => self.tpm.init(&mut self.platform.hooks()),
            Some(kept) => match kept.load(&mut self.platform) {
                Ok(tpm) => {
                    self.tpm = tpm;
                    self.tpm.set_buffer_size(self.buffer_size);
                }
                Err(error) => {
                    log::error!("the TPM that has failed cannot be loaded again: {error:#}");
                    return false;
                }
            },
        }
        true
    }

    fn shut_down(&mut self) {
        if self.shuts_down {
            self.tpm.shut_down(&mut self.platform.hooks());
            self.save();
        }
    }

    fn hash_start(&mut self) -> bool {
        self.tpm.hash_start();
        true
    }

    fn hash_data(&mut self, data: &[u8]) -> bool {
        self.tpm.hash_data(data);
        true
    }

    fn hash_end(&mut self) -> bool {
        let ended = self.tpm.hash_end();
        self.established |= ended;
        ended && self.save()
    }

    fn set_physical_presence(&mut self, asserted: bool) -> bool {
        self.tpm.set_physical_presence(asserted);
        true
    }

    fn fail(&mut self) -> bool {
        self.tpm.enter_failure_mode();
        true
    }

    fn act_signaled(&mut self, act: u32) -> bool {
        /// `TPM_RH_ACT_0`.
        const FIRST: u32 = 0x4000_0110;
        act.checked_sub(FIRST).and_then(|n| u8::try_from(n).ok()).is_some_and(|n| self.tpm.act_signaled(n))
    }

    fn established(&mut self) -> bool {
        self.established
    }

    fn reset_established(&mut self) -> bool {
        self.established = false;
        true
    }

    fn has_state(&self) -> bool {
        true
    }

    /// What `TPM2_Shutdown` has saved is in the permanent part, and the volatile part is the whole.
    fn state(&mut self, blob: StateBlob) -> Result<Vec<u8>> {
        let form = match blob {
            StateBlob::Permanent => StateForm::PoweredOff,
            StateBlob::Volatile => StateForm::Whole,
            StateBlob::Saved => return Ok(Vec::new()),
        };
        let mut state = vec![0; MAX_STATE_SIZE];
        let length = self.tpm.export(form, &mut state).map_err(|error| anyhow!("no state: {error}"))?;
        state.truncate(length);
        Ok(state)
    }

    /// It counts from the reset that follows. Beside the volatile part, which is the whole, nothing else does.
    fn set_state(&mut self, blob: StateBlob, bytes: &[u8]) -> Result<()> {
        let whole = blob == StateBlob::Volatile;
        if bytes.is_empty() || blob == StateBlob::Saved || (!whole && self.imported.as_ref().is_some_and(|b| b.whole)) {
            return Ok(());
        }
        // If this part is refused, none of the others counts.
        self.imported = None;
        let tpm = import(bytes, &mut self.platform).map_err(|error| anyhow!("no such state: {error}"))?;
        self.imported = Some(Imported { tpm, whole });
        Ok(())
    }

    fn rest(mut self: Box<Self>) -> Result<Box<dyn Resting>> {
        ensure!(!self.tpm.is_in_failure_mode(), "it has failed");
        let state = self.state(StateBlob::Volatile)?;
        let Self { platform, established, kept, shuts_down, buffer_size, .. } = *self;
        // No longer than it is, where `state` had room for any.
        let state = state.as_slice().to_vec();
        Ok(Box::new(Rested { state, platform, established, kept, shuts_down, buffer_size }))
    }
}

#[cfg(test)]
mod tests;
