//! The states of the interface, and what leads from one to another: the one place that knows.

/// Where a command is (PTP 1.07, 6.5.3.10, "Interface Controls").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nothing is going on; the buffers are wiped. Registers show tpmIdle.
    Idle,
    /// A command may be written.
    Ready,
    /// Octets of a command have been written.
    Reception,
    /// START was written, and the response is not there yet.
    Execution,
    /// The response is there.
    Completion,
}

/// What happens to the interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// TPM_CRB_CTRL_REQ.cmdReady
    CmdReady,
    /// TPM_CRB_CTRL_REQ.goIdle
    GoIdle,
    /// a write to the data buffer
    Data,
    /// TPM_CRB_CTRL_START.nextChunk
    NextChunk,
    /// TPM_CRB_CTRL_START.crbRspRetry
    Retry,
    /// TPM_CRB_CTRL_START.Start
    Start,
    /// TPM_CRB_CTRL_CANCEL
    Cancel,
    /// the engine has answered
    Answer,
}

/// Where the host writes commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// Into the data buffer: the device sees each write.
    Each,
    /// Into guest memory: the device sees nothing before START.
    Nothing,
}

/// The state that follows; none where the event is no transition, and is ignored. Buffers in guest memory know no
/// Command Reception: the device cannot see it, from Ready or, as CapCRBIdleBypass has it, from Completion.
pub(crate) const fn next(state: State, event: Event, seen: Seen) -> Option<State> {
    use Event::{Answer, Cancel, CmdReady, Data, GoIdle, NextChunk, Retry, Start};
    use State::{Completion, Execution, Idle, Ready, Reception};
    match (state, event) {
        (Idle | Ready | Completion, CmdReady) => Some(Ready),
        (Ready | Reception | Completion, GoIdle) => Some(Idle),
        (Ready | Reception | Completion, Data) => Some(Reception),
        (Reception, NextChunk) => Some(Reception),
        (Completion, NextChunk | Retry) => Some(Completion),
        (Reception, Start) => Some(Execution),
        (Ready | Completion, Start) if matches!(seen, Seen::Nothing) => Some(Execution),
        (Execution, Cancel) => Some(Execution),
        (Execution, Answer) => Some(Completion),
        _ => None,
    }
}
