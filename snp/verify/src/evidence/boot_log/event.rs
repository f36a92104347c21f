//! One event: its type's name, what it says in words, and what of its data the digest proves.
//!
//! What types are there, and what each has for data, is in the TCG PC Client Platform Firmware Profile (10.4). Of some
//! the data are what was measured, by the profile and in every log that was seen; of others they may be, in one of a
//! few forms, and the digest says whether they were.

use super::super::event_log::Event;
use super::super::wire::alg;
use super::text::{shown, text};
use super::uefi;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;

pub(super) const EV_NO_ACTION: u32 = 3;
const EV_SEPARATOR: u32 = 4;
/// Its data are what was measured, as those of the two before and after.
const EV_ACTION: u32 = 5;
const EV_EVENT_TAG: u32 = 6;
pub(super) const EV_S_CRTM_VERSION: u32 = 8;
pub(super) const EV_IPL: u32 = 13;
const EV_EFI_VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;
const EV_EFI_VARIABLE_BOOT: u32 = 0x8000_0002;
const EV_EFI_GPT_EVENT: u32 = 0x8000_0006;
const EV_EFI_ACTION: u32 = 0x8000_0007;

/// Types and their names.
const TYPES: [(u32, &str); 38] = [
    (0, "EV_PREBOOT_CERT"),
    (1, "EV_POST_CODE"),
    (2, "EV_UNUSED"),
    (EV_NO_ACTION, "EV_NO_ACTION"),
    (EV_SEPARATOR, "EV_SEPARATOR"),
    (EV_ACTION, "EV_ACTION"),
    (EV_EVENT_TAG, "EV_EVENT_TAG"),
    (7, "EV_S_CRTM_CONTENTS"),
    (EV_S_CRTM_VERSION, "EV_S_CRTM_VERSION"),
    (9, "EV_CPU_MICROCODE"),
    (10, "EV_PLATFORM_CONFIG_FLAGS"),
    (11, "EV_TABLE_OF_DEVICES"),
    (12, "EV_COMPACT_HASH"),
    (EV_IPL, "EV_IPL"),
    (14, "EV_IPL_PARTITION_DATA"),
    (15, "EV_NONHOST_CODE"),
    (16, "EV_NONHOST_CONFIG"),
    (17, "EV_NONHOST_INFO"),
    (18, "EV_OMIT_BOOT_DEVICE_EVENTS"),
    (19, "EV_POST_CODE2"),
    (EV_EFI_VARIABLE_DRIVER_CONFIG, "EV_EFI_VARIABLE_DRIVER_CONFIG"),
    (EV_EFI_VARIABLE_BOOT, "EV_EFI_VARIABLE_BOOT"),
    (0x8000_0003, "EV_EFI_BOOT_SERVICES_APPLICATION"),
    (0x8000_0004, "EV_EFI_BOOT_SERVICES_DRIVER"),
    (0x8000_0005, "EV_EFI_RUNTIME_SERVICES_DRIVER"),
    (EV_EFI_GPT_EVENT, "EV_EFI_GPT_EVENT"),
    (EV_EFI_ACTION, "EV_EFI_ACTION"),
    (0x8000_0008, "EV_EFI_PLATFORM_FIRMWARE_BLOB"),
    (0x8000_0009, "EV_EFI_HANDOFF_TABLES"),
    (0x8000_000A, "EV_EFI_PLATFORM_FIRMWARE_BLOB2"),
    (0x8000_000B, "EV_EFI_HANDOFF_TABLES2"),
    (0x8000_000C, "EV_EFI_VARIABLE_BOOT2"),
    (0x8000_000D, "EV_EFI_GPT_EVENT2"),
    (0x8000_0010, "EV_EFI_HCRTM_EVENT"),
    (0x8000_00E0, "EV_EFI_VARIABLE_AUTHORITY"),
    (0x8000_00E1, "EV_EFI_SPDM_FIRMWARE_BLOB"),
    (0x8000_00E2, "EV_EFI_SPDM_FIRMWARE_CONFIG"),
    (0x8000_00E3, "EV_EFI_SPDM_DEVICE_POLICY"),
];

