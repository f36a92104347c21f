//! Which commands a state of the TPM admits.

use crate::command::interface::{CommandInfo, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::Handle;

impl Tpm {
    /// Whether the command may be executed in this state (Part 3, 5.3).
    ///
    /// - `FAILURE`: in failure mode, all but TPM2_GetTestResult and TPM2_GetCapability without sessions
    /// - `READ_ONLY`: in read-only mode, what is never admitted there
    /// - `INITIALIZE`: before TPM2_Startup anything else, and that one after it
    pub(super) fn admit(&self, info: &CommandInfo, sessions: bool) -> Result<(), Rc> {
        if let Some(fault) = self.ram.fault {
            return if !sessions && info.in_failure_mode { Ok(()) } else { Err(fault.into()) };
        }
        if self.clear.read_only && info.read_only == ReadOnly::Refused {
            return Err(Rc::READ_ONLY);
        }
        if self.ram.started == info.starts { Err(Rc::INITIALIZE) } else { Ok(()) }
    }

    /// Whether read-only mode admits the command with these handles: that is asked before any authorization is checked
    /// (Part 1, 42.2).
    ///
    /// - `READ_ONLY`: in read-only mode, and something would change that outlives it
    pub(super) fn admit_handles(&self, info: &CommandInfo, handles: &[Handle]) -> Result<(), Rc> {
        let admitted = match (info.read_only, handles) {
            _ if !self.clear.read_only => true,
            (ReadOnly::PassingIndex, [_, index, ..]) => self.is_passing_nv(*index),
            (ReadOnly::NoPin, [entity, ..]) => self.pin_type(*entity).is_none(),
            _ => true,
        };
        if admitted { Ok(()) } else { Err(Rc::READ_ONLY) }
    }
}
