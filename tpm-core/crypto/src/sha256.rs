//! SHA-256 and HMAC over it in one go, for what is short and frequent: there the streaming state, its moves and its
//! wiping take as long as the compression function. Everything else is [`super::hash`]'s and [`super::hmac`]'s.

use core::ops::{Deref, DerefMut};

use sha2::block_api::compress256;
use zeroize::Zeroize;

use crate::bounded;

const SIZE: usize = 32;
const BLOCK: usize = 64;

/// The chaining value.
pub(super) type State = [u32; 8];
/// A block to be filled, which is wiped when dropped: at once, not octet by octet.
pub(super) struct Scratch([u8; BLOCK]);

impl Deref for Scratch {
    type Target = [u8; BLOCK];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.0.fill(0);
        zeroize::optimization_barrier(&self.0);
    }
}

/// The chaining value at the beginning (FIPS 180-4, 5.3.3).
const INITIAL: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

pub(super) fn scratch() -> Scratch {
    Scratch([0; BLOCK])
}

/// The digest of the concatenation of `parts`.
pub(super) fn digest<'a>(parts: impl Iterator<Item = &'a [u8]>) -> [u8; SIZE] {
    finish(INITIAL, 0, parts, &mut scratch())
}

/// The HMAC of the concatenation of `parts` with a key of any length.
pub(super) fn hmac_with_key<'a>(key: &[u8], parts: impl Iterator<Item = &'a [u8]>) -> [u8; SIZE] {
    let mut scratch = scratch();
    if key.len() > BLOCK {
        let mut hashed = digest([key].into_iter());
        bounded::copy(&mut *scratch, &hashed);
        hashed.zeroize();
    } else {
        bounded::copy(&mut *scratch, key);
    }
    let mut keyed = keyed(&mut scratch);
    let mac = hmac(&keyed, parts, &mut scratch);
    keyed.zeroize();
    mac
}

/// The two hash computations of HMAC with the key in `block` (FIPS 198-1), as far as they go without a message.
pub(super) fn keyed(block: &mut Scratch) -> [State; 2] {
    [0x36, 0x36 ^ 0x5C].map(|pad| {
        block.iter_mut().for_each(|byte| *byte ^= pad);
        let mut state = INITIAL;
        compress256(&mut state, core::slice::from_ref(&**block));
        state
    })
}

/// The HMAC of the concatenation of `parts`.
pub(super) fn hmac<'a>(
    [inner, outer]: &[State; 2],
    parts: impl Iterator<Item = &'a [u8]>,
    scratch: &mut Scratch,
) -> [u8; SIZE] {
    let mut digest = finish(*inner, BLOCK, parts, scratch);
    let mac = finish_digest(*outer, &digest, scratch);
    digest.zeroize();
    mac
}

/// The HMAC of a value of a digest's length.
pub(super) fn hmac_of_digest([inner, outer]: &[State; 2], value: &[u8; SIZE], scratch: &mut Scratch) -> [u8; SIZE] {
    let mut digest = finish_digest(*inner, value, scratch);
    let mac = finish_digest(*outer, &digest, scratch);
    digest.zeroize();
    mac
}

/// What stands behind a block and a digest: their length is known, so the padding is.
const BEHIND_DIGEST: [u8; BLOCK - SIZE] = {
    let mut padding = [0; BLOCK - SIZE];
    padding[0] = 0x80;
    padding[BLOCK - SIZE - 2] = 3;
    padding
};
const _: () = assert!((BLOCK + SIZE) * 8 == 0x300);

/// The digest of a block, which is in `state`, and of a digest.
fn finish_digest(mut state: State, value: &[u8; SIZE], block: &mut Scratch) -> [u8; SIZE] {
    if let [front, behind] = block.as_chunks_mut::<SIZE>().0 {
        (*front, *behind) = (*value, BEHIND_DIGEST);
    }
    compress256(&mut state, core::slice::from_ref(&**block));
    let digest = to_bytes(&state);
    state.zeroize();
    digest
}

fn to_bytes(state: &State) -> [u8; SIZE] {
    let mut digest = [0; SIZE];
    digest.as_chunks_mut().0.iter_mut().zip(state).for_each(|(to, word)| *to = word.to_be_bytes());
    digest
}

/// The digest of `bytes` octets, which are in `state`, and of `parts`.
fn finish<'a>(
    mut state: State,
    mut bytes: usize,
    parts: impl Iterator<Item = &'a [u8]>,
    block: &mut Scratch,
) -> [u8; SIZE] {
    let mut used = 0;
    for mut part in parts {
        bytes = bytes.saturating_add(part.len());
        while !part.is_empty() {
            if used == 0 && part.len() >= BLOCK {
                let (blocks, rest) = part.as_chunks();
                compress256(&mut state, blocks);
                part = rest;
            }
            let room = block.get_mut(used..).unwrap_or_default();
            let (now, later) = part.split_at(part.len().min(room.len()));
            bounded::copy(room, now);
            (used, part) = (used.saturating_add(now.len()), later);
            if used >= BLOCK {
                compress256(&mut state, core::slice::from_ref(&**block));
                used = 0;
            }
        }
    }
    pad(&mut state, block, used);
    let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(8);
    if let Some(end) = block.last_chunk_mut() {
        *end = bits.to_be_bytes();
    }
    compress256(&mut state, core::slice::from_ref(&**block));
    let digest = to_bytes(&state);
    state.zeroize();
    digest
}

/// FIPS 180-4, 5.1.1, without the length. Takes in the block if the length does not fit behind.
fn pad(state: &mut State, block: &mut Scratch, used: usize) {
    let free = block.get_mut(used..).unwrap_or_default();
    free.fill(0);
    if let Some(first) = free.first_mut() {
        *first = 0x80;
    }
    if free.len() <= size_of::<u64>() {
        compress256(state, core::slice::from_ref(&**block));
        block.fill(0);
    }
}
