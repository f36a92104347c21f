//! A number in NV, by octets: an ordinary index of 8 octets that the owner reads and writes, with the empty password.

use anyhow::{Context, Result, ensure};
use client::cc;
use client::codes::OWNER;
use client::command::{tpm2b, with_passwords};
use host::relay::Relay;

const INDEX: u32 = 0x0150_0020;
/// TPMA_NV: OWNERWRITE, OWNERREAD, NO_DA.
const ATTRIBUTES: u32 = 1 << 1 | 1 << 17 | 1 << 25;

/// A command's response, which must be good.
pub(super) fn checked(relay: &mut dyn Relay, command: &[u8]) -> Result<Vec<u8>> {
    good(relay.tpm(command)?)
}

/// A response, if it is a good one.
pub(super) fn good(response: Vec<u8>) -> Result<Vec<u8>> {
    ensure!(response.get(6..10) == Some(&[0; 4]), "{response:02x?}");
    Ok(response)
}

/// TPM2_NV_DefineSpace.
pub(super) fn define() -> Vec<u8> {
    let public = [&INDEX.to_be_bytes()[..], &[0, 0xb], &ATTRIBUTES.to_be_bytes(), &[0, 0, 0, 8]].concat();
    with_passwords(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[tpm2b(b""), tpm2b(&public)].concat())
}

/// TPM2_NV_Write.
pub(super) fn write(value: u64) -> Vec<u8> {
    let parameters = [tpm2b(&value.to_be_bytes()), vec![0, 0]].concat();
    with_passwords(cc::NV_WRITE, &[OWNER, INDEX], &[b""], &parameters)
}

/// TPM2_NV_Read.
pub(super) fn read() -> Vec<u8> {
    with_passwords(cc::NV_READ, &[OWNER, INDEX], &[b""], &[0, 8, 0, 0])
}

/// The number in that command's response.
pub(super) fn of(response: Vec<u8>) -> Result<u64> {
    let number = good(response)?.get(16..24).map(<[u8; 8]>::try_from).context("a short response")?;
    Ok(u64::from_be_bytes(number?))
}
