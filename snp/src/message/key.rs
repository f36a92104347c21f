//! MSG_KEY_REQ and MSG_KEY_RSP: keys that the PSP derives from the chip and the guest's identity (SNP firmware ABI,
//! tables 18 to 20).

use core::mem::{offset_of, size_of};
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::channel::{Channel, MessageError};
use super::header::{MAX_PAYLOAD, RequestType};
use super::transport::Transport;
use crate::rmp::Vmpl;

/// GUEST_FIELD_SELECT: what is mixed into the key.
pub mod field {
    /// Guest policy.
    pub const POLICY: u64 = 1;
    /// IMAGE_ID.
    pub const IMAGE_ID: u64 = 1 << 1;
    /// FAMILY_ID.
    pub const FAMILY_ID: u64 = 1 << 2;
    /// Launch measurement.
    pub const MEASUREMENT: u64 = 1 << 3;
    /// Guest SVN, up to that of the launch.
    pub const GUEST_SVN: u64 = 1 << 4;
    /// TCB version, up to the committed one.
    pub const TCB_VERSION: u64 = 1 << 5;
    /// Launch mitigation vector (firmware 1.58 and later).
    pub const LAUNCH_MITIGATION: u64 = 1 << 6;
}

/// Root of a derived key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RootKey {
    /// VCEK (or VLEK).
    Vcek = 0,
    /// The migration agent's root key.
    Vmrk = 1,
}

/// MSG_KEY_REQ as all firmware takes it. (From 1.58 on, 8 more bytes hold a launch mitigation vector; without them it
/// is 0.)
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct KeyRequest {
    /// Bit 0: [`RootKey`].
    pub root_key: U32,
    /// Zero.
    pub reserved_04: U32,
    /// Bits of [`field`].
    pub field_select: U64,
    /// VMPL that is mixed in; not below the channel's.
    pub vmpl: U32,
    /// Mixed in if selected.
    pub guest_svn: U32,
    /// Mixed in if selected.
    pub tcb_version: U64,
}

const _: () = assert!(size_of::<KeyRequest>() == 0x20);
const _: () = assert!(offset_of!(KeyRequest, field_select) == 8);
const _: () = assert!(offset_of!(KeyRequest, vmpl) == 0x10);
const _: () = assert!(offset_of!(KeyRequest, tcb_version) == 0x18);

impl KeyRequest {
    /// A request that mixes in `field_select` (without SVN, TCB and mitigation vector) and `vmpl`.
    #[must_use]
    pub fn new(root: RootKey, field_select: u64, vmpl: Vmpl) -> Self {
        Self {
            root_key: U32::new(u32::from(root as u8)),
            reserved_04: U32::ZERO,
            field_select: U64::new(field_select),
            vmpl: U32::new(vmpl.number().into()),
            guest_svn: U32::ZERO,
            tcb_version: U64::ZERO,
        }
    }
}

/// Bytes of MSG_KEY_RSP: u32 status, 28 reserved, key.
pub const KEY_RESPONSE_SIZE: usize = 0x40;

/// A derived key. Not printed, copied or compared; wiped when it goes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct DerivedKey([u8; 32]);

impl DerivedKey {
    /// The key's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key in a verified MSG_KEY_RSP.
    ///
    /// # Errors
    /// `Status`, `AnswerSize`.
    pub fn parse(payload: &[u8]) -> Result<Self, MessageError> {
        let size = MessageError::AnswerSize(payload.len());
        let (status, _) = U32::read_from_prefix(payload).map_err(|_| size)?;
        if status != 0 {
            return Err(MessageError::Status(status.get()));
        }
        let payload: &[u8; KEY_RESPONSE_SIZE] = payload.try_into().map_err(|_| size)?;
        payload.last_chunk().map(|key| Self(*key)).ok_or(size)
    }
}

impl Channel {
    /// A derived key.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn derived_key(
        &mut self,
        transport: &mut impl Transport,
        request: &KeyRequest,
    ) -> Result<DerivedKey, MessageError> {
        let mut answer = Zeroizing::new([0; MAX_PAYLOAD]);
        let len = self.request(transport, RequestType::Key, request.as_bytes(), &mut *answer)?;
        DerivedKey::parse(answer.get(..len).unwrap_or_default())
    }
}
