//! The TPM, as the server sees it.

use crate::folder::Folder;
use crate::hooks::Platform;
use anyhow::{Context, Result, anyhow};
use core::sync::atomic::AtomicBool;
use std::path::Path;
use std::sync::Arc;
use tpm_core::profile::{MAX_COMMAND_SIZE, MIN_BUFFER_SIZE};
use tpm_core::rc::Rc;
use tpm_core::store::{MAX_RECORD_SIZE, Store, StoreError};
use tpm_core::{Fault, Locality, MAX_STATE_SIZE, StateError, StateForm, Tpm};
use xtask::server::{Backend, BufferSizes, StateBlob};

/// `TPM_RC_FAILURE`.
const FAILURE: [u8; 10] = Rc::failure(Fault::Platform).response();

/// The TPM and its surroundings.
pub(crate) struct Engine {
    tpm: Box<Tpm>,
    platform: Platform,
    /// There was a measured launch.
    established: bool,
    kept: Option<Kept>,
    brought: Option<Brought>,
    /// At an orderly end of the platform there is a TPM2_Shutdown.
    shuts_down: bool,
    canceled: Arc<AtomicBool>,
    /// Octets of commands and responses.
    buffer_size: usize,
}

/// Where the state is kept.
struct Kept {
    folder: Folder,
    /// None after it could not be loaded.
    store: Option<Store<Folder>>,
    buffer: Vec<u8>,
}

