//! What a command is: what its implementation declares, and what is known of it from there.

use super::area::{HandleArea, Handles, ParamArea, ReplyArea, Role};
use super::call::Call;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::rc::Rc;
use crate::wire::{Handle, Reader, Writer};

/// A command of Part 3.
pub(crate) trait Command {
    /// TPM_CC.
    const CODE: u32;
    /// TPMA_CC.nv: the command may write to NV.
    const NV: bool = false;
    /// TPMA_CC.extensive: the command may flush any number of loaded contexts.
    const EXTENSIVE: bool = false;
    /// TPMA_CC.flushed: a loaded transient object of the handle area will be flushed.
    const FLUSHED: bool = false;
    /// The command changes what TPM2_Shutdown(STATE) saves, so that one before it no longer counts (Part 3, 9.4.1). A
    /// command for which that depends says so with `Tpm::void_shutdown`.
    const VOIDS_SHUTDOWN: bool = false;
    /// The command uses the value of Clock: that may have gone on since TPM2_Shutdown.
    const CLOCK: bool = false;
    /// Whether the command admits sessions at all (Part 3, its "Command" table has tag TPM_ST_NO_SESSIONS only).
    const SESSIONS: bool = true;
    /// Whether the command is admitted in read-only mode.
    const READ_ONLY: ReadOnly = ReadOnly::Admitted;
    /// Whether TPM2_PP_Commands can make the command need physical presence.
    const PRESENCE: Presence = Presence::Never;
    /// Whether TPM2_SetCommandCodeAuditStatus can let the command be audited.
    const AUDIT: Audit = Audit::Listed;
    /// The command starts the TPM: it comes before all others, and only once.
    const STARTS: bool = false;
    /// The command may come before the self-tests: it makes them, or tells of them.
    const UNTESTED: bool = false;
    /// Whether the command is executed in failure mode (Part 3, 5.3).
    const IN_FAILURE_MODE: bool = false;
    /// What kind of key the parameters bring, whose algorithms are tested before it is used.
    const KEY_PARAMETER: KeyParameter = KeyParameter::Nothing;
    /// What the command does with an NV Index, which decides on the attributes that admit an authorization.
    const INDEX: IndexUse = IndexUse::Other;
    /// The command proves the knowledge of an authValue: a policy must ask for that.
    const PROVES_SECRET: bool = false;
    /// The handle area.
    type Handles: HandleArea;
    /// The parameter area.
    type Params<'a>: ParamArea<'a>;
    /// The reply.
    type Reply<'t>: ReplyArea;
    /// The action, after authorization. An error leaves the TPM as it was.
    fn run<'t>(
        tpm: &'t mut Tpm,
        call: &'t Call<'_>,
        h: Self::Handles,
        p: Self::Params<'_>,
    ) -> Result<Self::Reply<'t>, Rc>;
}

/// Whether a command can be on the list of those that need physical presence (Part 3, 26.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    /// it never needs physical presence
    Never,
    /// it needs physical presence when it is on the list
    Listed,
    /// it always does, and always is on the list
    Always,
}

/// Whether a command can be audited (Part 3, 21.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Audit {
    /// it never is: that could not be recorded
    Never,
    /// it is when it is on the list
    Listed,
    /// it always is
    Always,
}

/// Which parameter of a command is a key, or becomes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KeyParameter {
    /// no key
    Nothing,
    /// a curve
    Ecc,
    /// a public area, in the second TPM2B of the parameters
    Public,
    /// a template, in the second TPM2B of the parameters, to which a policy may limit the command (Part 3, 23.21)
    Template,
}

/// What a command does with an NV Index (Part 2, 13.4: the attributes for reading and for writing).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IndexUse {
    /// it looks at its contents
    Reads,
    /// it writes it, or locks it for that
    Writes,
    /// neither: the attributes for reading apply
    Other,
}

/// Whether a command is admitted in read-only mode (Part 3, 24.9.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadOnly {
    /// always
    Admitted,
    /// never
    Refused,
    /// with an NV Index as second handle of which nothing outlives the mode
    PassingIndex,
    /// with anything but a PIN index as first handle, whose count would change
    NoPin,
}

