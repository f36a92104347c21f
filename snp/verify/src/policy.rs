//! The policy file: what a verifier demands of evidence beyond what every evidence must be (docs/policy.md).
//!
//! [`Policy`] is the file as it is written, [`Rules`] is what comes of it with the files that it names. A rule that is
//! not in the file is not judged; one that is, and whose subject the evidence lacks, refuses the evidence.

mod firmware;
mod hex;
#[cfg(test)]
mod tests;

pub use firmware::{Firmware, HypervisorFeature, Otherwise, RULES as FIRMWARE_RULES, SevFeature};
pub use hex::Hex;
pub(crate) use hex::bytes as hex_bytes;

use crate::chip::Generation;
use crate::digest::{self, Launch};
use crate::evidence::boot_log::{self, OfImage};
use crate::evidence::wire::Algorithm;
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The one form of the file that is read.
pub const VERSION: u32 = 1;

/// A policy file of `quoin-verify`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// The form of the file: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Whom the certificate chain may begin with.
    #[serde(default)]
    pub roots: Roots,
    /// The key that has signed the report.
    #[serde(default)]
    pub endorsement: Endorsement,
    /// Certificates that were taken back.
    #[serde(default)]
    pub revocation: Revocation,
    /// The report itself.
    #[serde(default)]
    pub report: ReportRules,
    /// Bits of the guest policy, which the host could not change after launch. DEBUG and MIGRATE_MA are always
    /// refused.
    #[serde(default)]
    pub guest_policy: GuestPolicy,
    /// The least security patch levels, by generation of processors.
    #[serde(default)]
    pub tcb: Tcb,
    /// Bits of PLATFORM_INFO: true must be set, false must be clear.
    #[serde(default)]
    pub platform_info: PlatformInfo,
    /// Mitigation vectors; reports have them from version 5 on.
    #[serde(default)]
    pub mitigations: Mitigations,
    /// Chips that may be.
    #[serde(default)]
    pub chips: Chips,
    /// What was launched.
    #[serde(default)]
    pub launch: LaunchRules,
    /// The endorsement key.
    #[serde(default)]
    pub ek: KeyRules,
    /// The certificate of the endorsement key.
    #[serde(default)]
    pub ek_certificate: EkCertificate,
    /// The attestation key.
    #[serde(default)]
    pub ak: KeyRules,
    /// The state that the TPM runs, as a manifest of version 2 says it.
    #[serde(default)]
    pub state: StateRules,
    /// PCR values of the SHA-256 bank: the PCR's number, and the value or values that it may have.
    #[serde(default)]
    pub pcrs: BTreeMap<String, OneOrMore>,
    /// What the event log must have, or must not have.
    #[serde(default)]
    pub events: Vec<EventRule>,
    /// Parts that the evidence must have, besides those that other rules are about.
    #[serde(default)]
    pub require: Vec<Part>,
    /// A firmware that judges its own platform.
    #[serde(default)]
    pub firmware: Firmware,
}

/// Whom the certificate chain may begin with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Roots {
    /// Generations whose root of AMD's is accepted; all that are known where this key is missing.
    pub amd: Option<Vec<Generation>>,
    /// Other roots, by SHA-256 of their DER.
    #[serde(default)]
    pub sha256: Vec<Hex<32>>,
    /// Other roots: files, in DER or PEM.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// Accept the mock root, whose chip key is public: for tests, it proves nothing.
    #[serde(default)]
    pub development: bool,
}

/// The key that has signed the report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Endorsement {
    /// Kinds that are accepted; both where this key is missing.
    pub keys: Option<Vec<EndorsementKind>>,
    /// Cloud providers that a VLEK may be for: their names in its certificate (CSP_ID).
    #[serde(default, deserialize_with = "not_empty")]
    #[schemars(length(min = 1))]
    pub providers: Vec<String>,
}

/// A kind of key that signs reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndorsementKind {
    /// The chip's own.
    Vcek,
    /// The cloud provider's, for all its chips.
    Vlek,
}

/// Certificates that were taken back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Revocation {
    /// Certificate revocation lists: files, in DER or PEM. Each that is the root's is used.
    #[serde(default)]
    pub crls: Vec<PathBuf>,
    /// There must be a list of the root, and it must not be past its next update.
    #[serde(default)]
    pub required: bool,
}

