//! The host's requests, one after another (docs/boot.md, "Relay").

use crate::attest::{self, AREA};
use crate::entry;
use crate::ghcb::{self, HostError};
use crate::page::{Area, PAGE_SIZE, Page};
use crate::svsm::{self, Registers, SUCCESS, Taken};
use crate::{apic, hostile, serial, states, two, vtpm};

/// The longest payload of a request, and of an answer's text or memory.
const BUFFER: usize = 96 * 1024;

/// Payloads that come and go. Not on the stack, which is smaller.
static PAYLOAD: Area<BUFFER> = Area::new();

/// Why a request has no answer.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    UnknownKind = 1,
    TooLong = 2,
    NotTaken = 3,
    NoMemory = 4,
}

impl From<HostError> for Refusal {
    fn from(_: HostError) -> Self {
        Self::NotTaken
    }
}

/// Greets, and serves requests for ever.
pub(crate) fn serve() -> ! {
    serial::write(b"QGST");
    loop {
        let kind = serial::read();
        let length = u32::from_le_bytes(read_array());
        let result = receive(length).and_then(|length| dispatch(kind, length));
        if let Err(refusal) = result {
            serial::write(&[kind, refusal as u8, 0, 0, 0, 0]);
        }
    }
}

fn read_array<const N: usize>() -> [u8; N] {
    core::array::from_fn(|_| serial::read())
}

/// Takes a payload off the line, all of it, even when it is too long to keep.
fn receive(length: u32) -> Result<usize, Refusal> {
    let length = usize::try_from(length).map_err(|_| Refusal::TooLong)?;
    for at in 0..length {
        let byte = serial::read();
        if at < BUFFER {
            PAYLOAD.copy_in(at, &[byte]);
        }
    }
    if length <= BUFFER { Ok(length) } else { Err(Refusal::TooLong) }
}

fn dispatch(kind: u8, length: usize) -> Result<(), Refusal> {
    match kind {
        1 => tpm(length),
        2 => attest(length),
        3 => selftest(length),
        4 => any_call(length),
        5 => write_memory(length),
        6 => read_memory(length),
        7 => two_vcpus(length),
        8 => register_states(length),
        9 => tpm_by_pages(length),
        10 => guest_message(length),
        _ => Err(Refusal::UnknownKind),
    }
}

/// Sends an answer's head; its payload follows.
fn head(kind: u8, length: usize) {
    let length = u32::try_from(length).unwrap_or(0);
    serial::write(&[kind, 0]);
    serial::write(&length.to_le_bytes());
}

/// Sends the first `length` bytes of an area.
fn send_area<const N: usize>(area: &Area<N>, length: usize) {
    let mut chunk = [0; 64];
    for at in (0..length).step_by(chunk.len()) {
        let part = chunk.len().min(length - at);
        area.copy_out(at, &mut chunk[..part]);
        serial::write(&chunk[..part]);
    }
}

fn payload<const N: usize>(at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    PAYLOAD.copy_out(at, &mut bytes);
    bytes
}

fn taken(taken: Taken) -> Result<(), Refusal> {
    match taken {
        Taken::Yes => Ok(()),
        Taken::No => Err(Refusal::NotTaken),
    }
}

fn tpm(length: usize) -> Result<(), Refusal> {
    if length > vtpm::MAX_COMMAND {
        return Err(Refusal::TooLong);
    }
    let mut page = [0; PAGE_SIZE];
    let command = &mut page[..length];
    PAYLOAD.copy_out(0, command);
    vtpm::request(vtpm::SEND_COMMAND, 0, u32::try_from(length).unwrap_or(0), command);
    let (was_taken, rax) = vtpm::send()?;
    taken(was_taken)?;
    let response = if rax == SUCCESS { vtpm::response(&mut page) } else { &[] };
    head(1, 8 + response.len());
    serial::write(&rax.to_le_bytes());
    serial::write(response);
    Ok(())
}

fn tpm_by_pages(length: usize) -> Result<(), Refusal> {
    if length > vtpm::LONGEST {
        return Err(Refusal::TooLong);
    }
    let mut chunk = [0; 64];
    for at in (0..length).step_by(chunk.len()) {
        PAYLOAD.copy_out(at, &mut chunk);
        vtpm::pages()[at / PAGE_SIZE].copy_in(at % PAGE_SIZE, &chunk);
    }
    let size = u32::try_from(length).unwrap_or(0);
    vtpm::list(size, &vtpm::pages().map(Page::gpa)[..vtpm::LONGEST / PAGE_SIZE]);
    let (was_taken, rax) = vtpm::send_pages()?;
    taken(was_taken)?;
    let length = if rax == SUCCESS { vtpm::size_in_pages() } else { 0 };
    head(9, 8 + length);
    serial::write(&rax.to_le_bytes());
    for (at, page) in (0..length).step_by(PAGE_SIZE).zip(vtpm::pages()) {
        send_area(page, (length - at).min(PAGE_SIZE));
    }
    Ok(())
}

