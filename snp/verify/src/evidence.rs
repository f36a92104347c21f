//! Evidence: what a guest's agent and a challenger gather, so that a verifier who was not there can judge the vTPM.
//!
//! A folder holds ([`folder::FILES`]):
//!
//! | file | contents |
//! |---|---|
//! | `report.bin` | SEV-SNP attestation report of VMPL0; its REPORT_DATA is SHA-512(nonce ‖ manifest) |
//! | `certificates.bin`, `ark.der`, `ask.der`, `vcek.der` | the host's certificate table, and what is in it |
//! | `manifest.bin` | vTPM manifest: of version 0, `TPMT_PUBLIC` of the RSA-2048 EK, or of version 1 ([`manifest`]) |
//! | `nonce.bin` | 64 random bytes, the challenger's |
//! | `measurement.bin` | the launch digest that the collector expected, from the IGVM file |
//! | `ak.pub` | `TPM2B_PUBLIC` of a restricted P-256 signing key in the endorsement hierarchy |
//! | `credential/secret`, `seed`, `oaep.seed` | the challenger's random values, 32 bytes each |
//! | `credential/ak.name`, `blob`, `encrypted.seed` | the challenge: `TPM2_MakeCredential` for that AK under that EK |
//! | `credential/answer` | what `TPM2_ActivateCredential` returned |
//! | `events.bin` | TCG event log (crypto agile) of what was measured; `tpm2_eventlog` reads it |
//! | `pcrs.bin` | PCR 0–23, SHA-256 bank |
//! | `quote.pcrs` | the same for `tpm2_checkquote -f`; read by nobody here |
//! | `boot-events.bin` | TCG event log of the boot that the firmware kept; missing where it measured nothing |
//! | `userspace-events.json` | what systemd has measured after it ([`userspace`]); missing where it did not |
//! | `quote.msg`, `quote.sig`, `quote.nonce` | `TPMS_ATTEST` over all those PCRs, its signature, the second nonce |
//!
//! The credential's secret lies in the folder, so that the challenge can be made again: that shows what was asked, and
//! that the answer is right. That the answer came from the TPM is the collector's word, as it is in any protocol whose
//! challenger is somebody else.

pub mod boot_log;
pub mod carried;
pub mod claims;
pub mod credential;
pub mod event_log;
pub mod folder;
pub mod ima;
pub mod manifest;
pub mod report;
pub mod services;
pub mod template;
pub mod userspace;
pub mod wire;
