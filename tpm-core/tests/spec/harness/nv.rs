//! NV Indices in tests: commands, attributes, and what is often done with them.

use super::Fixture;
use client::codes::{OWNER, PLATFORM};
use client::session::Outcome;
use client::tpm2b;
use tpm_core::cc;

pub(crate) use client::attributes::nv as a;

/// What a PIN index needs: the owner writes it.
pub(crate) const PIN: u32 = a::OWNERWRITE | a::OWNERREAD | a::AUTHREAD | a::NO_DA;

pub(crate) const INDEX: u32 = 0x0150_0000;
pub(crate) const OTHER: u32 = 0x0150_0001;

/// TPMS_NV_PUBLIC with SHA-256.
pub(crate) fn public(index: u32, attributes: u32, policy: &[u8], size: u16) -> Vec<u8> {
    [&index.to_be_bytes()[..], &[0, 0xb], &attributes.to_be_bytes(), &tpm2b(policy), &size.to_be_bytes()].concat()
}

pub(crate) fn define_as(tpm: &mut Fixture, by: u32, auth: &[u8], public: &[u8]) -> Outcome {
    tpm.with(cc::NV_DEFINE_SPACE, &[by], &[b""], &[tpm2b(auth), tpm2b(public)].concat())
}

/// An index with authValue "pw".
pub(crate) fn define(tpm: &mut Fixture, index: u32, attributes: u32, size: u16) -> Outcome {
    let by = if attributes & a::PLATFORMCREATE == 0 { OWNER } else { PLATFORM };
    define_as(tpm, by, b"pw", &public(index, attributes, &[], size))
}

/// authValue of what authorizes: "pw" for an index, empty for a hierarchy.
pub(crate) fn auth_of(h: u32) -> &'static [u8] {
    if h >> 24 == 1 { b"pw" } else { b"" }
}

pub(crate) fn write(tpm: &mut Fixture, by: u32, index: u32, data: &[u8], offset: u16) -> Outcome {
    tpm.with(cc::NV_WRITE, &[by, index], &[auth_of(by)], &[&tpm2b(data)[..], &offset.to_be_bytes()].concat())
}

pub(crate) fn read(tpm: &mut Fixture, by: u32, index: u32, size: u16, offset: u16) -> Outcome {
    tpm.with(cc::NV_READ, &[by, index], &[auth_of(by)], &[size.to_be_bytes(), offset.to_be_bytes()].concat()).map(
        |reply| {
            assert_eq!(reply[..2], size.to_be_bytes());
            reply[2..].to_vec()
        },
    )
}

pub(crate) fn act(tpm: &mut Fixture, code: u32, by: u32, index: u32) -> Outcome {
    tpm.with(code, &[by, index], &[auth_of(by)], &[])
}

pub(crate) fn extend(tpm: &mut Fixture, by: u32, index: u32, data: &[u8]) -> Outcome {
    tpm.with(cc::NV_EXTEND, &[by, index], &[auth_of(by)], &tpm2b(data))
}

pub(crate) fn set_bits(tpm: &mut Fixture, by: u32, index: u32, bits: u64) -> Outcome {
    tpm.with(cc::NV_SET_BITS, &[by, index], &[auth_of(by)], &bits.to_be_bytes())
}

pub(crate) fn attributes(tpm: &mut Fixture, index: u32) -> u32 {
    let reply = tpm.run(cc::NV_READ_PUBLIC, &[index], &[], &[]).unwrap();
    u32::from_be_bytes(reply[8..12].try_into().unwrap())
}

/// The UINT64 in an index.
pub(crate) fn count(tpm: &mut Fixture, index: u32) -> u64 {
    u64::from_be_bytes(read(tpm, index, index, 8, 0).unwrap().try_into().unwrap())
}
