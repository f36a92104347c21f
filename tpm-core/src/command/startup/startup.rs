//! TPM2_Startup (Part 3, 9.3).

use crate::command::Command;
use crate::command::area::{Empty, handles, params};
use crate::pipeline::Call;
use crate::rc::{Fmt1, Rc};
use crate::state::{Orderly, StateClear, StateReset};
use crate::tpm::Tpm;
use crate::wire::{Reader, Unmarshal};

pub(crate) struct Startup;

/// TPM_SU (Part 2, 6.10).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Su {
    Clear,
    State,
}

impl Unmarshal<'_> for Su {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        match r.get::<u16>()? {
            0 => Ok(Self::Clear),
            1 => Ok(Self::State),
            _ => Err(Fmt1::VALUE),
        }
    }
}

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { startup_type: Su } }

impl Command for Startup {
    const CODE: u32 = 0x144;
    const NV: bool = true;
    const SESSIONS: bool = false;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `INITIALIZE`: TPM2_Startup was done since _TPM_Init
    /// - `LOCALITY`: neither locality 0 nor 3
    /// - `VALUE` at `startup_type`: TPM_SU_STATE without a state that TPM2_Shutdown(STATE) saved
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        if tpm.ram.started {
            return Err(Rc::INITIALIZE);
        }
        if !matches!(call.locality.get(), 0 | 3) {
            return Err(Rc::LOCALITY);
        }
        let orderly = tpm.persistent.orderly != Orderly::No;
        match (p.startup_type, tpm.persistent.orderly) {
            (Su::State, Orderly::State) => resume(tpm),
            (Su::State, _) => return Err(Fmt1::VALUE.at(Params::startup_type)),
            (Su::Clear, Orderly::State) => restart(tpm),
            (Su::Clear, _) => reset(tpm)?,
        }
        tpm.ram.clock_safe = orderly;
        tpm.ram.orderly_startup = orderly;
        tpm.persistent.orderly = Orderly::No;
        tpm.persistent.da_used = false;
        tpm.ram.started = true;
        Ok(Empty)
    }
}

/// TPM Resume: PCR come back as TPM2_Shutdown(STATE) saved them.
fn resume(tpm: &mut Tpm) {
    tpm.reset.restart_count = tpm.reset.restart_count.saturating_add(1);
    if let Some(saved) = tpm.clear.saved_pcrs.take() {
        tpm.ram.pcrs.resume(&saved);
    }
}

/// TPM Restart.
fn restart(tpm: &mut Tpm) {
    tpm.reset.restart_count = tpm.reset.restart_count.saturating_add(1);
    tpm.reset.clear_count = tpm.reset.clear_count.saturating_add(1);
    tpm.clear = StateClear::new();
    tpm.persistent.nv.startup_clear(true);
}

/// TPM Reset: a new NULL hierarchy; saved contexts cannot come back.
fn reset(tpm: &mut Tpm) -> Result<(), Rc> {
    tpm.reset = StateReset::new(&mut tpm.drbg).map_err(|_| tpm.fail())?;
    tpm.ram.sessions = crate::session::Sessions::new();
    tpm.clear = StateClear::new();
    tpm.persistent.reset_count = tpm.persistent.reset_count.wrapping_add(1);
    tpm.persistent.total_reset_count = tpm.persistent.total_reset_count.saturating_add(1);
    tpm.persistent.nv.startup_clear(tpm.persistent.orderly != Orderly::No);
    if tpm.persistent.orderly == Orderly::No && tpm.persistent.da_used {
        tpm.da_failure();
    }
    Ok(())
}