/// The report itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReportRules {
    /// Versions that are accepted; 2 to 5 where this key is missing.
    pub versions: Option<Vec<u32>>,
    /// The VMPL for which the report was asked. Anything but 0 is taken of reports without a TPM only.
    #[schemars(range(max = 3))]
    pub vmpl: Option<u32>,
    /// The reported TCB is the committed one: the host cannot go back below it.
    #[serde(default)]
    pub reported_is_committed: bool,
}

/// Bits of the guest policy: true must be set, false must be clear.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GuestPolicy {
    /// The whole value.
    pub value: Option<u64>,
    /// Bit 19, DEBUG. Only `false` is taken: with it the host reads the guest's memory.
    pub debug: Option<bool>,
    /// Bit 18, MIGRATE_MA. Only `false` is taken.
    pub migration_agent: Option<bool>,
    /// Bit 16: the guest may run where SMT is on.
    pub smt: Option<bool>,
    /// Bit 20: the guest runs on one socket only.
    pub single_socket: Option<bool>,
    /// Bit 21: CXL devices and memory may be there.
    pub cxl: Option<bool>,
    /// Bit 22: memory must be encrypted with AES-256-XTS.
    pub aes_256_xts: Option<bool>,
    /// Bit 23: RAPL must be off.
    pub rapl_disabled: Option<bool>,
    /// Bit 24: ciphertext hiding must be on.
    pub ciphertext_hiding: Option<bool>,
    /// Bit 25: the guest's pages must not be swapped or moved by the host.
    pub page_swap_disabled: Option<bool>,
}

/// The least security patch levels, by generation of processors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tcb {
    /// Of EPYC 7003.
    pub milan: Option<Minimum>,
    /// Of EPYC 9004, Bergamo and Siena included.
    pub genoa: Option<Minimum>,
    /// Of EPYC 9005.
    pub turin: Option<Minimum>,
    /// The TCB at launch may be lower: only the reported one counts.
    #[serde(default)]
    pub launch_may_be_lower: bool,
}

/// The least levels; what is missing may be any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Minimum {
    /// FMC; Turin has it, and no generation before.
    pub fmc: Option<u8>,
    /// The boot loader.
    pub boot_loader: Option<u8>,
    /// The PSP's operating system.
    pub tee: Option<u8>,
    /// The SNP firmware.
    pub snp: Option<u8>,
    /// Microcode.
    pub microcode: Option<u8>,
}

/// Bits of PLATFORM_INFO: true must be set, false must be clear.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PlatformInfo {
    /// Bit 0, SMT_EN.
    pub smt: Option<bool>,
    /// Bit 1, TSME_EN.
    pub tsme: Option<bool>,
    /// Bit 2, ECC_EN.
    pub ecc: Option<bool>,
    /// Bit 3, RAPL_DIS.
    pub rapl_disabled: Option<bool>,
    /// Bit 4, CIPHERTEXT_HIDING_DRAM_EN.
    pub ciphertext_hiding: Option<bool>,
    /// Bit 5, ALIAS_CHECK_COMPLETE: memory modules that lie about their size were looked for (CVE-2024-21944).
    pub alias_check_complete: Option<bool>,
    /// Bit 6: writes of the IOMMU are safe; Turin.
    pub iommu_write_safe: Option<bool>,
    /// Bit 7, TIO_EN.
    pub trusted_io: Option<bool>,
    /// No bit is set that has no name here.
    #[serde(default)]
    pub no_other: bool,
}

/// Mitigation vectors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mitigations {
    /// Bits that were set when the guest was launched.
    pub launch: Option<u64>,
    /// Bits that are set now.
    pub current: Option<u64>,
}

/// Chips that may be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Chips {
    /// CHIP_ID as a report has it; Turin's eight bytes are followed by zeros.
    #[serde(default, deserialize_with = "not_empty")]
    #[schemars(length(min = 1))]
    pub ids: Vec<Hex<64>>,
}

