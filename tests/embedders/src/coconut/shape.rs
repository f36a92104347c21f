//! What COCONUT-SVSM declares: signatures alone, in our words.
//!
//! From coconut-svsm/svsm (commit f4bc4bcd, August 2026): the traits of kernel/src/vtpm/mod.rs, [`TpmPlatformCommand`]
//! of kernel/src/protocols/vtpm.rs, [`SvsmReqError`] of kernel/src/protocols/errors.rs, of which the kernel's own
//! errors are left out.

use alloc::vec::Vec;

/// What SVSM_VTPM_QUERY tells of.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum TpmPlatformCommand {
    /// TPM_SEND_COMMAND
    SendCommand = 8,
}

/// Result codes of calls.
#[expect(non_camel_case_types, reason = "as there")]
#[expect(missing_docs, reason = "they are the SVSM specification's")]
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum SvsmResultCode {
    SUCCESS,
    INCOMPLETE,
    UNSUPPORTED_PROTOCOL,
    UNSUPPORTED_CALL,
    INVALID_ADDRESS,
    INVALID_FORMAT,
    INVALID_PARAMETER,
    INVALID_REQUEST,
    BUSY,
    PROTOCOL_BASE(u64),
}

/// Why a call is refused.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum SvsmReqError {
    /// The guest is told.
    RequestError(SvsmResultCode),
}

/// What a vTPM can do for its protocol.
pub trait VtpmProtocolInterface {
    /// Platform commands that it takes.
    fn get_supported_commands(&self) -> &[TpmPlatformCommand];
}

/// What platform commands do.
pub trait TcgTpmSimulatorInterface: VtpmProtocolInterface {
    /// Executes a command.
    ///
    /// # Errors
    /// There is no response.
    fn send_tpm_command(&self, command: &[u8], locality: u8) -> Result<Vec<u8>, SvsmReqError>;
    /// Power, or a reset alone.
    ///
    /// # Errors
    /// A reset without power.
    fn signal_poweron(&mut self, only_reset: bool) -> Result<(), SvsmReqError>;
    /// NV memory is there.
    ///
    /// # Errors
    /// There is no power.
    fn signal_nvon(&self) -> Result<(), SvsmReqError>;
}

/// A vTPM.
pub trait VtpmInterface: TcgTpmSimulatorInterface {
    /// Whether it has power.
    fn is_powered_on(&self) -> bool;
    /// Makes it, and gives it power.
    ///
    /// # Errors
    /// It cannot be made.
    fn init(&mut self) -> Result<(), SvsmReqError>;
    /// The endorsement key's TPMT_PUBLIC, which the protocol's manifest is.
    ///
    /// # Errors
    /// There is none.
    fn get_ekpub(&mut self) -> Result<Vec<u8>, SvsmReqError>;
}
