//! Which self-tests come before a command.

use crate::command::call::Call;
use crate::command::interface::{CommandInfo, KeyParameter};
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::wire::{AlgId, Reader};

impl Tpm {
    /// Before a command is authorized: everything that is quickly tested.
    ///
    /// A fault if a test failed.
    pub(super) fn test_before(&mut self, info: &CommandInfo) -> Result<(), Fault> {
        if self.ram.fault.is_some() || info.untested { Ok(()) } else { self.test_quick() }
    }

    /// Before the action: the algorithms of the keys among the handles and in the parameters.
    ///
    /// A fault if a test failed.
    pub(super) fn test_keys_before(&mut self, info: &CommandInfo, call: &Call, parameters: &[u8]) -> Result<(), Fault> {
        for h in &call.handles {
            if let Some(object) = self.object(*h) {
                self.test_keys_of(object.public.object_type().id())?;
            }
        }
        type_of_key(info.key_parameter, parameters).map_or(Ok(()), |alg| self.test_keys_of(alg))
    }
}

/// The type of the key in the parameters.
fn type_of_key(key_parameter: KeyParameter, parameters: &[u8]) -> Option<AlgId> {
    match key_parameter {
        KeyParameter::Nothing => None,
        KeyParameter::Ecc => Some(AlgId::ECC),
        KeyParameter::Public | KeyParameter::Template => {
            let mut r = Reader::new(parameters);
            let first: u16 = r.get().ok()?;
            r.take(first.into()).ok()?;
            let _size: u16 = r.get().ok()?;
            r.get().ok()
        }
    }
}
