//! Policies of PCRs, computed without a TPM (Part 3, 23.7): who seals a secret for a boot that is still to come needs
//! them.

use quoin_verify::evidence::wire::sha256_selection;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// `TPM_CC_PolicyPCR`.
const POLICY_PCR: u32 = 0x0000_017F;

/// The digest of a policy that is TPM2_PolicyPCR alone: these PCRs of the SHA-256 bank must have these values.
pub fn pcrs(values: &BTreeMap<u32, [u8; 32]>) -> [u8; 32] {
    let selection = sha256_selection(values.keys().fold(0, |bitmap, number| bitmap | 1 << number));
    let digest = values.values().fold(Sha256::new(), Sha256::chain_update).finalize();
    let policy = Sha256::new().chain_update([0; 32]).chain_update(POLICY_PCR.to_be_bytes());
    policy.chain_update(selection).chain_update(digest).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::pcrs;
    use quoin_verify::digest::hex;

    /// What tpm2_createpolicy says of the same PCRs, by Debian's swtpm.
    #[test]
    fn the_policy_is_the_one_that_a_tpm_computes() {
        let policy = pcrs(&[(8, [0xAA; 32]), (9, [0xBB; 32])].into());
        assert_eq!(hex(&policy), "6c209fdc00e806ff4349d347f9f8fc08029a1efcba03445269f5bc5284767571");
        assert_ne!(policy, pcrs(&[(8, [0xAA; 32])].into()));
    }
}
