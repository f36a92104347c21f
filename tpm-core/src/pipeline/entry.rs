//! What a platform does with a TPM: makes it, or takes it from a state, and has it execute commands.

use super::Circumstances;
use crate::data::platform::{Hooks, Locality, Nothing, Provided};
use crate::data::tpm::{Failure, Tpm};
use crate::operation::state::StateError;
#[cfg(doc)]
use crate::{StateForm, profile};
use core::sync::atomic::AtomicBool;

impl Tpm {
    /// Makes a new TPM with new seeds here, as after _TPM_Init: TPM2_Startup is to come. What was here is wiped.
    ///
    /// # Errors
    /// [`Failure`] if there is no entropy: this is blank then.
    pub fn manufacture(&mut self, hooks: &mut Hooks<'_>) -> Result<(), Failure> {
        self.erase();
        let made = self.make(hooks);
        self.persistent.change().start_lists();
        if made.is_err() {
            self.erase();
        }
        made
    }

    /// Makes a TPM here of a state that [`Tpm::export`] gave, with a new DRBG. One of the form
    /// [`StateForm::PoweredOff`] is as after _TPM_Init: TPM2_Startup is to come. What was here is wiped.
    ///
    /// # Errors
    /// Each of [`StateError`] but `Room`: this is blank then.
    pub fn import(&mut self, state: &[u8], hooks: &mut Hooks<'_>) -> Result<(), StateError> {
        self.erase();
        let imported = self
            .restore(state, hooks)
            .and_then(|()| if self.persistent.lists_are_possible() { Ok(()) } else { Err(StateError::Contents) });
        if imported.is_err() {
            self.erase();
        }
        imported
    }

    /// Executes a command, and always writes a well-formed response: its length is returned. `response` holds at least
    /// [`profile::MAX_RESPONSE_SIZE`] octets, or as many as [`Tpm::set_buffer_size`] was told.
    pub fn execute(&mut self, hooks: &mut Hooks<'_>, locality: Locality, request: &[u8], response: &mut [u8]) -> usize {
        self.execute_unless(hooks, locality, request, response, &AtomicBool::new(false))
    }

    /// The same, with a flag by which the platform cancels the command, from another thread or an interrupt: a search
    /// for an RSA key, the one thing that may take seconds, ends with `TPM_RC_CANCELED` and has changed nothing. Other
    /// commands go on to their end, as if it had come too late.
    pub fn execute_unless(
        &mut self,
        hooks: &mut Hooks<'_>,
        locality: Locality,
        request: &[u8],
        response: &mut [u8],
        canceled: &AtomicBool,
    ) -> usize {
        let circumstances = Circumstances { locality, canceled, provided: &Nothing };
        super::execute(self, hooks, circumstances, request, response)
    }

    /// The same as [`Tpm::execute`], for a platform that provides NV Indices: `provided` has their contents.
    pub fn execute_with(
        &mut self,
        hooks: &mut Hooks<'_>,
        provided: &dyn Provided,
        locality: Locality,
        request: &[u8],
        response: &mut [u8],
    ) -> usize {
        let circumstances = Circumstances { locality, canceled: &AtomicBool::new(false), provided };
        super::execute(self, hooks, circumstances, request, response)
    }
}
