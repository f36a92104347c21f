//! Guest messages, and the cases about the secure processor.

use crate::hypervisor::{Back, GHCB, RAX, RBX, check, clear_shared};
use crate::sys::{PAGE, SHARED, peek, peek_bytes, poke_bytes, secrets_page};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Tag};

/// Request page, answer page and room for certificates, all of them the hypervisor's.
const REQUEST: u64 = 0x30_2000;
const ANSWER: u64 = 0x30_3000;
const CERTIFICATES: u64 = 0x31_0000;
const HEADER: usize = 96;

/// A message in clear.
#[derive(Clone, Copy)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) version: u8,
    pub(crate) data: [u8; 1400],
    pub(crate) len: usize,
}

fn cipher(vmpck: u8) -> Aes256Gcm {
    let mut key = [0; 32];
    peek_bytes(secrets_page() + 0x20 + 32 * u64::from(vmpck), &mut key);
    Aes256Gcm::new(&key.into())
}

fn iv(sequence: u64) -> [u8; 12] {
    let mut iv = [0; 12];
    iv[..8].copy_from_slice(&sequence.to_le_bytes());
    iv
}

/// Encrypts.
pub(crate) fn seal(vmpck: u8, sequence: u64, message: &Message) -> [u8; 4096] {
    let mut page = [0; 4096];
    page[0x20..0x28].copy_from_slice(&sequence.to_le_bytes());
    page[0x30..0x38].copy_from_slice(&[
        1,
        1,
        0x60,
        0,
        message.kind,
        message.version,
        message.len as u8,
        (message.len >> 8) as u8,
    ]);
    page[0x3C] = vmpck;
    page[HEADER..HEADER + message.len].copy_from_slice(&message.data[..message.len]);
    let (header, payload) = page.split_at_mut(HEADER);
    let tag = cipher(vmpck).encrypt_inout_detached(
        &iv(sequence).into(),
        &header[0x30..],
        (&mut payload[..message.len]).into(),
    );
    check(tag.is_ok(), 7);
    header[..16].copy_from_slice(&tag.unwrap_or_default());
    page
}

/// Sends; SW_EXITINFO2.
pub(crate) fn send(page: &[u8; 4096]) -> u64 {
    poke_bytes(SHARED + REQUEST, page);
    let Back(info1, info2) = GHCB.exit(0x8000_0011, REQUEST, ANSWER, &[]);
    check(info1 == 0, 8);
    info2
}

/// The answer page as it is, and decrypted if it is sound.
fn answer(vmpck: u8) -> ([u8; 4096], Option<Message>) {
    let mut page = [0; 4096];
    peek_bytes(SHARED + ANSWER, &mut page);
    let len = usize::from(u16::from_le_bytes([page[0x36], page[0x37]])).min(1400);
    let mut message = Message { kind: page[0x34], version: page[0x35], data: [0; 1400], len };
    message.data[..len].copy_from_slice(&page[HEADER..HEADER + len]);
    let sequence = sequence_of(&page);
    let mut tag = [0; 16];
    tag.copy_from_slice(&page[..16]);
    let tag: Tag = tag.into();
    let opened = cipher(vmpck).decrypt_inout_detached(
        &iv(sequence).into(),
        &page[0x30..HEADER],
        (&mut message.data[..len]).into(),
        &tag,
    );
    (page, opened.ok().map(|()| message))
}

fn sequence_of(page: &[u8; 4096]) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&page[0x20..0x28]);
    u64::from_le_bytes(bytes)
}

/// A request for a report about `vmpl` with this key selection; REPORT_DATA begins with `data`.
pub(crate) fn report_request(vmpl: u32, key: u32, data: u8) -> Message {
    let mut message = Message { kind: 5, version: 1, data: [0; 1400], len: 0x60 };
    message.data[0] = data;
    message.data[0x40..0x44].copy_from_slice(&vmpl.to_le_bytes());
    message.data[0x44..0x48].copy_from_slice(&key.to_le_bytes());
    message
}

/// Sends, and gives the answer, which must be sound.
fn ask(vmpck: u8, sequence: u64, message: &Message) -> Message {
    check(send(&seal(vmpck, sequence, message)) == 0, 50);
    let (page, opened) = answer(vmpck);
    check(sequence_of(&page) == sequence + 1, 51);
    check(opened.is_some_and(|opened| opened.kind == message.kind + 1 && opened.version == 1), 52);
    opened.unwrap_or(*message)
}

fn u32_of(message: &Message, offset: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&message.data[offset..offset + 4]);
    u32::from_le_bytes(bytes)
}