/// A TPM of a state that a client has brought, until the next reset.
struct Brought {
    tpm: Box<Tpm>,
    /// It was brought with what is lost without power.
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
        Ok(Self {
            tpm,
            platform,
            established: false,
            kept,
            brought: None,
            shuts_down: true,
            canceled: Arc::default(),
            buffer_size: MAX_COMMAND_SIZE,
        })
    }

    /// One for which an orderly end of the platform is as the loss of power.
    pub(crate) fn without_shutdown(self) -> Self {
        Self { shuts_down: false, ..self }
    }

    /// Saves what must survive the loss of power. If that fails the TPM is in failure mode, since what it holds may be
    /// lost with the power: nothing more is saved until the next reset, which begins with what was saved last. Whether
    /// what the TPM says may be said.
    fn save(&mut self) -> bool {
        let Some(kept) = &mut self.kept else { return true };
        if self.tpm.is_in_failure_mode() {
            return true;
        }
        match kept.save(&mut self.tpm) {
            Ok(()) => true,
            Err(error) => {
                eprintln!("the TPM fails until its next reset, since its state cannot be saved: {error:#}");
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
        let mut kept = Self { folder, store: None, buffer: vec![0; MAX_RECORD_SIZE] };
        let marked = kept.folder.is_marked()?;
        let tpm = if !marked && kept.folder.is_empty()? {
            kept.store = Some(kept.find()?.0);
            let mut tpm = manufacture(platform)?;
            kept.save(&mut tpm)?;
            eprintln!("a new TPM is made in {}", path.display());
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

    /// The store, and the state in it.
    fn find(&mut self) -> Result<(Store<Folder>, Option<&[u8]>)> {
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
        self.store = Some(store);
        Ok(tpm)
    }

    fn save(&mut self, tpm: &mut Tpm) -> Result<()> {
        let store = self.store.as_mut().context("there is nothing to save it to")?;
        store.save(tpm, &mut self.buffer).map(drop).map_err(|error| match error {
            StoreError::Disk(error) => error,
            other => anyhow!("{other:?}"),
        })
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
        if let Some(brought) = self.brought.take() {
            self.tpm = brought.tpm;
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
                    eprintln!("the TPM that has failed cannot be loaded again: {error:#}");
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
        if bytes.is_empty() || blob == StateBlob::Saved || (!whole && self.brought.as_ref().is_some_and(|b| b.whole)) {
            return Ok(());
        }
        // If this part is refused, none of the others counts.
        self.brought = None;
        let tpm = import(bytes, &mut self.platform).map_err(|error| anyhow!("no such state: {error}"))?;
        self.brought = Some(Brought { tpm, whole });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Backend, Engine, FAILURE, StateBlob};
    use std::fs;
    use std::path::{Path, PathBuf};

    const STARTUP: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
    /// Extends PCR 16.
    const EVENT: &[u8] = b"\x80\x02\0\0\0\x1f\0\0\x01\x3c\0\0\0\x10\0\0\0\x09\x40\0\0\x09\0\0\0\0\0\0\x02hi";
    const READ: &[u8] = &[0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e, 0, 0, 0, 1, 0, 0xb, 3, 0, 0, 1];
    const RANDOM: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8];
    /// TPM2_SetAlgorithmSet changes what lasts.
    fn set(number: u8) -> Vec<u8> {
        let mut command = b"\x80\x02\0\0\0\x1f\0\0\x01\x3f\x40\0\0\x0c\0\0\0\x09\x40\0\0\x09\0\0\0\0\0\0\0\0".to_vec();
        command.push(number);
        command
    }

    /// What it changes.
    fn number(engine: &mut Engine) -> u8 {
        let command = [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 6, 0, 0, 2, 12, 0, 0, 0, 1];
        let answer = engine.execute(0, &command).unwrap();
        answer[answer.len() - 1]
    }

    fn engine(path: &Path) -> Engine {
        Engine::new(None, Some(path)).unwrap()
    }

    fn refused(path: &Path) -> String {
        match Engine::new(None, Some(path)) {
            Ok(_) => panic!("a TPM"),
            Err(error) => format!("{error:#}"),
        }
    }

    /// With the stack that a connection has.
    fn roomy(test: fn()) {
        std::thread::Builder::new().stack_size(16 << 20).spawn(test).unwrap().join().unwrap();
    }

    fn place() -> (xtask::qemu::Folder, PathBuf) {
        let place = xtask::qemu::Folder::new().unwrap();
        let path = place.path().join("tpm");
        (place, path)
    }

    #[test]
    fn a_migrated_tpm_goes_on_and_a_kept_one_starts_again() {
        roomy(|| {
            let mut first = Engine::new(Some("one"), None).unwrap();
            first.execute(0, STARTUP).unwrap();
            first.execute(0, EVENT).unwrap();
            let value = first.execute(0, READ).unwrap();
            let volatile = first.state(StateBlob::Volatile).unwrap();
            let permanent = first.state(StateBlob::Permanent).unwrap();
            assert!(first.state(StateBlob::Saved).unwrap().is_empty());

            let mut second = Engine::new(Some("two"), None).unwrap();
            second.set_state(StateBlob::Permanent, &permanent).unwrap();
            second.set_state(StateBlob::Volatile, &volatile).unwrap();
            second.set_state(StateBlob::Saved, b"").unwrap();
            assert!(second.reset());
            assert_eq!(second.execute(0, READ).unwrap(), value, "it goes on");
            assert!(second.reset());
            assert_eq!(second.execute(0, RANDOM).unwrap()[6..], [0, 0, 1, 0], "TPM2_Startup is to come");

            second.set_state(StateBlob::Permanent, &permanent).unwrap();
            assert!(second.reset());
            assert_eq!(second.execute(0, STARTUP).unwrap()[6..], [0; 4]);
            assert!(second.set_state(StateBlob::Permanent, &permanent[1..]).is_err());
            assert!(second.reset());
            assert_eq!(second.execute(0, STARTUP).unwrap()[6..], [0; 4], "a state that is refused changes nothing");
        });
    }

    #[test]
    fn the_state_is_in_its_folder_before_the_response_and_only_if_it_changed() {
        roomy(|| {
            let (_place, path) = place();
            let mut tpm = engine(&path);
            tpm.execute(0, STARTUP).unwrap();
            let started = fs::read(path.join("state")).unwrap();
            for command in [RANDOM, EVENT, READ] {
                assert_eq!(tpm.execute(0, command).unwrap()[6..10], [0; 4]);
            }
            assert!(fs::read(path.join("state")).unwrap() == started);
            for n in 1..5 {
                assert_eq!(tpm.execute(0, &set(n)).unwrap()[6..10], [0; 4]);
                // As if the server were killed here.
                let copy = path.with_file_name(format!("copy {n}"));
                fs::create_dir(&copy).unwrap();
                for name in ["state", "README"] {
                    fs::copy(path.join(name), copy.join(name)).unwrap();
                }
                let mut tpm = engine(&copy);
                tpm.execute(0, STARTUP).unwrap();
                assert_eq!(number(&mut tpm), n);
            }
        });
    }

    #[test]
    fn a_state_that_cannot_be_saved_fails_the_command_and_the_tpm_until_its_reset() {
        roomy(|| {
            let (_place, path) = place();
            let mut tpm = engine(&path);
            tpm.execute(0, STARTUP).unwrap();
            assert_eq!(tpm.execute(0, &set(1)).unwrap()[6..10], [0; 4]);
            fs::create_dir(path.join("state.new")).unwrap();
            assert_eq!(tpm.execute(0, RANDOM).unwrap()[6..10], [0; 4], "nothing is to be saved");
            assert_eq!(tpm.execute(0, &set(2)).unwrap(), FAILURE);
            fs::remove_dir(path.join("state.new")).unwrap();
            assert_eq!(tpm.execute(0, RANDOM).unwrap(), FAILURE);
            assert!(tpm.reset());
            tpm.execute(0, STARTUP).unwrap();
            assert_eq!(number(&mut tpm), 1, "as before the command");
            assert_eq!(tpm.execute(0, &set(3)).unwrap()[6..10], [0; 4]);
            drop(tpm);
            let mut tpm = engine(&path);
            tpm.execute(0, STARTUP).unwrap();
            assert_eq!(number(&mut tpm), 3);
            // What has failed is not loaded from a folder that has lost it.
            tpm.fail();
            fs::remove_file(path.join("state")).unwrap();
            assert!(!tpm.reset());
        });
    }

    #[test]
    fn what_was_lost_is_not_made_anew() {
        roomy(|| {
            let (_place, path) = place();
            drop(engine(&path));
            let state = fs::read(path.join("state")).unwrap();
            for length in (1..state.len()).step_by(101) {
                fs::write(path.join("state"), &state[..length]).unwrap();
                assert!(refused(&path).contains("damaged"));
            }
            for bit in (0..8 * state.len()).step_by(997) {
                let mut flipped = state.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                fs::write(path.join("state"), flipped).unwrap();
                assert!(refused(&path).contains("damaged"), "bit {bit}");
            }
            fs::write(path.join("state"), b"").unwrap();
            assert!(refused(&path).contains("empty"));
            fs::remove_file(path.join("state")).unwrap();
            assert!(refused(&path).contains("no state"));
            fs::write(path.join("state.new"), &state).unwrap();
            assert!(refused(&path).contains("no state"), "what was never renamed does not count");
            // Whose folder this is, nobody knows.
            fs::remove_file(path.join("README")).unwrap();
            fs::write(path.join("letter.txt"), b"").unwrap();
            assert!(refused(&path).contains("none is made there"));
            fs::remove_file(path.join("letter.txt")).unwrap();
            drop(engine(&path));
            // The server was killed before it could mark the folder.
            fs::remove_file(path.join("README")).unwrap();
            drop(engine(&path));
            assert!(path.join("README").exists());
        });
    }

    /// Defines an index with authValue "pw" under dictionary-attack protection, and uses it.
    fn use_protected(engine: &mut Engine) {
        let define = b"\x80\x02\0\0\0\x2f\0\0\x01\x2a\x40\0\0\x01\0\0\0\x09\x40\0\0\x09\0\0\0\0\0\0\x02pw\0\x0e\x01\x50\0\0\0\x0b\0\x04\0\x04\0\0\0\x01";
        let write =
            b"\x80\x02\0\0\0\x26\0\0\x01\x37\x01\x50\0\0\x01\x50\0\0\0\0\0\x0b\x40\0\0\x09\0\0\0\0\x02pw\0\x01x\0\0";
        engine.execute(0, define).unwrap();
        assert_eq!(engine.execute(0, write).unwrap()[6..10], [0; 4]);
    }

    /// TPM_PT_LOCKOUT_COUNTER.
    fn failed_tries(engine: &mut Engine) -> u8 {
        let command = [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 6, 0, 0, 2, 14, 0, 0, 0, 1];
        let answer = engine.execute(0, &command).unwrap();
        answer[answer.len() - 1]
    }

    #[test]
    fn an_orderly_end_of_the_platform_costs_no_try_unless_it_is_turned_off() {
        roomy(|| {
            let (_place, path) = place();
            let mut tries = 0;
            for (shuts_down, ends) in [(true, true), (true, false), (false, true), (false, false)] {
                let mut tpm = engine(&path);
                tpm = if shuts_down { tpm } else { tpm.without_shutdown() };
                tpm.execute(0, STARTUP).unwrap();
                assert_eq!(failed_tries(&mut tpm), tries);
                use_protected(&mut tpm);
                if ends {
                    tpm.shut_down();
                }
                tries += u8::from(!(shuts_down && ends));
            }
            let mut tpm = engine(&path);
            tpm.execute(0, STARTUP).unwrap();
            assert_eq!(failed_tries(&mut tpm), 3);
            // The same server goes on, as after swtpm's INIT.
            use_protected(&mut tpm);
            tpm.shut_down();
            assert!(tpm.reset());
            tpm.execute(0, STARTUP).unwrap();
            assert_eq!(failed_tries(&mut tpm), 3);
        });
    }

    #[test]
    fn a_state_that_is_brought_is_kept() {
        roomy(|| {
            let (_place, path) = place();
            let mut other = Engine::new(None, None).unwrap();
            other.execute(0, STARTUP).unwrap();
            other.execute(0, &set(7)).unwrap();
            let permanent = other.state(StateBlob::Permanent).unwrap();
            let mut tpm = engine(&path);
            tpm.set_state(StateBlob::Permanent, &permanent).unwrap();
            assert!(tpm.reset());
            drop(tpm);
            let mut tpm = engine(&path);
            tpm.execute(0, STARTUP).unwrap();
            assert_eq!(number(&mut tpm), 7);
        });
    }
}
