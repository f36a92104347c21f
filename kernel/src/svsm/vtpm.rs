//! vTPM protocol (protocol 2): TPM commands through one page of the guest's, or through a list of pages.

use snp::svsm::ResultCode;
use snp::svsm::vtpm::{
    COMMAND_MAX, FEATURES, LIST_ALIGNMENT, LIST_SIZE_AT, PLATFORM_COMMANDS, PageList, RESPONSE_HEAD, call,
    parse_request, response_head,
};
use zerocopy::byteorder::little_endian::U64;
use zerocopy::{FromZeros, IntoBytes};

use super::{Busy, Machine, Registers, Tpm};
use crate::guest::{Claim, Refused};
use crate::mm::{PAGE, PAGE_SIZE};

pub(super) fn handle(machine: &mut Machine<'_>, call: u32, registers: &mut Registers) -> Result<(), ResultCode> {
    match call {
        call::QUERY => {
            registers.rcx = PLATFORM_COMMANDS;
            registers.rdx = FEATURES;
            Ok(())
        }
        call::CMD => command(machine, registers.rcx),
        call::CMD_PAGES => command_in_pages(machine, registers.rcx),
        _ => Err(ResultCode::UNSUPPORTED_CALL),
    }
}

const fn refused(_: Refused) -> ResultCode {
    ResultCode::INVALID_PARAMETER
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
    let buffer = Claim::new(gpa, PAGE_SIZE);
    let mut request = [0; PAGE];
    buffer
        .check(&machine.guest.lock().map)
        .and_then(|buffer| buffer.read(machine.pages, &mut request))
        .map_err(refused)?;
    let command = parse_request(&request)?;
    let mut answer = [0; PAGE];
    let (head, response) = answer.split_at_mut(RESPONSE_HEAD);
    // A response could have some bytes more than a command: the TPM tells of one size for both.
    let response = response.get_mut(..COMMAND_MAX).unwrap_or_default();
    let mut tpm = machine.tpm.try_lock().ok_or(ResultCode::BUSY)?;
    tpm.prepare(command, machine.reports).map_err(|Busy| ResultCode::BUSY)?;
    let len = tpm.execute(command, response).min(COMMAND_MAX);
    drop(tpm);
    head.copy_from_slice(&response_head(len).ok_or(ResultCode::INVALID_REQUEST)?);
    // Exactly the answer's bytes: what else is in the buffer is the guest's.
    let written = answer.get(..RESPONSE_HEAD + len).unwrap_or_default();
    buffer.check(&machine.guest.lock().map).and_then(|buffer| buffer.write(machine.pages, written)).map_err(refused)
}

/// Longest command, and longest response, in a list of pages: what the TPM takes.
pub const BUFFER: usize = 2 * PAGE;

/// A copy of a command, and a response before it is copied out.
pub struct Buffers {
    /// The command.
    pub command: [u8; BUFFER],
    /// The response.
    pub response: [u8; BUFFER],
}

impl Buffers {
    /// Zeros.
    #[must_use]
    pub const fn new() -> Buffers {
        Buffers { command: [0; BUFFER], response: [0; BUFFER] }
    }

    /// Forgets both.
    pub fn wipe(&mut self) {
        self.command.fill(0);
        self.response.fill(0);
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Buffers::new()
    }
}

/// One platform command whose TPM command, and then response, lies in pages that a list names.
///
/// - `INVALID_PARAMETER`: a list that is not aligned, not in one page of the guest's, or whose page is inaccessible
/// - what [`PageList::check`] says of it
/// - `BUSY`: the TPM executes a command of another vCPU's; or as for one page, when the command has been read
/// - `INVALID_PARAMETER`: a command that is longer than any of the TPM's; a page that is not the guest's memory, or is
///   inaccessible
///
/// All pages are checked before the first byte is copied in, and once more before the first is copied out, since
/// another vCPU may have given one away. As with one page, the command may have been executed then. Pages behind those
/// that a command or a response needs are not accessed.
fn command_in_pages(machine: &mut Machine<'_>, gpa: u64) -> Result<(), ResultCode> {
    let list = read_list(machine, gpa).map_err(refused)?;
    let (size, pages) = list.check(gpa - gpa % PAGE_SIZE)?;
    let mut tpm = machine.tpm.try_lock().ok_or(ResultCode::BUSY)?;
    let done = through_pages(machine, &mut *tpm, gpa, size, pages);
    tpm.buffers().wipe();
    done
}