/// The name of a type, or its number.
pub fn type_name(kind: u32) -> String {
    let name = TYPES.iter().find(|(known, _)| *known == kind);
    name.map_or_else(|| format!("{kind:#x}"), |(_, name)| (*name).to_owned())
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootEvent {
    /// The PCR.
    pub pcr: u32,
    /// Its type.
    pub kind: u32,
    /// The digest in each bank.
    pub digests: BTreeMap<u16, Vec<u8>>,
    /// Its data.
    pub data: Vec<u8>,
}

impl BootEvent {
    /// An event of a challenger's, whose digest is that of all its data, or of text behind a name
    /// ([`super::super::event_log`]).
    pub(crate) fn of_challenger(event: Event) -> Self {
        let digest = Sha256::digest(event.measured()).to_vec();
        let kind = if event.measured() == event.data { EV_ACTION } else { EV_IPL };
        Self { pcr: event.pcr, kind, digests: BTreeMap::from([(alg::SHA256, digest)]), data: event.data }
    }

    /// Its type's name.
    pub fn type_name(&self) -> String {
        type_name(self.kind)
    }

    /// Its SHA-256 digest.
    pub fn sha256(&self) -> Result<&[u8]> {
        self.digests.get(&alg::SHA256).map(Vec::as_slice).context("boot log: an event has no SHA-256 digest")
    }

    /// What of the data must be what was measured: a digest of anything else is refused. GRUB and this firmware log
    /// text behind a name, as in `kernel_cmdline: quiet`.
    pub(super) fn must_be_measured(&self) -> Option<&[u8]> {
        match self.kind {
            EV_SEPARATOR
            | EV_ACTION
            | EV_S_CRTM_VERSION
            | EV_EFI_ACTION
            | EV_EFI_VARIABLE_DRIVER_CONFIG
            | EV_EFI_GPT_EVENT => Some(&self.data),
            EV_IPL => {
                let text = self.data.strip_suffix(b"\0")?;
                let colon = text.windows(2).position(|two| two == b": ")?;
                let (name, text) = text.split_at(colon);
                let is_name = name.iter().all(|letter| letter.is_ascii_lowercase() || *letter == b'_');
                text.get(2..).filter(|_| is_name)
            }
            _ => None,
        }
    }

    /// What of the data was measured, if that is in the log: the SHA-256 digest is of it.
    pub(crate) fn measured(&self) -> Option<Cow<'_, [u8]>> {
        let digest = self.sha256().ok()?;
        let candidates = self.candidates();
        candidates.into_iter().find(|measured| Sha256::digest(measured)[..] == *digest)
    }

    fn candidates(&self) -> Vec<Cow<'_, [u8]>> {
        if let Some(measured) = self.must_be_measured() {
            return vec![Cow::Borrowed(measured)];
        }
        let mut candidates = vec![Cow::Borrowed(self.data.as_slice())];
        match self.kind {
            EV_EFI_VARIABLE_BOOT => {
                candidates.extend(uefi::Variable::parse(&self.data).ok().map(|variable| Cow::Borrowed(variable.data)));
            }
            // systemd-stub measures the name of a section in ASCII with its zero, and logs it in UTF-16.
            EV_IPL => candidates.extend(text(&self.data).map(|text| Cow::Owned(format!("{text}\0").into_bytes()))),
            _ => {}
        }
        candidates
    }
}

impl core::fmt::Display for BootEvent {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let said = match self.kind {
            EV_NO_ACTION => Ok(note(&self.data)),
            EV_SEPARATOR => Ok(separator(&self.data)),
            EV_S_CRTM_VERSION => Ok(version(&self.data)),
            EV_EVENT_TAG => uefi::tagged(&self.data),
            1 | 0x8000_0008 => uefi::blob(&self.data),
            19 | 0x8000_000A => uefi::blob2(&self.data),
            EV_EFI_VARIABLE_DRIVER_CONFIG | EV_EFI_VARIABLE_BOOT | 0x8000_000C => uefi::variable(&self.data),
            0x8000_00E0 => uefi::authority(&self.data),
            0x8000_0003..=0x8000_0005 => uefi::image(&self.data),
            EV_EFI_GPT_EVENT | 0x8000_000D => uefi::partitions(&self.data),
            0x8000_0009 => uefi::tables(&self.data),
            0x8000_000B => uefi::tables2(&self.data),
            _ => Ok(shown(&self.data)),
        };
        f.write_str(&said.unwrap_or_else(|_| shown(&self.data)))
    }
}

fn separator(data: &[u8]) -> String {
    match data {
        [0, 0, 0, 0] | [0xFF, 0xFF, 0xFF, 0xFF] => String::from("separator"),
        other => format!("separator, an error: {}", shown(other)),
    }
}

fn version(data: &[u8]) -> String {
    match text(data) {
        Some(text) => format!("the firmware's version `{text}`"),
        None => String::from("the firmware's version"),
    }
}

/// The signature with which the data of such an event begin, and what is behind it where that has a name here.
fn note(data: &[u8]) -> String {
    let (signature, rest) = data.split_at(data.len().min(16));
    match (text(signature), rest) {
        (Some(name), [locality]) if name == "StartupLocality" => format!("TPM2_Startup at locality {locality}"),
        (Some(name), _) => format!("`{name}`"),
        (None, _) => shown(data),
    }
}