pub(crate) fn report() {
    let first = ask(0, 1, &report_request(0, 0, 0xAB));
    check(first.len == 0x20 + 1184 && u32_of(&first, 0) == 0 && u32_of(&first, 4) == 1184, 20);
    let report = &first.data[0x20..];
    // Version 3, policy, VMPL 0, ECDSA P-384, REPORT_DATA, a measurement, Milan.
    check(report[0] == 3 && report[8..12] == [0, 0, 3, 0] && report[0x30] == 0 && report[0x34] == 1, 21);
    check(report[0x50] == 0xAB && report[0x90..0xC0] != [0; 48] && report[0x188..0x18A] == [0x19, 1], 22);
    check(
        report[0x38..0x40] == report[0x180..0x188]
            && report[0x38..0x40] == report[0x1E0..0x1E8]
            && report[0x38..0x40] == report[0x1F0..0x1F8],
        23,
    );
    check(report[0x2A0..0x2D0] != [0; 48] && report[0x2D0..0x2E8] == [0; 24], 24);
    // With another key each VMPL speaks for itself; sequence numbers are per key.
    let second = ask(2, 1, &report_request(3, 1, 0));
    check(second.data[0x20 + 0x30] == 3, 25);
    ask(0, 3, &report_request(2, 0, 0));
}

pub(crate) fn report_refusals() {
    let status = |vmpck: u8, sequence: u64, message: &Message| {
        let answer = ask(vmpck, sequence, message);
        check(answer.len == 0x20, 20);
        u32_of(&answer, 0)
    };
    // VMPCK2 does not speak for VMPL1; there is no VMPL4; no VLEK; no such key; reserved bytes; another length.
    check(status(2, 1, &report_request(1, 0, 0)) == 0x16, 21);
    check(status(0, 1, &report_request(4, 0, 0)) == 0x16, 22);
    check(status(0, 3, &report_request(0, 2, 0)) == 0x27, 23);
    check(status(0, 5, &report_request(0, 3, 0)) == 0x16, 24);
    let mut message = report_request(0, 0, 0);
    message.data[0x48] = 1;
    check(status(0, 7, &message) == 0x16, 25);
    message = report_request(0, 0, 0);
    message.len = 0x58;
    check(status(0, 9, &message) == 0x16, 26);
}

pub(crate) fn message_refusals() {
    const INVALID_PARAM: u64 = 0x16;
    let good = report_request(0, 0, 0);
    // A sequence number of the future; then a wrong tag, header version, algorithm, header size, VMPCK; then a type
    // that does not exist.
    check(send(&seal(0, 2, &good)) == INVALID_PARAM, 20);
    for (vmpck, at) in [(0, 0), (1, 0x31), (2, 0x30), (3, 0x32)] {
        let mut page = seal(vmpck, 1, &good);
        page[at] ^= 0xFF;
        check(send(&page) == INVALID_PARAM, 21);
    }
    let mut page = seal(1, 3, &good);
    page[0x3C] = 4;
    check(send(&page) == INVALID_PARAM, 22);
    let strange = Message { kind: 99, ..good };
    check(send(&seal(2, 1, &strange)) == INVALID_PARAM, 23);
    let strange = Message { version: 9, ..good };
    check(send(&seal(3, 1, &strange)) == INVALID_PARAM, 24);
}

fn key_request(fields: u64, vmpl: u32, tcb: u64) -> Message {
    let mut message = Message { kind: 3, version: 1, data: [0; 1400], len: 0x20 };
    message.data[8..16].copy_from_slice(&fields.to_le_bytes());
    message.data[16..20].copy_from_slice(&vmpl.to_le_bytes());
    message.data[24..32].copy_from_slice(&tcb.to_le_bytes());
    message
}

pub(crate) fn derived_keys() {
    let key = |sequence: u64, message: &Message| {
        let answer = ask(0, sequence, message);
        check(answer.len == 0x40 && u32_of(&answer, 0) == 0, 20);
        let mut key = [0; 32];
        key.copy_from_slice(&answer.data[0x20..0x40]);
        key
    };
    let first = key(1, &key_request(0, 0, 0));
    check(first != [0; 32] && key(3, &key_request(0, 0, 0)) == first, 21);
    check(key(5, &key_request(8, 0, 0)) != first, 22);
    check(key(7, &key_request(0, 1, 0)) != first, 23);
    // A TCB that this chip does not have; a VMRK that nobody loaded; VMPL0 by VMPCK1.
    check(u32_of(&ask(0, 9, &key_request(32, 0, u64::MAX)), 0) == 0x16, 24);
    let mut vmrk = key_request(0, 0, 0);
    vmrk.data[0] = 1;
    check(u32_of(&ask(0, 11, &vmrk), 0) == 0x16, 25);
    check(u32_of(&ask(1, 1, &key_request(0, 0, 0)), 0) == 0x16, 26);
}

