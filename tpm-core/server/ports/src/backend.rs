//! What stands behind the ports.

use anyhow::{Result, bail};
use core::sync::atomic::AtomicBool;
use std::sync::Arc;

/// A part of the state, as swtpm's control channel divides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateBlob {
    /// What survives the loss of power.
    Permanent,
    /// What does not.
    Volatile,
    /// What `TPM2_Shutdown` has saved.
    Saved,
}

/// Octets of a command or response: what the way to the TPM carries, and from where to where that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferSizes {
    /// The longest.
    pub now: u32,
    /// The least that `now` can be.
    pub least: u32,
    /// The most.
    pub most: u32,
}

/// A TPM that nobody uses: what it takes to go on.
pub trait Resting: Send {
    /// The TPM as it was. An error: it cannot be made again, and what lasts is where it is kept.
    fn wake(self: Box<Self>) -> Result<Box<dyn Backend>>;
}

/// What stands behind the ports. What a backend cannot do it says by false, and the client hears of it.
pub trait Backend: Send {
    /// Executes one TPM command at `locality` and gives the response. An error ends the client's connection.
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>>;
    /// How long commands and responses may be; what is longer the TPM refuses by itself.
    fn buffer_sizes(&self) -> BufferSizes;
    /// Sets how long they may be from now on, within what is possible.
    fn set_buffer_size(&mut self, _octets: u32) {}
    /// What cancels a command that is being executed; one that nobody looks at if it cannot be.
    fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::default()
    }
    /// Whether it can be without power: a client may switch that off and on then.
    fn can_power_off(&self) -> bool {
        true
    }
    /// Power off and on again (`_TPM_Init`). If that is refused all is as before.
    fn reset(&mut self) -> bool {
        false
    }
    /// The platform ends in order, and the power goes: the TPM may do what `TPM2_Shutdown` does, where the system did
    /// not.
    fn shut_down(&mut self) {}
    /// `_TPM_Hash_Start`.
    fn hash_start(&mut self) -> bool {
        false
    }
    /// `_TPM_Hash_Data`.
    fn hash_data(&mut self, _data: &[u8]) -> bool {
        false
    }
    /// `_TPM_Hash_End`.
    fn hash_end(&mut self) -> bool {
        false
    }
    /// Asserts physical presence, or no more.
    fn set_physical_presence(&mut self, _asserted: bool) -> bool {
        false
    }
    /// Enters failure mode.
    fn fail(&mut self) -> bool {
        false
    }
    /// Whether the authenticated countdown timer of this handle has signaled.
    fn act_signaled(&mut self, _act: u32) -> bool {
        false
    }
    /// TPM_ACCESS's `tpmEstablishment`: whether there was a dynamic launch since it was reset.
    fn established(&mut self) -> bool {
        false
    }
    /// Resets `tpmEstablishment`.
    fn reset_established(&mut self) -> bool {
        true
    }
    /// Whether [`Backend::state`] and [`Backend::set_state`] work.
    fn has_state(&self) -> bool {
        false
    }
    /// A part of the state.
    fn state(&mut self, _blob: StateBlob) -> Result<Vec<u8>> {
        bail!("this TPM does not export its state")
    }
    /// Replaces a part of the state; a reset follows.
    fn set_state(&mut self, _blob: StateBlob, _bytes: &[u8]) -> Result<()> {
        bail!("this TPM does not import a state")
    }
    /// Gives its memory back, but for what it takes to go on. An error: it does not go on, and what lasts is where it
    /// is kept.
    fn rest(self: Box<Self>) -> Result<Box<dyn Resting>> {
        bail!("this TPM does not rest")
    }
}