fn read_list(machine: &mut Machine<'_>, gpa: u64) -> Result<PageList, Refused> {
    let mut list = PageList::new_zeroed();
    if !gpa.is_multiple_of(LIST_ALIGNMENT) {
        return Err(Refused);
    }
    let guest = machine.guest.lock();
    let claim = Claim::new(gpa, size_of::<PageList>() as u64).check_in_one_page(&guest.map)?;
    claim.read(machine.pages, list.as_mut_bytes())?;
    Ok(list)
}

fn through_pages(
    machine: &mut Machine<'_>,
    tpm: &mut dyn Tpm,
    list: u64,
    size: usize,
    pages: &[U64],
) -> Result<(), ResultCode> {
    read_command(machine, tpm, size, pages).map_err(refused)?;
    tpm.prepare_in_buffers(size, machine.reports).map_err(|Busy| ResultCode::BUSY)?;
    let room = (pages.len() * PAGE).min(BUFFER);
    let len = tpm.execute_in_buffers(size, room).min(room);
    write_response(machine, tpm, list, len, pages).map_err(refused)
}

fn claims(pages: &[U64]) -> impl Iterator<Item = Claim> {
    pages.iter().map(|gpa| Claim::new(gpa.get(), PAGE_SIZE))
}

fn read_command(machine: &mut Machine<'_>, tpm: &mut dyn Tpm, size: usize, pages: &[U64]) -> Result<(), Refused> {
    let command = tpm.buffers().command.get_mut(..size).ok_or(Refused)?;
    let guest = machine.guest.lock();
    claims(pages).try_for_each(|claim| claim.check_aligned(&guest.map).map(drop))?;
    for (claim, part) in claims(pages).zip(command.chunks_mut(PAGE)) {
        claim.check_aligned(&guest.map)?.read(machine.pages, part)?;
    }
    Ok(())
}

