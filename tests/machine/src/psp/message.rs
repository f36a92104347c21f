//! Guest messages: 96 bytes of header, then the payload in AES-256-GCM (SNP firmware ABI, 8.26). And the memory of
//! every IV that was used.

use crate::bits::{array, put, u16_at, u64_at};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use sha2::{Digest, Sha256};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of the header.
pub(super) const HEADER: usize = 96;
/// Most bytes of a payload.
pub(super) const PAYLOAD: usize = 4000;
/// How many (key, IV) pairs are remembered.
pub(super) const IVS: usize = 16384;

const SEQUENCE: usize = 0x20;
const ALGORITHM: usize = 0x30;
const HEADER_VERSION: usize = 0x31;
const HEADER_SIZE: usize = 0x32;
const TYPE: usize = 0x34;
const MESSAGE_VERSION: usize = 0x35;
const SIZE: usize = 0x36;
const VMPCK: usize = 0x3C;
const AES_256_GCM: u8 = 1;

/// A message, decrypted.
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) version: u8,
    pub(super) vmpck: usize,
    pub(super) sequence: u64,
    pub(super) payload: [u8; PAYLOAD],
    pub(super) len: usize,
}

/// What can be read of a message without its key.
#[derive(Clone, Copy)]
pub(super) struct Envelope {
    pub(super) sequence: u64,
    pub(super) vmpck: usize,
    len: usize,
}

impl Envelope {
    /// Reads the header. `None`: no message of the form that the firmware takes.
    pub(super) fn read(page: &[u8; 4096]) -> Option<Self> {
        let len = usize::from(u16_at(page, SIZE));
        let vmpck = usize::from(page[VMPCK]);
        let form = page[ALGORITHM] == AES_256_GCM
            && page[HEADER_VERSION] == 1
            && usize::from(u16_at(page, HEADER_SIZE)) == HEADER
            && len <= PAYLOAD
            && vmpck < 4;
        form.then(|| Self { sequence: u64_at(page, SEQUENCE), vmpck, len })
    }

    /// Tag, associated data and ciphertext: what an observer sees under this IV.
    pub(super) fn seen(self, page: &[u8; 4096]) -> [u8; 32] {
        let observed = Sha256::new().chain_update(&page[..16]).chain_update(&page[SEQUENCE..HEADER + self.len]);
        observed.finalize().into()
    }
}

fn cipher(key: &[u8; 32]) -> Aes256Gcm {
    Aes256Gcm::new(&(*key).into())
}

fn iv(sequence: u64) -> Nonce<aes_gcm::aes::cipher::consts::U12> {
    let mut iv = [0; 12];
    put(&mut iv, 0, &sequence.to_le_bytes());
    iv.into()
}

/// Decrypts. `None`: the tag is wrong.
pub(super) fn open(key: &[u8; 32], page: &[u8; 4096], envelope: Envelope) -> Option<Message> {
    let mut payload = [0; PAYLOAD];
    put(&mut payload, 0, &page[HEADER..HEADER + envelope.len]);
    let tag: Tag = array::<16>(page, 0).into();
    let associated = &page[ALGORITHM..HEADER];
    let buffer = (&mut payload[..envelope.len]).into();
    cipher(key).decrypt_inout_detached(&iv(envelope.sequence), associated, buffer, &tag).ok()?;
    Some(Message {
        kind: page[TYPE],
        version: page[MESSAGE_VERSION],
        vmpck: envelope.vmpck,
        sequence: envelope.sequence,
        payload,
        len: envelope.len,
    })
}

/// Encrypts.
pub(super) fn seal(key: &[u8; 32], message: &Message) -> [u8; 4096] {
    let mut page = [0; 4096];
    put(&mut page, SEQUENCE, &message.sequence.to_le_bytes());
    page[ALGORITHM] = AES_256_GCM;
    page[HEADER_VERSION] = 1;
    put(&mut page, HEADER_SIZE, &[96, 0]);
    page[TYPE] = message.kind;
    page[MESSAGE_VERSION] = message.version;
    put(&mut page, SIZE, &crate::bits::lo16(message.len as u64).to_le_bytes());
    page[VMPCK] = crate::bits::lo8(message.vmpck as u64);
    put(&mut page, HEADER, &message.payload[..message.len]);
    let (header, payload) = page.split_at_mut(HEADER);
    let tag = cipher(key).encrypt_inout_detached(
        &iv(message.sequence),
        &header[ALGORITHM..],
        (&mut payload[..message.len]).into(),
    );
    if let Ok(tag) = tag {
        put(header, 0, &tag);
    }
    page
}

/// A (key, IV) pair and what was seen under it.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct IvUse {
    sequence: u64,
    /// VMPCK + 1; 0: a free slot.
    vmpck: u64,
    seen: [u8; 32],
}

/// The IVs that the guest has used last: of each key, those that are less than [`IVS`] / 4 sequence numbers apart.
pub(super) struct Ivs(&'static mut [IvUse]);

impl Ivs {
    /// None yet.
    pub(super) fn new(memory: &'static mut [u8]) -> Self {
        match <[IvUse]>::mut_from_bytes(memory) {
            Ok(used) => Self(used),
            Err(_) => crate::log::fault!("the memory of IVs is misaligned"),
        }
    }

    /// Remembers. `false`: the same IV was used with this key for something else.
    pub(super) fn remember(&mut self, envelope: Envelope, seen: [u8; 32]) -> bool {
        let now = IvUse { sequence: envelope.sequence, vmpck: envelope.vmpck as u64 + 1, seen };
        let slot = envelope.sequence.wrapping_mul(4).wrapping_add(envelope.vmpck as u64) % IVS as u64;
        let last = core::mem::replace(&mut self.0[crate::bits::us(slot)], now);
        last.vmpck != now.vmpck || last.sequence != now.sequence || last.seen == seen
    }
}
