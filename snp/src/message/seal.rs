//! AES-256-GCM over a message, and the key's type.

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce};
use zerocopy::{FromBytes, IntoBytes};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::header::{HEADER_SIZE, Header, MAX_PAYLOAD, RequestType};
use crate::Page;

/// A VM platform communication key. It is not printed, copied or compared, and is wiped when it goes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Vmpck {
    bytes: [u8; 32],
    number: u8,
}

impl Vmpck {
    /// Moves key `number` out of `source`, which is zero afterwards. `None` if it already was zero, as after an earlier
    /// `take`: the PSP makes no such key, and two channels with one key would use an IV twice.
    pub fn take(source: &mut [u8; 32], number: u8) -> Option<Self> {
        let mut key = Self { bytes: [0; 32], number };
        core::mem::swap(&mut key.bytes, source);
        (key.bytes != [0; 32]).then_some(key)
    }

    /// Which of the four keys; also the VMPL that it is for.
    #[must_use]
    pub const fn number(&self) -> u8 {
        self.number
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&self.bytes.into())
    }

    /// Encrypts `payload` as the message `seqno` into `page`, all other bytes zero. Returns the message's length,
    /// `None` if the payload is too long.
    ///
    /// Not public: only the channel knows whether `seqno` is unused.
    pub(super) fn seal(&self, kind: RequestType, seqno: u64, payload: &[u8], page: &mut Page) -> Option<usize> {
        page.fill(0);
        let size = u16::try_from(payload.len()).ok()?;
        let mut header = Header::new(kind as u8, seqno, self.number, size);
        let (head, body) = page.split_at_mut(HEADER_SIZE);
        let body = body.get_mut(..payload.len())?;
        body.copy_from_slice(payload);
        let tag = self.cipher().encrypt_inout_detached(&nonce(seqno), header.aad(), (&mut *body).into());
        match tag {
            Ok(tag) => header.auth_tag = tag.into(),
            Err(_) => {
                body.zeroize();
                return None;
            }
        }
        head.copy_from_slice(header.as_bytes());
        Some(HEADER_SIZE + payload.len())
    }

    /// Verifies that `page` holds the answer `kind` with this sequence number, and decrypts it in place. Returns the
    /// payload.
    pub(super) fn open<'p>(&self, kind: RequestType, seqno: u64, page: &'p mut Page) -> Option<&'p mut [u8]> {
        let (head, body) = page.split_at_mut(HEADER_SIZE);
        let header = Header::read_from_bytes(head).ok()?;
        if !header.is_expected(kind.answer(), seqno, self.number) {
            return None;
        }
        let body = body.get_mut(..usize::from(header.msg_size.get()).min(MAX_PAYLOAD))?;
        self.cipher()
            .decrypt_inout_detached(&nonce(seqno), header.aad(), (&mut *body).into(), &header.auth_tag.into())
            .ok()?;
        Some(body)
    }
}

/// The IV: the sequence number in 8 bytes, then 4 zero bytes.
fn nonce(seqno: u64) -> Nonce<aes_gcm::aead::consts::U12> {
    let [a, b, c, d, e, f, g, h] = seqno.to_le_bytes();
    [a, b, c, d, e, f, g, h, 0, 0, 0, 0].into()
}
