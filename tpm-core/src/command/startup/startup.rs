//! TPM2_Startup (Part 3, 9.3).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::act::Acts;
use crate::data::pcr::Root;
use crate::data::state::{Orderly, StateClear, StateReset};
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::rc::{Fmt1, Rc};
use crate::wire::Su;

pub(crate) struct Startup;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { startup_type: Su } }

impl Command for Startup {
    const CODE: u32 = 0x144;
    const NV: bool = true;
    const SESSIONS: bool = false;
    const STARTS: bool = true;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `INITIALIZE`: TPM2_Startup was done since _TPM_Init
    /// - `LOCALITY`: neither locality 0 nor 3
    /// - `VALUE` at `startup_type`: TPM_SU_STATE without a state that TPM2_Shutdown(STATE) saved and nothing changed
    ///   since
    /// - `NV_UNINITIALIZED`: the saved state is not there: TPM_SU_CLEAR must follow. It cannot be provoked: what is
    ///   saved is saved as a whole
    /// - `LOCALITY`: TPM_SU_STATE with an H-CRTM event, and none at the start before, or the other way round; or at
    ///   another locality than that
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        if tpm.ram.started {
            return Err(Rc::INITIALIZE);
        }
        let root = root(tpm, call)?;
        let orderly = tpm.persistent.orderly;
        if p.startup_type == Su::State {
            check_saved(tpm, orderly, root)?;
        }
        let mut epoch = [0; 8];
        tpm.random(&mut epoch)?;
        tpm.ram.root = root;
        match (p.startup_type, orderly) {
            (Su::State, _) => resume(tpm),
            (Su::Clear, Orderly::State) => restart(tpm),
            (Su::Clear, _) => reset(tpm, orderly == Orderly::Clear)?,
        }
        tpm.ram.time_epoch = u64::from_be_bytes(epoch);
        let orderly = orderly != Orderly::No;
        tpm.ram.clock_safe = orderly && tpm.persistent.saved_clock_safe;
        tpm.ram.orderly_startup = orderly;
        tpm.clear.change().platform_enabled = true;
        tpm.da_startup(orderly);
        tpm.persistent.change().orderly = Orderly::No;
        tpm.ram.started = true;
        Ok(Empty)
    }
}

/// From where PCR are measured: an H-CRTM event counts more than the locality.
fn root(tpm: &Tpm, call: &Call) -> Result<Root, Rc> {
    match call.locality.get() {
        0 | 3 if tpm.ram.root == Root::HCrtm => Ok(Root::HCrtm),
        0 => Ok(Root::Locality0),
        3 => Ok(Root::Locality3),
        _ => Err(Rc::LOCALITY),
    }
}

fn check_saved(tpm: &Tpm, orderly: Orderly, root: Root) -> Result<(), Rc> {
    if orderly != Orderly::State {
        return Err(Fmt1::VALUE.at(Params::startup_type));
    }
    if tpm.clear.saved_pcrs.is_none() {
        return Err(Rc::NV_UNINITIALIZED);
    }
    if tpm.clear.saved_root == root { Ok(()) } else { Err(Rc::LOCALITY) }
}

/// TPM Resume: PCR come back as TPM2_Shutdown(STATE) saved them, and ACT go on.
fn resume(tpm: &mut Tpm) {
    let reset = tpm.reset.change();
    reset.restart_count = reset.restart_count.saturating_add(1);
    tpm.ram.acts.resume(&tpm.clear.saved_acts, tpm.ram.time_ms);
    let saved = tpm.clear.change().saved_pcrs.take();
    tpm.start_pcrs(saved.as_ref());
}

/// TPM Restart.
fn restart(tpm: &mut Tpm) {
    let reset = tpm.reset.change();
    reset.restart_count = reset.restart_count.saturating_add(1);
    reset.clear_count = reset.clear_count.saturating_add(1);
    clear(tpm);
    tpm.persistent.change().nv.restart();
}

/// TPM Reset: a new NULL hierarchy; saved contexts cannot come back.
fn reset(tpm: &mut Tpm, orderly: bool) -> Result<(), Fault> {
    let fresh = StateReset::new(&mut tpm.drbg).map_err(|_| Fault::NoRandom)?;
    *tpm.reset.change() = fresh;
    tpm.ram.sessions.end();
    clear(tpm);
    let persistent = tpm.persistent.change();
    persistent.reset_count = persistent.reset_count.wrapping_add(1);
    persistent.total_reset_count = persistent.total_reset_count.saturating_add(1);
    persistent.nv.reset(orderly);
    Ok(())
}

/// What TPM Reset and TPM Restart have in common.
fn clear(tpm: &mut Tpm) {
    *tpm.clear.change() = StateClear::new();
    tpm.ram.acts = Acts::new();
    tpm.start_pcrs(None);
}
