//! vTPM protocol (protocol 2): TPM commands through one page of the guest's.

use snp::svsm::ResultCode;
use snp::svsm::vtpm::{FEATURES, PLATFORM_COMMANDS, RESPONSE_HEAD, RESPONSE_MAX, call, parse_request, response_head};

use super::{Busy, Machine, Registers};
use crate::guest::Claim;
use crate::mm::{PAGE, PAGE_SIZE};

pub(super) fn handle(machine: &mut Machine<'_>, call: u32, registers: &mut Registers) -> Result<(), ResultCode> {
    match call {
        call::QUERY => {
            registers.rcx = PLATFORM_COMMANDS;
            registers.rdx = FEATURES;
            Ok(())
        }
        call::CMD => command(machine, registers.rcx),
        _ => Err(ResultCode::UNSUPPORTED_CALL),
    }
}

/// One platform command. The buffer is a page long and need not be aligned, so it lies in one page or two.
///
/// - `INVALID_PARAMETER`: a buffer that is not all the guest's memory, or of which a page is inaccessible; an unknown
///   platform command; a locality other than 0; a size beyond the buffer
/// - `UNSUPPORTED_CALL`: a platform command other than TPM_SEND_COMMAND
/// - `BUSY`: the TPM executes a command of another vCPU's; a report is needed first, and the PSP works for another, or
///   the host was busy all the time
///
/// A size that is not the TPM command's own is the TPM's to refuse, and a TPM's refusal is a response like any other.
/// Where the host, or another vCPU, takes a page between the copy in and the copy out, the command has been executed,
/// and what of the response lies before that page has been written.
fn command(machine: &mut Machine<'_>, gpa: u64) -> Result<(), ResultCode> {
    let refused = |_| ResultCode::INVALID_PARAMETER;
    let buffer = Claim::new(gpa, PAGE_SIZE);
    let mut request = [0; PAGE];
    buffer
        .check(&machine.guest.lock().map)
        .and_then(|buffer| buffer.read(machine.pages, &mut request))
        .map_err(refused)?;
    let command = parse_request(&request)?;
    let mut answer = [0; PAGE];
    let (head, response) = answer.split_at_mut(RESPONSE_HEAD);
    let mut tpm = machine.tpm.try_lock().ok_or(ResultCode::BUSY)?;
    tpm.prepare(command, machine.reports).map_err(|Busy| ResultCode::BUSY)?;
    let len = tpm.execute(command, response).min(RESPONSE_MAX);
    drop(tpm);
    head.copy_from_slice(&response_head(len).ok_or(ResultCode::INVALID_REQUEST)?);
    // Exactly the answer's bytes: what else is in the buffer is the guest's.
    let written = answer.get(..RESPONSE_HEAD + len).unwrap_or_default();
    buffer.check(&machine.guest.lock().map).and_then(|buffer| buffer.write(machine.pages, written)).map_err(refused)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use crate::testing::{GIVEN, GIVEN_END, SHARED_PAGE, Scene, forbidden_gpas};

    const CMD: u64 = 2 << 32 | 1;
    const INVALID_PARAMETER: u64 = 0x8000_0005;

    /// A TPM2_GetRandom of the right size.
    const COMMAND: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8];

    fn request(platform: u32, locality: u8, size: u32, command: &[u8]) -> Vec<u8> {
        let mut bytes = platform.to_le_bytes().to_vec();
        bytes.push(locality);
        bytes.extend(size.to_le_bytes());
        bytes.extend(command);
        bytes
    }

    #[test]
    fn query_names_the_one_platform_command() {
        let after = Scene::new().call(2 << 32, [9, 9, 9, 9]);
        assert_eq!((after.rax, after.rcx, after.rdx, after.r8), (0, 0x100, 0, 9));
    }

    #[test]
    fn a_command_comes_back_as_its_response_at_any_offset() {
        for gpa in [GIVEN, GIVEN + 8, GIVEN + 4095, GIVEN_END - 4096] {
            let mut scene = Scene::new();
            scene.machine.place(gpa, &[0xee; 4096]);
            scene.machine.place(gpa, &request(8, 0, 12, &COMMAND));
            assert_eq!(scene.call(CMD, [gpa, 0, 0, 0]).rax, 0);
            let after = scene.machine.bytes(gpa, 4096);
            let response = scene.tpm().response();
            assert_eq!(after[..4], u32::try_from(response.len()).unwrap().to_le_bytes());
            assert_eq!(after[4..4 + response.len()], response);
            assert!(after[4 + response.len().max(17)..].iter().all(|byte| *byte == 0xee), "only the answer is written");
            assert_eq!(scene.tpm().seen, COMMAND);
        }
    }

    #[test]
    fn sizes_up_to_the_buffers_reach_the_tpm_and_no_others() {
        for size in (0..=4096).chain([u32::MAX, u32::MAX - 8, 1 << 31]) {
            let mut scene = Scene::new();
            scene.machine.place(GIVEN, &request(8, 0, size, &COMMAND));
            let before = scene.machine.bytes(GIVEN, 4096);
            let rax = scene.call(CMD, [GIVEN, 0, 0, 0]).rax;
            if size <= 4087 {
                assert_eq!((rax, scene.tpm().seen.len()), (0, size as usize));
            } else {
                assert_eq!(rax, INVALID_PARAMETER, "size {size}");
                assert_eq!(scene.tpm().calls, 0);
                assert_eq!(scene.machine.bytes(GIVEN, 4096), before);
            }
        }
    }

    #[test]
    fn other_localities_and_platform_commands_are_refused() {
        for locality in 1..=255 {
            let mut scene = Scene::new();
            scene.machine.place(GIVEN, &request(8, locality, 12, &COMMAND));
            assert_eq!(scene.call(CMD, [GIVEN, 0, 0, 0]).rax, INVALID_PARAMETER);
        }
        for (platform, code) in [
            (0, INVALID_PARAMETER),
            (1, 0x8000_0002),
            (7, 0x8000_0002),
            (9, 0x8000_0002),
            (0x1000, INVALID_PARAMETER),
            (u32::MAX, INVALID_PARAMETER),
        ] {
            let mut scene = Scene::new();
            scene.machine.place(GIVEN, &request(platform, 0, 12, &COMMAND));
            assert_eq!(scene.call(CMD, [GIVEN, 0, 0, 0]).rax, code, "platform command {platform}");
            assert_eq!(scene.tpm().calls, 0);
        }
    }

    #[test]
    fn a_buffer_that_touches_a_page_not_the_guests_is_refused_unseen() {
        for gpa in forbidden_gpas(4096) {
            let mut scene = Scene::new();
            scene.machine.place(SHARED_PAGE, &request(8, 0, 12, &COMMAND));
            let before = scene.machine.snapshot();
            assert_eq!(scene.call(CMD, [gpa, 0, 0, 0]).rax, INVALID_PARAMETER, "gpa {gpa:#x}");
            assert_eq!(scene.tpm().calls, 0);
            assert!(scene.machine.snapshot() == before, "memory changed for gpa {gpa:#x}");
        }
    }

    /// What the command reads may take a report: until there is one it has not been executed.
    #[test]
    fn the_tpm_is_made_ready_for_the_command_or_it_is_not_executed() {
        let mut scene = Scene::new();
        scene.machine.place(GIVEN, &request(8, 0, 12, &COMMAND));
        let before = scene.machine.snapshot();
        scene.tpm().is_kept_waiting = true;
        assert_eq!(scene.call(CMD, [GIVEN, 0, 0, 0]).rax, 0x8000_0007);
        assert_eq!((scene.tpm().calls, &scene.tpm().prepared[..]), (0, &COMMAND[..]));
        assert!(scene.machine.snapshot() == before);
        scene.tpm().is_kept_waiting = false;
        assert_eq!(scene.call(CMD, [GIVEN, 0, 0, 0]).rax, 0);
        assert_eq!(scene.tpm().calls, 1);
    }

    /// The byte that was judged is the byte that was used.
    #[test]
    fn each_byte_of_the_buffer_is_read_once() {
        let mut scene = Scene::new();
        scene.machine.place(GIVEN + 16, &request(8, 0, 12, &COMMAND));
        scene.machine.watch_reads();
        assert_eq!(scene.call(CMD, [GIVEN + 16, 0, 0, 0]).rax, 0);
        assert_eq!(scene.machine.most_reads_of_a_byte(), 1);
    }

    /// SVSM specification, 8.2: a second caller is told to come back; nothing of its buffer has changed.
    #[test]
    fn a_second_caller_finds_the_tpm_busy() {
        let mut scene = Scene::new();
        scene.machine.place(GIVEN, &request(8, 0, 12, &COMMAND));
        let before = scene.machine.snapshot();
        let tpm = std::sync::Arc::new(spin::Mutex::new(crate::testing::FakeTpm::default()));
        let working = tpm.lock();
        let mut parts = scene.parts();
        parts.tpm = &*tpm;
        let mut registers = super::Registers { rax: CMD, rcx: GIVEN, ..Default::default() };
        crate::svsm::serve(&mut parts, &mut registers);
        assert_eq!(registers.rax, 0x8000_0007);
        drop(working);
        registers.rax = CMD;
        crate::svsm::serve(&mut parts, &mut registers);
        assert_eq!((registers.rax, tpm.lock().calls), (0, 1));
        assert_ne!(scene.machine.snapshot(), before);
    }
}