/// What the pipeline knows of a command; made only by `of`, thus never out of step with it.
#[derive(Clone, Copy)]
pub(crate) struct CommandInfo {
    /// TPM_CC
    pub(crate) code: u32,
    /// the role of each handle
    pub(crate) roles: &'static [Role],
    /// the first parameter may be encrypted
    pub(crate) decrypt: bool,
    /// the first response parameter may be encrypted
    pub(crate) encrypt: bool,
    /// the response has a handle
    pub(crate) reply_handle: bool,
    /// sessions are admitted
    pub(crate) sessions: bool,
    /// a TPM2_Shutdown before the command no longer counts
    pub(crate) voids_shutdown: bool,
    /// the command uses Clock
    pub(crate) clock: bool,
    /// admitted in read-only mode
    pub(crate) read_only: ReadOnly,
    /// may need physical presence
    pub(crate) presence: Presence,
    /// may be audited
    pub(crate) audit: Audit,
    /// starts the TPM
    pub(crate) starts: bool,
    /// comes before the self-tests
    pub(crate) untested: bool,
    /// is executed in failure mode
    pub(crate) in_failure_mode: bool,
    /// the kind of key in the parameters
    pub(crate) key_parameter: KeyParameter,
    /// what it does with an NV Index
    pub(crate) index: IndexUse,
    /// proves the knowledge of an authValue
    pub(crate) proves_secret: bool,
    nv: bool,
    extensive: bool,
    flushed: bool,
    check_handles: fn(&[Handle]) -> Result<(), Rc>,
    run: fn(&mut Tpm, &Call, &[u8], &mut Reply<'_>) -> Result<(), Rc>,
    #[cfg(feature = "fuzz")]
    unmarshal: fn(&[u8]) -> Result<(), Rc>,
}

/// Where a reply goes.
pub(crate) struct Reply<'a> {
    /// the response handle
    pub(crate) handle: Option<Handle>,
    /// the response parameters
    pub(crate) parameters: Writer<'a>,
}

impl CommandInfo {
    /// All that the declaration says.
    pub(crate) const fn of<C: Command>() -> Self {
        Self {
            code: C::CODE,
            roles: C::Handles::ROLES,
            decrypt: <C::Params<'static> as ParamArea<'static>>::FIRST_SIZED,
            encrypt: <C::Reply<'static> as ReplyArea>::FIRST_SIZED,
            reply_handle: <C::Reply<'static> as ReplyArea>::HANDLE,
            sessions: C::SESSIONS,
            voids_shutdown: C::VOIDS_SHUTDOWN,
            clock: C::CLOCK,
            read_only: C::READ_ONLY,
            presence: C::PRESENCE,
            audit: C::AUDIT,
            starts: C::STARTS,
            untested: C::UNTESTED,
            in_failure_mode: C::IN_FAILURE_MODE,
            key_parameter: C::KEY_PARAMETER,
            index: C::INDEX,
            proves_secret: C::PROVES_SECRET,
            nv: C::NV,
            extensive: C::EXTENSIVE,
            flushed: C::FLUSHED,
            check_handles: |handles| C::Handles::from_handles(handles).map(drop),
            run: run::<C>,
            #[cfg(feature = "fuzz")]
            unmarshal: |parameters| C::Params::unmarshal(&mut Reader::new(parameters)).map(drop),
        }
    }

    /// TPMA_CC (Part 2, 8.9).
    #[expect(clippy::cast_possible_truncation, reason = "there are three handles at most")]
    pub(super) const fn attributes(&self) -> u32 {
        self.code
            | (self.nv as u32) << 22
            | (self.extensive as u32) << 23
            | (self.flushed as u32) << 24
            | (self.roles.len() as u32) << 25
            | (self.reply_handle as u32) << 28
    }

    /// Reads the handle area: VALUE or INSUFFICIENT at the first handle that is not right or not there.
    pub(crate) fn handles(&self, r: &mut Reader<'_>) -> Result<Handles, Rc> {
        let mut handles = Handles::new();
        for _ in self.roles {
            let Ok(handle) = r.get() else { break };
            handles.push(handle).map_err(|_| Fault::Capacity)?;
        }
        (self.check_handles)(&handles)?;
        Ok(handles)
    }

    /// Reads the parameters.
    #[cfg(feature = "fuzz")]
    pub(crate) fn unmarshal(&self, parameters: &[u8]) -> Result<(), Rc> {
        (self.unmarshal)(parameters)
    }

    /// Runs the action.
    pub(crate) fn run(&self, tpm: &mut Tpm, call: &Call, parameters: &[u8], reply: &mut Reply<'_>) -> Result<(), Rc> {
        (self.run)(tpm, call, parameters, reply)
    }
}

fn run<C: Command>(tpm: &mut Tpm, call: &Call, parameters: &[u8], reply: &mut Reply<'_>) -> Result<(), Rc> {
    let handles = C::Handles::from_handles(&call.handles)?;
    let params = C::Params::unmarshal(&mut Reader::new(parameters))?;
    let answer = C::run(tpm, call, handles, params)?;
    reply.handle = answer.handle();
    answer.marshal(&mut reply.parameters);
    Ok(())
}
