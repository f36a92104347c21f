//! `SVSM_VTPM_CMD`: one TPM command through a page.

use crate::ghcb::HostError;
use crate::page::{PAGE_SIZE, Page};
use crate::svsm::{self, Registers, SUCCESS, Taken, protocol};

/// `TPM_SEND_COMMAND`, the only platform command in use.
pub(crate) const SEND_COMMAND: u32 = 8;
/// The longest command that fits a request: 4096 minus the 9 bytes before it.
pub(crate) const MAX_COMMAND: usize = 4087;

/// The page through which commands and responses go.
pub(crate) static BUFFER: Page = Page::new();

/// Fills the request: platform command, locality 0, size, command.
pub(crate) fn request(platform_command: u32, locality: u8, size: u32, command: &[u8]) {
    fill(&BUFFER, platform_command, locality, size, command);
}

fn fill(buffer: &Page, platform_command: u32, locality: u8, size: u32, command: &[u8]) {
    buffer.copy_in(0, &platform_command.to_le_bytes());
    buffer.copy_in(4, &[locality]);
    buffer.copy_in(5, &size.to_le_bytes());
    buffer.copy_in(9, command);
}

/// Sends what the page holds; the SVSM result and how the call went.
pub(crate) fn send() -> Result<(Taken, u64), HostError> {
    send_through(&BUFFER)
}

fn send_through(buffer: &Page) -> Result<(Taken, u64), HostError> {
    let mut registers = Registers::call(protocol::VTPM, 1, buffer.gpa());
    let taken = svsm::call(&mut registers)?;
    Ok((taken, registers.rax))
}

/// Sends a command through a page of the caller's, and the same page again while the TPM is busy, as Linux does: the
/// page is as it was. Gives the response's length, which is in the page from octet 4 on, and how often it was busy.
pub(crate) fn command(buffer: &Page, command: &[u8]) -> Result<(usize, u64), HostError> {
    const BUSY: u64 = 0x8000_0007;
    let mut busy = 0;
    fill(buffer, SEND_COMMAND, 0, u32::try_from(command.len()).unwrap_or(0), command);
    loop {
        match send_through(buffer)? {
            (Taken::Yes, SUCCESS) => return Ok((size(buffer), busy)),
            (Taken::Yes, BUSY) => busy += 1,
            _ => return Err(HostError),
        }
        core::hint::spin_loop();
    }
}

fn size(buffer: &Page) -> usize {
    let mut size = [0; 4];
    buffer.copy_out(0, &mut size);
    usize::try_from(u32::from_le_bytes(size)).unwrap_or(0).min(PAGE_SIZE - 4)
}

/// Copies the response out of the page; it is cut where the page ends, should the firmware claim more.
pub(crate) fn response(out: &mut [u8; PAGE_SIZE]) -> &[u8] {
    let response = &mut out[..size(&BUFFER)];
    BUFFER.copy_out(4, response);
    response
}

/// Whether the TPM still answers as a TPM: GetCapability of TPM_PT_MANUFACTURER gives a response whose header fits.
///
/// Before TPM2_Startup that response is `TPM_RC_INITIALIZE`, which is as good.
pub(crate) fn is_alive() -> bool {
    const GET_CAPABILITY: [u8; 22] = [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7A, 0, 0, 0, 6, 0, 0, 1, 5, 0, 0, 0, 1];
    request(SEND_COMMAND, 0, 22, &GET_CAPABILITY);
    if !matches!(send(), Ok((Taken::Yes, SUCCESS))) {
        return false;
    }
    let mut out = [0; PAGE_SIZE];
    match response(&mut out) {
        [0x80, 1, a, b, c, d, rest @ ..] => {
            u32::from_be_bytes([*a, *b, *c, *d]) as usize == rest.len() + 6 && rest.len() >= 4
        }
        _ => false,
    }
}