fn write_response(
    machine: &mut Machine<'_>,
    tpm: &mut dyn Tpm,
    list: u64,
    len: usize,
    pages: &[U64],
) -> Result<(), Refused> {
    let response = tpm.buffers().response.get(..len).ok_or(Refused)?;
    let guest = machine.guest.lock();
    claims(pages).try_for_each(|claim| claim.check_aligned(&guest.map).map(drop))?;
    let said = Claim::new(list + LIST_SIZE_AT, 4).check_in_one_page(&guest.map)?;
    for (claim, part) in claims(pages).zip(response.chunks(PAGE)) {
        claim.check_aligned(&guest.map)?.write(machine.pages, part)?;
    }
    said.write(machine.pages, &u32::try_from(len).map_err(|_| Refused)?.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::{Buffers, Registers};
    use crate::attest::EndorsementKey;
    use crate::mm::Region;
    use crate::svsm::vcpus::Guest;
    use crate::svsm::{Tpm, serve};
    use crate::testing::{FakeTpm, GIVEN, GIVEN_END, SHARED_PAGE, Scene, forbidden_gpas};

    const CMD: u64 = 2 << 32 | 1;
    const CMD_PAGES: u64 = 2 << 32 | 0x8000_0001;
    const UNSUPPORTED_CALL: u64 = 0x8000_0002;
    const BUSY: u64 = 0x8000_0007;
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
        assert_eq!((after.rax, after.rcx, after.rdx, after.r8), (0, 0x100, 1 << 63, 9));
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
    #[test]
    fn one_page_is_told_to_the_tpm_as_one_page() {
        let mut scene = Scene::new();
        scene.machine.place(GIVEN, &request(8, 0, 12, &COMMAND));
        assert_eq!(scene.call(CMD, [GIVEN, 0, 0, 0]).rax, 0);
        assert_eq!(scene.tpm().room, 4087);
    }

    /// Where a list lies, and its pages: not in the order of their addresses, nor side by side.
    const LIST: u64 = GIVEN + 0x3008;
    const PAGES: [u64; 3] = [GIVEN + 0x9000, GIVEN + 0x5000, GIVEN_END - 0x1000];

    fn list(size: u32, pages: &[u64]) -> Vec<u8> {
        let count = u16::try_from(pages.len()).unwrap();
        let mut list = [&[8, 0, 0, 0, 0, 0, 0, 0][..], &size.to_le_bytes(), &count.to_le_bytes(), &[0; 2]].concat();
        list.extend(pages.iter().flat_map(|gpa| gpa.to_le_bytes()));
        list.resize(list.len().max(0x90), 0);
        list
    }

    /// A command of so many bytes in `pages`, behind it 0xee to their ends.
    fn place_command(scene: &mut Scene, pages: &[u64], len: usize) -> Vec<u8> {
        let mut command: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        command.splice(..COMMAND.len().min(len), COMMAND.iter().copied().take(len));
        pages.iter().for_each(|page| scene.machine.place(*page, &[0xee; 4096]));
        pages.iter().zip(command.chunks(4096)).for_each(|(page, part)| scene.machine.place(*page, part));
        command
    }

    fn contents(scene: &Scene, pages: &[u64]) -> Vec<u8> {
        pages.iter().flat_map(|page| scene.machine.bytes(*page, 4096)).collect()
    }

    #[test]
    fn a_command_and_its_response_go_through_the_pages_in_their_order() {
        for (pages, len, more) in [
            (1, 12, 0),
            (1, 4096, 4082),
            (2, 12, 0),
            (2, 4097, 4082),
            (2, 8192, 4083),
            (2, 12, 8178),
            (3, 8192, 8178),
            (3, 0, 0),
        ] {
            let (mut scene, pages) = (Scene::new(), &PAGES[..pages]);
            scene.tpm().more = more;
            let command = place_command(&mut scene, pages, len);
            scene.machine.place(LIST, &list(u32::try_from(len).unwrap(), pages));
            let after = scene.call(CMD_PAGES, [LIST, 5, 6, 7]);
            assert_eq!(after, Registers { rax: 0, rcx: LIST, rdx: 5, r8: 6, r9: 7 });
            assert_eq!((scene.tpm().calls, &scene.tpm().seen), (1, &command));
            assert_eq!(scene.tpm().room, (pages.len() * 4096).min(8192), "what the TPM tells as its sizes");
            let response = scene.tpm().response();
            let left = contents(&scene, pages);
            assert_eq!(left[..response.len()], response);
            let behind = command.get(response.len()..).unwrap_or_default();
            assert_eq!(left[response.len()..][..behind.len()], *behind, "only the answer is written");
            assert!(left[response.len().max(len)..].iter().all(|byte| *byte == 0xee));
            let written = u32::try_from(response.len()).unwrap();
            assert_eq!(scene.machine.bytes(LIST, 0x90), list(written, pages), "of the list the size alone is changed");
            let Buffers { command, response } = &*scene.tpm().buffers;
            assert!(command.iter().chain(response).all(|byte| *byte == 0), "both are forgotten");
        }
    }

    /// What is refused with which code; nothing is executed, and no byte of the guest's is changed.
    fn refused(change: impl FnOnce(&mut Vec<u8>), code: u64, what: &str) {
        let mut scene = Scene::new();
        place_command(&mut scene, &PAGES, 12);
        let mut list = list(12, &PAGES);
        change(&mut list);
        scene.machine.place(LIST, &list);
        let before = scene.machine.snapshot();
        assert_eq!(scene.call(CMD_PAGES, [LIST, 0, 0, 0]).rax, code, "{what}");
        assert_eq!(scene.tpm().calls, 0, "{what}");
        assert!(scene.machine.snapshot() == before, "{what}: memory has changed");
    }

    fn put(list: &mut [u8], at: usize, bytes: &[u8]) {
        list[at..at + bytes.len()].copy_from_slice(bytes);
    }

    #[test]
    fn every_malformed_list_has_its_code() {
        let all: [(&str, usize, &[u8], u64); 17] = [
            ("platform command 0", 0, &[0; 4], INVALID_PARAMETER),
            ("platform command 1", 0, &[1, 0, 0, 0], UNSUPPORTED_CALL),
            ("platform command 21", 0, &[21, 0, 0, 0], UNSUPPORTED_CALL),
            ("platform command 22", 0, &[22, 0, 0, 0], INVALID_PARAMETER),
            ("platform command 2^31 + 8", 0, &[8, 0, 0, 0x80], INVALID_PARAMETER),
            ("locality 1", 4, &[1], INVALID_PARAMETER),
            ("locality 255", 4, &[255], INVALID_PARAMETER),
            ("reserved byte 5", 5, &[1], INVALID_PARAMETER),
            ("reserved byte 7", 7, &[0x80], INVALID_PARAMETER),
            ("a size beyond the pages", 8, &[1, 0x30, 0, 0], INVALID_PARAMETER),
            ("a size beyond the TPM's", 8, &[1, 0x20, 0, 0], INVALID_PARAMETER),
            ("a size of 2^32 - 1", 8, &[0xff; 4], INVALID_PARAMETER),
            ("no page", 0xc, &[0, 0], INVALID_PARAMETER),
            ("a page more than there is room for", 0xc, &[17, 0], INVALID_PARAMETER),
            ("65,535 pages", 0xc, &[0xff; 2], INVALID_PARAMETER),
            ("reserved word 0xe", 0xe, &[0, 1], INVALID_PARAMETER),
            ("an entry that is not counted", 0x10 + 15 * 8, &[0, 0, 1, 0], INVALID_PARAMETER),
        ];
        for (what, at, bytes, code) in all {
            refused(|list| put(list, at, bytes), code, what);
        }
        for (at, page) in PAGES.into_iter().enumerate() {
            let entry = 0x10 + at * 8;
            for bit in 0..12 {
                let gpa = page | 1 << bit;
                refused(|list| put(list, entry, &gpa.to_le_bytes()), INVALID_PARAMETER, "a page that is not aligned");
            }
            for other in PAGES.into_iter().filter(|other| *other != page) {
                let gpa = other.to_le_bytes();
                refused(|list| put(list, entry, &gpa), INVALID_PARAMETER, "a page that is there twice");
            }
            refused(|list| put(list, entry, &(LIST - 8).to_le_bytes()), INVALID_PARAMETER, "the list's own page");
        }
        // Sixteen are not too many.
        let mut scene = Scene::new();
        let pages: Vec<u64> = (0..16).map(|page| GIVEN + 0x5000 + page * 0x1000).collect();
        scene.machine.place(LIST, &list(12, &pages));
        assert_eq!((scene.call(CMD_PAGES, [LIST, 0, 0, 0]).rax, scene.tpm().room), (0, 8192));
    }

    #[test]
    fn a_list_that_is_not_all_in_one_page_of_the_guests_is_refused_unseen() {
        let crossing = (0x1000 - 0x88..0x1000).step_by(8).map(|at| GIVEN + at);
        let misaligned = (1..8).map(|at| LIST + at);
        for gpa in forbidden_gpas(0x90).into_iter().chain(crossing).chain(misaligned) {
            let mut scene = Scene::new();
            if (GIVEN..GIVEN_END).contains(&gpa) || gpa == SHARED_PAGE {
                scene.machine.place(gpa, &list(12, &PAGES));
            }
            assert_eq!(scene.call(CMD_PAGES, [gpa, 0, 0, 0]).rax, INVALID_PARAMETER, "gpa {gpa:#x}");
            assert_eq!(scene.tpm().calls, 0);
        }
        let mut scene = Scene::new();
        let last = GIVEN + 0x1000 - 0x90;
        scene.machine.place(last, &list(12, &PAGES));
        assert_eq!(scene.call(CMD_PAGES, [last, 0, 0, 0]).rax, 0);
    }

    /// Each entry, those too of pages that the command does not reach.
    #[test]
    fn a_page_that_is_not_the_guests_is_refused_unseen() {
        for at in 0..3 {
            for gpa in forbidden_gpas(4096) {
                let entry = 0x10 + at * 8;
                refused(|list| put(list, entry, &gpa.to_le_bytes()), INVALID_PARAMETER, &std::format!("{gpa:#x}"));
            }
        }
    }

    #[test]
    fn each_byte_of_a_list_and_of_its_pages_is_read_once() {
        let mut scene = Scene::new();
        place_command(&mut scene, &PAGES, 8192);
        scene.machine.place(LIST, &list(8192, &PAGES));
        scene.machine.watch_reads();
        assert_eq!(scene.call(CMD_PAGES, [LIST, 0, 0, 0]).rax, 0);
        assert_eq!(scene.machine.most_reads_of_a_byte(), 1);
    }

    #[test]
    fn a_list_finds_the_tpm_busy_and_comes_back() {
        let mut scene = Scene::new();
        place_command(&mut scene, &PAGES, 12);
        scene.machine.place(LIST, &list(12, &PAGES));
        let before = scene.machine.snapshot();
        let tpm = std::sync::Arc::new(spin::Mutex::new(FakeTpm::default()));
        let working = tpm.lock();
        let mut parts = scene.parts();
        parts.tpm = &*tpm;
        let asked = Registers { rax: CMD_PAGES, rcx: LIST, ..Default::default() };
        let mut registers = asked;
        serve(&mut parts, &mut registers);
        assert_eq!(registers, Registers { rax: BUSY, ..asked });
        drop(working);
        registers.rax = CMD_PAGES;
        serve(&mut parts, &mut registers);
        assert_eq!((registers.rax, tpm.lock().calls), (0, 1));
        assert_ne!(scene.machine.snapshot(), before);
    }

    #[test]
    fn the_tpm_is_made_ready_for_a_command_of_a_list_too() {
        let mut scene = Scene::new();
        let command = place_command(&mut scene, &PAGES, 4097);
        scene.machine.place(LIST, &list(4097, &PAGES));
        let before = scene.machine.snapshot();
        scene.tpm().is_kept_waiting = true;
        assert_eq!(scene.call(CMD_PAGES, [LIST, 0, 0, 0]).rax, BUSY);
        assert_eq!((scene.tpm().calls, &scene.tpm().prepared), (0, &command));
        assert!(scene.machine.snapshot() == before);
        scene.tpm().is_kept_waiting = false;
        assert_eq!((scene.call(CMD_PAGES, [LIST, 0, 0, 0]).rax, scene.tpm().calls), (0, 1));
    }

    /// A TPM during whose work another vCPU gives a page away.
    struct Slow<'a> {
        tpm: FakeTpm,
        guest: &'a spin::Mutex<Guest>,
        given: u64,
    }

    impl Tpm for Slow<'_> {
        fn execute(&mut self, command: &[u8], response: &mut [u8]) -> usize {
            self.tpm.execute(command, response)
        }

        fn buffers(&mut self) -> &mut Buffers {
            self.tpm.buffers()
        }

        fn execute_in_buffers(&mut self, command: usize, response: usize) -> usize {
            self.guest.lock().map.take(Region::covering(self.given, 1).unwrap()).unwrap();
            self.tpm.execute_in_buffers(command, response)
        }

        fn endorsement_key(&mut self) -> Option<EndorsementKey> {
            None
        }
    }

    #[test]
    fn what_is_given_away_while_the_tpm_works_is_not_written() {
        for given in [PAGES[0], PAGES[1], PAGES[2], LIST] {
            let mut scene = Scene::new();
            place_command(&mut scene, &PAGES, 12);
            scene.machine.place(LIST, &list(12, &PAGES));
            let before = scene.machine.snapshot();
            let Scene { guest, machine, apic_id, reports, wires, .. } = &mut scene;
            let tpm = spin::Mutex::new(Slow { tpm: FakeTpm::default(), guest: &*guest, given });
            let mut parts = crate::svsm::Machine {
                apic_id: *apic_id,
                pages: machine,
                guest,
                tpm: &tpm,
                interrupts: crate::interrupts::Interrupts::Any,
                weaknesses: None,
                reports: &*reports,
                wires,
            };
            let mut registers = Registers { rax: CMD_PAGES, rcx: LIST, ..Default::default() };
            serve(&mut parts, &mut registers);
            assert_eq!((registers.rax, tpm.lock().tpm.calls), (INVALID_PARAMETER, 1), "{given:#x}");
            assert!(scene.machine.snapshot() == before, "{given:#x}");
        }
    }

    /// The response is longer than the first page, and the second is gone when it is written.
    #[test]
    fn a_long_response_is_written_up_to_the_page_that_is_gone() {
        let mut scene = Scene::new();
        scene.tpm().more = 5000;
        place_command(&mut scene, &PAGES, 12);
        scene.machine.place(LIST, &list(12, &PAGES));
        scene.machine.taken = Some((PAGES[1], 0));
        assert_eq!(scene.call(CMD_PAGES, [LIST, 0, 0, 0]).rax, INVALID_PARAMETER);
        let response = scene.tpm().response();
        assert_eq!((scene.tpm().calls, scene.machine.bytes(PAGES[0], 4096)), (1, response[..4096].to_vec()));
        assert_eq!(scene.machine.bytes(PAGES[1], 4096), [0xee; 4096]);
        assert_eq!(scene.machine.bytes(LIST, 0x90), list(12, &PAGES), "nobody is told of a length");
    }
}