fn attest(length: usize) -> Result<(), Refusal> {
    let [call] = payload(0);
    let [nonce_length] = payload(21);
    let nonce: [u8; 255] = payload(22);
    let nonce = &nonce[..usize::from(nonce_length)];
    if length != 22 + nonce.len() {
        return Err(Refusal::TooLong);
    }
    attest::request(payload(1), u32::from_le_bytes(payload(17)), nonce);
    let (was_taken, registers) = attest::send(call)?;
    taken(was_taken)?;
    let sizes =
        [registers.r8, registers.rcx, registers.rdx].map(|size| if registers.rax == SUCCESS { size } else { 0 });
    let [report, manifest, certificates] = sizes.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    if report > PAGE_SIZE || manifest > AREA || certificates > AREA {
        return Err(Refusal::NotTaken);
    }
    head(2, 8 + 12 + report + manifest + certificates);
    serial::write(&registers.rax.to_le_bytes());
    for size in [report, manifest, certificates] {
        serial::write(&u32::try_from(size).unwrap_or(0).to_le_bytes());
    }
    send_area(&attest::REPORT, report);
    send_area(&attest::MANIFEST, manifest);
    send_area(&attest::CERTIFICATES, certificates);
    Ok(())
}

fn selftest(length: usize) -> Result<(), Refusal> {
    let length = match (length, payload(0)) {
        (0, _) => hostile::run(&PAYLOAD),
        (1, [1]) => hostile::run_last(&PAYLOAD),
        (1, [2]) => apic::run(&PAYLOAD),
        _ => return Err(Refusal::TooLong),
    };
    head(3, length);
    send_area(&PAYLOAD, length);
    Ok(())
}

fn two_vcpus(length: usize) -> Result<(), Refusal> {
    let [work] = payload(0);
    let count = u32::from_le_bytes(payload(1)).into();
    let length = (length == 5).then(|| two::run(&PAYLOAD, work, count)).flatten().ok_or(Refusal::TooLong)?;
    head(7, length);
    send_area(&PAYLOAD, length);
    Ok(())
}

fn register_states(length: usize) -> Result<(), Refusal> {
    let length = match (length, payload(0)) {
        (13, [0]) => {
            let [first, last, step] = [1, 5, 9].map(|at| u32::from_le_bytes(payload(at)));
            states::flipped(&PAYLOAD, first, last, step.max(1))
        }
        (3.., [1]) => {
            let bytes: [u8; 32] = payload(1);
            let mut expected = [(0, 0); 16];
            let pairs = bytes.as_chunks().0.iter().take((length - 1) / 2);
            let count = pairs.zip(&mut expected).map(|([outcome, deleted], to)| *to = (*outcome, *deleted)).count();
            states::created(&PAYLOAD, &expected[..count])
        }
        _ => return Err(Refusal::TooLong),
    };
    head(8, length);
    send_area(&PAYLOAD, length);
    Ok(())
}

fn any_call(length: usize) -> Result<(), Refusal> {
    if length != 40 {
        return Err(Refusal::TooLong);
    }
    let [rax, rcx, rdx, r8, r9] = [0, 8, 16, 24, 32].map(|at| PAYLOAD.read(at));
    let mut registers = Registers { rax, rcx, rdx, r8, r9 };
    let was_taken = svsm::call(&mut registers)?;
    head(4, 41);
    let Registers { rax, rcx, rdx, r8, r9 } = registers;
    for register in [rax, rcx, rdx, r8, r9] {
        serial::write(&register.to_le_bytes());
    }
    serial::write(&[u8::from(was_taken == Taken::No)]);
    Ok(())
}

fn write_memory(length: usize) -> Result<(), Refusal> {
    let bytes = length.checked_sub(8).ok_or(Refusal::TooLong)?;
    let gpa = PAYLOAD.read(0);
    // SAFETY: the host, whose tool this payload is, says where it wants its bytes; it takes memory that the image does
    // not use.
    unsafe { entry::copy(gpa, PAYLOAD.gpa() + 8, bytes) }.map_err(|_| Refusal::NoMemory)?;
    head(5, 0);
    Ok(())
}

fn read_memory(length: usize) -> Result<(), Refusal> {
    let wanted = usize::try_from(u32::from_le_bytes(payload(8))).unwrap_or(usize::MAX);
    if length != 12 || wanted > BUFFER {
        return Err(Refusal::TooLong);
    }
    // SAFETY: what is written is the payload's buffer, to which there is no reference.
    unsafe { entry::copy(PAYLOAD.gpa(), PAYLOAD.read(0), wanted) }.map_err(|_| Refusal::NoMemory)?;
    head(6, wanted);
    send_area(&PAYLOAD, wanted);
    Ok(())
}

fn guest_message(length: usize) -> Result<(), Refusal> {
    if length > PAGE_SIZE {
        return Err(Refusal::TooLong);
    }
    let (code, answer) = ghcb::guest_request(&PAYLOAD, length)?;
    head(10, 8 + PAGE_SIZE);
    serial::write(&code.to_le_bytes());
    send_area(answer, PAGE_SIZE);
    Ok(())
}