pub(crate) fn tsc_info() {
    let answer = ask(0, 1, &Message { kind: 17, version: 1, data: [0; 1400], len: 128 });
    check(answer.len == 128 && u32_of(&answer, 0) == 0, 20);
}

fn extended(page: &[u8; 4096], pages: u64) -> Back {
    poke_bytes(SHARED + REQUEST, page);
    GHCB.exit(0x8000_0012, REQUEST, ANSWER, &[(RAX, CERTIFICATES), (RBX, pages)])
}

pub(crate) fn certificates() {
    let page = seal(0, 1, &report_request(0, 0, 0));
    clear_shared(CERTIFICATES, 4);
    check(extended(&page, 0) == Back(0, 1 << 32), 20);
    let needed = GHCB.get(RBX);
    check((1..=4).contains(&needed) && peek(SHARED + CERTIFICATES) == 0, 21);
    check(extended(&page, needed - 1) == Back(0, 1 << 32), 22);
    // The same message again, which the secure processor has not seen.
    check(extended(&page, needed) == Back(0, 0), 23);
    check(answer(0).1.is_some_and(|message| message.len == 0x20 + 1184), 24);
    // The first entry is the VCEK's; the table ends with zeros.
    let mut guid = [0; 16];
    peek_bytes(SHARED + CERTIFICATES, &mut guid);
    check(guid == *b"\x63\xda\x75\x8d\xe6\x64\x45\x64\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd", 25);
    check(peek(SHARED + CERTIFICATES + 72) == 0 && peek(SHARED + CERTIFICATES + 80) == 0, 26);
}

pub(crate) fn message_again() {
    // The same bytes under the same IV are no reuse; the secure processor refuses them, because it has answered.
    let page = seal(0, 1, &report_request(0, 0, 0));
    check(send(&page) == 0 && send(&page) == 0x16, 20);
    ask(0, 3, &report_request(0, 0, 0));
}

pub(crate) fn lie_busy() {
    let page = seal(0, 1, &report_request(0, 0, 0));
    check(send(&page) == 2 << 32 && send(&page) == 2 << 32, 20);
    check(send(&page) == 0 && answer(0).1.is_some(), 21);
}

pub(crate) fn lie_stale_answer() {
    ask(0, 1, &report_request(0, 0, 1));
    let before = answer(0).0;
    clear_shared(ANSWER, 1);
    let second = seal(0, 3, &report_request(0, 0, 2));
    check(send(&second) == 0 && answer(0).0 == before, 20);
    // The secure processor was not asked, so the same message still counts.
    check(send(&second) == 0 && sequence_of(&answer(0).0) == 4, 21);
}

pub(crate) fn lie_no_answer() {
    clear_shared(ANSWER, 1);
    let page = seal(0, 1, &report_request(0, 0, 1));
    check(send(&page) == 0 && answer(0).0 == [0; 4096], 20);
    check(send(&page) == 0 && answer(0).1.is_some(), 21);
}

pub(crate) fn lie_wrong_seq() {
    check(send(&seal(0, 1, &report_request(0, 0, 1))) == 0, 20);
    let (page, opened) = answer(0);
    check(sequence_of(&page) == 4 && opened.is_some(), 21);
    ask(0, 3, &report_request(0, 0, 1));
}

pub(crate) fn lie_bit_flip() {
    // Bit 1000 is in the ciphertext.
    check(send(&seal(0, 1, &report_request(0, 0, 1))) == 0 && answer(0).1.is_none(), 20);
    let flipped = peek(SHARED + ANSWER + 120) ^ 1 << 40;
    poke_bytes(SHARED + ANSWER + 120, &flipped.to_le_bytes());
    check(answer(0).1.is_some(), 21);
}

pub(crate) fn lie_cert_truncated() {
    let page = seal(0, 1, &report_request(0, 0, 0));
    for pages in [4, 5, 6] {
        check(extended(&page, pages) == Back(0, 1 << 32) && GHCB.get(RBX) == pages + 1, 20);
    }
    // What the facts advise: the same ciphertext as a plain request.
    check(send(&page) == 0 && answer(0).1.is_some(), 21);
}

pub(crate) fn lie_wrong_vmpl_report() {
    check(ask(0, 1, &report_request(0, 0, 0)).data[0x20 + 0x30] == 3, 20);
}

pub(crate) fn lie_wrong_report_data() {
    check(ask(0, 1, &report_request(0, 0, 0)).data[0x20 + 0x51] == 2, 20);
}

pub(crate) fn lie_report_status() {
    let answer = ask(0, 1, &report_request(0, 0, 0));
    check(answer.len == 0x20 && u32_of(&answer, 0) == 0x2A, 20);
}

const _: () = assert!(PAGE == 4096);
