//! `SVSM_VTPM_CMD`: one TPM command through a page; and the same through a list of pages (docs/boot.md, "A list of
//! pages").

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

/// The call that takes a list of pages.
pub(crate) const CMD_PAGES: u64 = 0x8000_0001;
/// The longest command, and the longest response, that it carries.
pub(crate) const LONGEST: usize = 2 * PAGE_SIZE;
/// Most pages of a list.
pub(crate) const MOST_PAGES: usize = 16;

/// The list.
pub(crate) static LIST: Page = Page::new();
/// Pages for it, which take their turns in another order than that of their addresses.
pub(crate) static PAGES: [Page; 3] = [const { Page::new() }; 3];

/// The pages in the order of a command's bytes.
pub(crate) fn pages() -> [&'static Page; 3] {
    [&PAGES[2], &PAGES[0], &PAGES[1]]
}

/// Writes a list of these pages, with a command's size.
pub(crate) fn list(size: u32, pages: &[u64]) {
    LIST.fill(0);
    LIST.write(0, u64::from(SEND_COMMAND));
    LIST.write(8, u64::from(size) | (pages.len() as u64) << 32);
    pages.iter().enumerate().for_each(|(at, gpa)| LIST.write(0x10 + at * 8, *gpa));
}

/// Copies a command into our pages, and names the first `count` of them in the list.
pub(crate) fn request_in_pages(command: &[u8], count: usize) {
    for (page, part) in pages().into_iter().zip(command.chunks(PAGE_SIZE)) {
        page.copy_in(0, part);
    }
    list(u32::try_from(command.len()).unwrap_or(0), &pages().map(Page::gpa)[..count]);
}

/// Sends what the list names; the SVSM result and how the call went.
pub(crate) fn send_pages() -> Result<(Taken, u64), HostError> {
    let mut registers = Registers::call(protocol::VTPM, CMD_PAGES, LIST.gpa());
    let taken = svsm::call(&mut registers)?;
    Ok((taken, registers.rax))
}

/// How long the firmware says that the response is; no longer than our pages.
pub(crate) fn size_in_pages() -> usize {
    let mut size = [0; 4];
    LIST.copy_out(8, &mut size);
    usize::try_from(u32::from_le_bytes(size)).unwrap_or(0).min(LONGEST)
}