/// What was launched.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LaunchRules {
    /// Launch digests that may be.
    #[serde(default, deserialize_with = "not_empty")]
    #[schemars(length(min = 1))]
    pub digests: Vec<Hex<48>>,
    /// IGVM files whose launch digest may be; what they measure must be in the event log.
    #[serde(default, deserialize_with = "not_empty")]
    #[schemars(length(min = 1))]
    pub igvm: Vec<PathBuf>,
    /// HOST_DATA that may be.
    #[serde(default, deserialize_with = "not_empty")]
    #[schemars(length(min = 1))]
    pub host_data: Vec<Hex<32>>,
    /// Keys of ID blocks: ID_KEY_DIGEST that may be.
    #[serde(default, deserialize_with = "not_empty")]
    #[schemars(length(min = 1))]
    pub id_key_digests: Vec<Hex<48>>,
    /// AUTHOR_KEY_DIGEST that may be.
    #[serde(default, deserialize_with = "not_empty")]
    #[schemars(length(min = 1))]
    pub author_key_digests: Vec<Hex<48>>,
    /// FAMILY_ID.
    pub family_id: Option<Hex<16>>,
    /// IMAGE_ID.
    pub image_id: Option<Hex<16>>,
    /// The least GUEST_SVN.
    pub guest_svn: Option<u32>,
}

/// A TPM's key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeyRules {
    /// Names (nameAlg and digest of the public area) that may be.
    #[serde(default, deserialize_with = "not_empty")]
    #[schemars(length(min = 1))]
    pub names: Vec<Hex<34>>,
    /// Kinds of keys that may be; any that is known where this key is missing.
    pub algorithms: Option<Vec<Algorithm>>,
}

/// The state that the TPM runs: true must be so, false must not be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StateRules {
    /// The state is kept: it outlives the VM.
    pub kept: Option<bool>,
    /// A quorum of anchors knows this boot: no newer state was known to them.
    pub anchored: Option<bool>,
    /// It has started with too few anchors.
    pub too_few_anchors: Option<bool>,
    /// It has come by migration.
    pub migrated: Option<bool>,
    /// TPM identities that may be.
    #[serde(default, deserialize_with = "not_empty")]
    #[schemars(length(min = 1))]
    pub identities: Vec<Hex<32>>,
    /// The least epoch.
    pub least_epoch: Option<u64>,
    /// Firmware that it may have come from: the first 32 octets of launch digests.
    #[serde(default, deserialize_with = "not_empty")]
    #[schemars(length(min = 1))]
    pub came_from: Vec<Hex<32>>,
}

/// Values of which the evidence must have one. An empty list of them, such as a program may write, would be no rule:
/// whoever wants none leaves the key out.
fn not_empty<'de, D, T>(list: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let values = Vec::deserialize(list)?;
    if values.is_empty() {
        return Err(D::Error::custom("an empty list, of which nothing can be; without the key anything may be"));
    }
    Ok(values)
}

/// A value, or several of which one is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "64 hexadecimal digits, or a list of such values")]
pub enum OneOrMore {
    /// The one value.
    One(Hex<32>),
    /// The values.
    More(Vec<Hex<32>>),
}

impl OneOrMore {
    /// The values.
    pub const fn values(&self) -> &[Hex<32>] {
        match self {
            Self::One(value) => core::slice::from_ref(value),
            Self::More(values) => values.as_slice(),
        }
    }
}

/// What the event log must have, or must not have: which events it is about, and what each of them must be.
///
/// What a log says of an event's type and name is the log's own word. What is proven is the order of a PCR's events,
/// and their digests: `index`, `sha256`, and text that was measured itself (`contains`, `lacks`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EventRule {
    /// Events of this PCR.
    #[schemars(range(max = 23))]
    pub pcr: u32,
    /// The event that is so many-th of its PCR, beginning with 1.
    pub index: Option<u32>,
    /// Events of this type, such as 0xd (EV_IPL).
    #[serde(rename = "type")]
    pub kind: Option<u32>,
    /// Events whose data begin so, such as `kernel_cmdline: `.
    pub starts_with: Option<String>,
    /// How many there must be.
    #[serde(default)]
    pub count: Count,
    /// Each has one of these SHA-256 digests.
    #[serde(default, deserialize_with = "not_empty")]
    #[schemars(length(min = 1))]
    pub sha256: Vec<Hex<32>>,
    /// The text that was measured has each of these in it.
    #[serde(default)]
    pub contains: Vec<String>,
    /// The text that was measured has none of these in it.
    #[serde(default)]
    pub lacks: Vec<String>,
}

/// How many events there must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Count {
    /// One or more.
    #[default]
    Some,
    /// One.
    One,
    /// None.
    None,
    /// Any number: what there is must be as the rule says.
    Any,
}

/// A part of evidence that not every kind has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The report, which a TPM that was asked over its TCTI may lack.
    Report,
    /// The EK's certificate.
    EkCertificate,
    /// The endorsement key, named in REPORT_DATA.
    Ek,
    /// The attestation key.
    Ak,
    /// The challenge by which a TPM shows that EK and AK are in it.
    Credential,
    /// The quote.
    Quote,
    /// An event log.
    EventLog,
    /// A nonce for the report, brought by the verifier.
    Nonce,
    /// A nonce for the quote, brought by the verifier.
    QuoteNonce,
}

