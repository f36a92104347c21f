//! Whether a firmware works: its TPM and its attestation answer the payload at VMPL2.

use anyhow::{Result, ensure};
use host::collect;
use host::qemu::Qemu;
use host::relay::{AttestCall, Relay, result_name};
use sha2::{Digest, Sha512};

/// Of a machine whose payload runs.
pub(super) fn of(qemu: &mut Qemu) -> Result<()> {
    through(&mut qemu.relay()?)
}

/// Through a relay that is taken already.
pub(super) fn through(relay: &mut dyn Relay) -> Result<()> {
    let nonce = [7; 64];
    let attested = relay.attest(AttestCall::Single(collect::VTPM_GUID), 0, &nonce)?;
    ensure!(attested.rax == 0, "SVSM_ATTEST_SINGLE_SERVICE: {}", result_name(attested.rax));
    let data = Sha512::new().chain_update(nonce).chain_update(&attested.manifest).finalize();
    ensure!(attested.report.get(0x50..0x90) == Some(&data[..]), "the report is not that of this call");
    // TPM2_GetTestResult.
    let response = relay.tpm(&[0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x7C])?;
    ensure!(response.len() >= 10, "the TPM has answered {response:?}");
    Ok(())
}
