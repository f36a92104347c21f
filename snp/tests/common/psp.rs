//! A PSP, written from the tables with literal offsets; shares no code with the crate.

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce};
use sha2::{Digest, Sha512};
use snp::{PAGE_SIZE, Page};

use super::bytes::{put, u16_at, u64_at};

/// A PSP that serves one VMPCK and keeps the rules: only the next sequence number, only an authentic request.
pub(crate) struct MockPsp {
    key: [u8; 32],
    vmpck: u8,
    pub(crate) last: u64,
    pub(crate) served: usize,
}

/// 32 bytes of the test's VMPCK.
pub(crate) const KEY: [u8; 32] = *b"the key that nobody shall learn!";

impl MockPsp {
    pub(crate) fn new(vmpck: u8) -> Self {
        Self { key: KEY, vmpck, last: 0, served: 0 }
    }

    /// The answer page to a request, `None` if the PSP refuses.
    pub(crate) fn serve(&mut self, request: &[u8]) -> Option<Page> {
        let (kind, plaintext) = self.open(request)?;
        self.last += 2;
        self.served += 1;
        Some(self.seal(kind + 1, self.last, &answer_to(kind, &plaintext)))
    }

    /// Type and plaintext of a request.
    pub(crate) fn open(&self, request: &[u8]) -> Option<(u8, Vec<u8>)> {
        let seqno = u64_at(request, 0x20);
        let size = usize::from(u16_at(request, 0x36));
        let header_ok = request[0x30] == 1
            && request[0x31] == 1
            && u16_at(request, 0x32) == 0x60
            && request[0x35] == 1
            && request[0x3C] == self.vmpck;
        if seqno != self.last + 1 || !header_ok {
            return None;
        }
        let mut body = request[0x60..0x60 + size].to_vec();
        let tag: [u8; 16] = request[..16].try_into().unwrap();
        self.cipher()
            .decrypt_inout_detached(&iv(seqno), &request[0x30..0x60], body.as_mut_slice().into(), &tag.into())
            .ok()?;
        Some((request[0x34], body))
    }

    /// A message in a page, with whatever type and number.
    pub(crate) fn seal(&self, kind: u8, seqno: u64, payload: &[u8]) -> Page {
        self.seal_with(kind, seqno, payload, |_| ())
    }

    /// As `seal`, the header changed before the tag is made: an authentic message with a wrong header.
    pub(crate) fn seal_with(&self, kind: u8, seqno: u64, payload: &[u8], change: impl FnOnce(&mut Page)) -> Page {
        let mut page = [0; PAGE_SIZE];
        put(&mut page, 0x20, &seqno.to_le_bytes());
        page[0x30] = 1;
        page[0x31] = 1;
        page[0x32] = 0x60;
        page[0x34] = kind;
        page[0x35] = 1;
        put(&mut page, 0x36, &u16::try_from(payload.len()).unwrap().to_le_bytes());
        page[0x3C] = self.vmpck;
        put(&mut page, 0x60, payload);
        change(&mut page);
        let iv = iv(u64_at(&page, 0x20));
        let (head, body) = page.split_at_mut(0x60);
        let body = &mut body[..payload.len()];
        let tag = self.cipher().encrypt_inout_detached(&iv, &head[0x30..], body.into()).unwrap();
        head[..16].copy_from_slice(&tag);
        page
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&self.key.into())
    }
}

fn iv(seqno: u64) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut iv = [0; 12];
    iv[..8].copy_from_slice(&seqno.to_le_bytes());
    iv.into()
}

/// Payload of the answer. A request of 64 bytes or less, or of a kind without a table here, is answered by its hash, so
/// that a test sees which request was answered.
fn answer_to(kind: u8, request: &[u8]) -> Vec<u8> {
    match kind {
        3 if request.len() == 0x20 => key_response(request),
        5 if request.len() == 0x60 => report_response(request),
        _ => hash(request),
    }
}

/// SHA-512, what the mock PSP answers to requests that it does not know.
pub(crate) fn hash(request: &[u8]) -> Vec<u8> {
    Sha512::digest(request).to_vec()
}

fn key_response(request: &[u8]) -> Vec<u8> {
    let mut payload = vec![0; 0x40];
    payload[0x20..].copy_from_slice(&hash(request)[..32]);
    payload
}

fn report_response(request: &[u8]) -> Vec<u8> {
    let mut payload = vec![0; 0x20 + 0x4A0];
    put(&mut payload, 4, &0x4A0_u32.to_le_bytes());
    let report = &mut payload[0x20..];
    put(report, 0, &3_u32.to_le_bytes());
    put(report, 0x30, &request[0x40..0x44]);
    put(report, 0x34, &1_u32.to_le_bytes());
    put(report, 0x50, &request[..0x40]);
    put(report, 0x90, &[0xAB; 48]);
    payload
}