/// The certificate of the endorsement key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EkCertificate {
    /// Authorities that may be at the end of its issuers: files, in DER or PEM. With any, there must be a certificate.
    #[serde(default, deserialize_with = "not_empty")]
    #[schemars(length(min = 1))]
    pub roots: Vec<PathBuf>,
}

impl Policy {
    /// Reads the text of a policy file; an error names line and column.
    pub fn parse(text: &str) -> Result<Self> {
        let policy: Self = toml::from_str(text)?;
        ensure!(policy.version == VERSION, "version = {}: this program reads version {VERSION}", policy.version);
        let GuestPolicy { debug, migration_agent, .. } = &policy.guest_policy;
        ensure!(*debug != Some(true), "guest-policy.debug = true: with it the host reads the guest's memory");
        ensure!(*migration_agent != Some(true), "guest-policy.migration-agent = true: an agent has the guest's memory");
        ensure!(policy.report.vmpl.is_none_or(|vmpl| vmpl < 4), "report.vmpl: there are VMPL 0 to 3");
        for (pcr, values) in &policy.pcrs {
            ensure!(pcr.parse::<u32>().is_ok_and(|pcr| pcr < 24), "pcrs.{pcr}: there are PCR 0 to 23");
            ensure!(!values.values().is_empty(), "pcrs.{pcr}: an empty list, of which nothing can be");
        }
        for (number, rule) in policy.events.iter().enumerate() {
            ensure!(rule.pcr < 24, "events, rule {}: there is no PCR {}", number + 1, rule.pcr);
            ensure!(rule.index != Some(0), "events, rule {}: index begins with 1", number + 1);
        }
        for (generation, minimum) in [("milan", policy.tcb.milan), ("genoa", policy.tcb.genoa)] {
            ensure!(minimum.is_none_or(|minimum| minimum.fmc.is_none()), "tcb.{generation}.fmc: it has no FMC");
        }
        policy.firmware.check()?;
        Ok(policy)
    }

    /// The JSON schema of the file.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Policy).to_value()
    }
}

/// An IGVM file that may be launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The file.
    pub path: PathBuf,
    /// What its launch measures.
    pub launch: Launch,
    /// The events that its boot measures.
    pub events: OfImage,
}

/// A policy and the files that it names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// The policy.
    pub policy: Policy,
    /// Roots, DER.
    pub roots: Vec<Vec<u8>>,
    /// Authorities above EK certificates, DER.
    pub ek_roots: Vec<Vec<u8>>,
    /// Certificate revocation lists, DER.
    pub crls: Vec<Vec<u8>>,
    /// Images.
    pub images: Vec<Image>,
    /// Certificates of keys that sign files which IMA measures, DER.
    pub ima_keys: Vec<Vec<u8>>,
}

impl Rules {
    /// Reads a policy file and the files that it names, whose paths are relative to its folder.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)?;
        let policy = Policy::parse(&text).with_context(|| format!("policy file {}", path.display()))?;
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        let file = |path: &PathBuf| Ok::<_, anyhow::Error>(fs::read(folder.join(path))?);
        let der = |path: &PathBuf| crate::pem::der(&file(path)?).with_context(|| path.display().to_string());
        let image = |path: &PathBuf| Image::new(path.clone(), &file(path)?);
        Ok(Self {
            roots: policy.roots.files.iter().map(der).collect::<Result<_>>()?,
            ek_roots: policy.ek_certificate.roots.iter().map(der).collect::<Result<_>>()?,
            crls: policy.revocation.crls.iter().map(der).collect::<Result<_>>()?,
            images: policy.launch.igvm.iter().map(image).collect::<Result<_>>()?,
            ima_keys: Vec::new(),
            policy,
        })
    }

    /// The policy says which launch digest is right.
    pub const fn has_reference(&self) -> bool {
        !self.policy.launch.digests.is_empty() || !self.images.is_empty()
    }
}

impl Image {
    /// Measures a file.
    pub fn new(path: PathBuf, file: &[u8]) -> Result<Self> {
        let launch = digest::measure(file).with_context(|| format!("{} cannot be measured", path.display()))?;
        Ok(Self { launch, events: boot_log::expected(file)?, path })
    }
}
