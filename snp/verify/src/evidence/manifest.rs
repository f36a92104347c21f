//! The vTPM's manifest of the SVSM's attestation protocol: in version 0 a `TPMT_PUBLIC` of the RSA-2048 EK, in version
//! 1 a list of `TPM2B_PUBLIC`, EKs and AKs, behind version and number; in version 2 what the firmware says of the state
//! it runs is behind that list ([`Kept`]). All is big-endian.

use super::services;
use super::template::{self, Ek};
use super::wire::{Public, Reader};
use anyhow::{Context, Result, ensure};

/// How a manifest of version 1 begins; one of version 0 begins with the type of a key.
const VERSION_1: [u8; 4] = [0, 0, 0, 1];
/// How one of version 2 begins.
const VERSION_2: [u8; 4] = [0, 0, 0, 2];
/// An EK and an AK: who takes version 1 for less, is refused by others, too.
const LEAST: u32 = 2;
/// More keys than any TPM has.
const MOST: u32 = 64;

/// Whether it is a list: of version 1 or 2.
pub fn is_list(manifest: &[u8]) -> bool {
    manifest.starts_with(&VERSION_1) || manifest.starts_with(&VERSION_2)
}

/// The keys of a manifest of version 1 or 2, each a `TPMT_PUBLIC`.
pub fn list(manifest: &[u8]) -> Result<Vec<&[u8]>> {
    Ok(parse(manifest)?.0)
}

/// What a manifest of version 2 says of the state, alone or among those of all services; nothing in those before.
pub fn kept(manifest: &[u8]) -> Result<Option<Kept>> {
    let manifest = services::vtpm(manifest)?;
    if is_list(manifest) { Ok(parse(manifest)?.1) } else { Ok(None) }
}

fn parse(manifest: &[u8]) -> Result<(Vec<&[u8]>, Option<Kept>)> {
    ensure!(is_list(manifest), "the manifest is of neither version 1 nor 2");
    let mut reader = Reader::new(manifest);
    let version = reader.array::<4>()?;
    let count = reader.u32().context("the manifest")?;
    ensure!((LEAST..=MOST).contains(&count), "the manifest has {count} keys, not {LEAST} to {MOST}");
    let mut keys: Vec<&[u8]> = Vec::new();
    for number in 0..count {
        let key = reader.tpm2b().with_context(|| format!("key {number} of the manifest"))?;
        ensure!(!keys.contains(&key), "key {number} of the manifest is in it twice");
        keys.push(key);
    }
    let kept = (version == VERSION_2).then(|| Kept::read(&mut reader)).transpose()?;
    reader.end().context("the manifest")?;
    Ok((keys, kept))
}

/// What the firmware says of the state that it runs, in a manifest of version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The TPM identity: drawn when the TPM was made, kept by migration.
    pub identity: [u8; 32],
    /// One more at each boot and each commit.
    pub epoch: u64,
    /// Drawn at each boot.
    pub boot_nonce: [u8; 32],
    /// SHA-256 of the sealed record as it lies on the disk.
    pub digest: [u8; 32],
    /// The bits of [`flag`].
    pub flags: u32,
    /// The first octets of the launch measurement of the firmware that it has come from, or zeros.
    pub came_from: [u8; 32],
}

/// Bits of [`Kept::flags`].
pub mod flag {
    /// The state is kept: it outlives the VM.
    pub const KEPT: u32 = 1;
    /// A quorum of anchors knows this boot.
    pub const ANCHORED: u32 = 1 << 1;
    /// It has started with too few anchors.
    pub const TOO_FEW_ANCHORS: u32 = 1 << 2;
    /// It has come by migration.
    pub const MIGRATED: u32 = 1 << 3;
    /// All that have a meaning.
    pub const ALL: u32 = KEPT | ANCHORED | TOO_FEW_ANCHORS | MIGRATED;
}

impl Kept {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        const WHAT: &str = "what the manifest says of the state";
        let identity = reader.array().context(WHAT)?;
        let epoch = u64::from_be_bytes(reader.array().context(WHAT)?);
        let (boot_nonce, digest) = (reader.array().context(WHAT)?, reader.array().context(WHAT)?);
        let flags = reader.u32().context(WHAT)?;
        let came_from = reader.array().context(WHAT)?;
        ensure!(flags & !flag::ALL == 0, "{WHAT} has flags without a meaning: {flags:#x}");
        let both = flag::ANCHORED | flag::TOO_FEW_ANCHORS;
        ensure!(flags & both != both, "{WHAT} is that there was a quorum, and that there was none");
        ensure!(
            (flags & flag::MIGRATED != 0) == (came_from != [0; 32]),
            "{WHAT} names a firmware that it has come from, or says that it has, and not both"
        );
        Ok(Self { identity, epoch, boot_nonce, digest, flags, came_from })
    }

    /// Whether a flag is set.
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// The RSA-2048 EK of the TCG's template, L-1: in version 0 whatever the key is; in lists the first of these.
pub fn ek(manifest: &[u8]) -> Result<Public> {
    let manifest = services::vtpm(manifest)?;
    if !is_list(manifest) {
        return Public::parse(manifest);
    }
    let keys = list(manifest)?;
    let of_template = |public: &Public| Ek::of(public) == Some(&template::EKS[0]);
    let found = keys.iter().find_map(|key| Public::parse(key).ok().filter(of_template));
    found.with_context(|| format!("none of the manifest's {} keys is an EK of template L-1", keys.len()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Kept, ek, flag, kept, list};
    use crate::evidence::template;
    use crate::evidence::wire::{Key, Public, tpm2b};

    /// A manifest of version 1.
    pub(crate) fn of(keys: &[Vec<u8>]) -> Vec<u8> {
        let count = u32::try_from(keys.len()).unwrap().to_be_bytes();
        let keys = keys.iter().flat_map(|key| tpm2b(key)).collect();
        [vec![0, 0, 0, 1], count.to_vec(), keys].concat()
    }

    fn rsa() -> Public {
        Public { key: Key::Rsa { bits: 2048, modulus: vec![0xC3; 256] }, ..template::ek_rsa_2048() }
    }

    #[test]
    fn both_versions_name_the_ek() {
        let ak = template::ak_p256().to_bytes();
        assert_eq!(ek(&rsa().to_bytes()).unwrap(), rsa());
        let manifest = of(&[vec![7; 90], ak.clone(), rsa().to_bytes()]);
        assert_eq!(ek(&manifest).unwrap(), rsa());
        assert_eq!(list(&manifest).unwrap()[1], ak);
        assert!(ek(&of(&[ak, vec![7; 90]])).is_err());
    }

    #[test]
    fn a_list_ends_where_its_number_says_and_has_no_key_twice() {
        let manifest = of(&[rsa().to_bytes(), vec![1, 2]]);
        for length in 0..manifest.len() {
            assert!(list(&manifest[..length]).is_err(), "{length} bytes");
        }
        assert!(list(&[manifest.as_slice(), &[0]].concat()).is_err());
        for number in [0, 1, 3, 65, u32::MAX] {
            let mut wrong = manifest.clone();
            wrong[4..8].copy_from_slice(&number.to_be_bytes());
            assert!(list(&wrong).is_err(), "{number} keys");
        }
        assert!(list(&of(&[vec![1, 2], vec![1, 2]])).is_err());
        let mut other = manifest;
        other[3] = 3;
        assert!(list(&other).is_err() && ek(&other).is_err());
        other[3] = 2;
        assert!(list(&other).is_err() && ek(&other).is_err(), "nothing of the state");
    }

    /// What is said of a state.
    pub(crate) const KEPT: Kept = Kept {
        identity: [0x1d; 32],
        epoch: 7,
        boot_nonce: [0xb0; 32],
        digest: [0xd1; 32],
        flags: flag::KEPT | flag::ANCHORED,
        came_from: [0; 32],
    };

    /// A manifest of version 2.
    pub(crate) fn with(keys: &[Vec<u8>], kept: &Kept) -> Vec<u8> {
        let mut manifest = of(keys);
        manifest[3] = 2;
        let Kept { identity, epoch, boot_nonce, digest, flags, came_from } = kept;
        let (epoch, flags) = (epoch.to_be_bytes(), flags.to_be_bytes());
        [&manifest[..], identity, &epoch, boot_nonce, digest, &flags, came_from].concat()
    }

    #[test]
    fn version_2_says_what_state_it_is() {
        let keys = [rsa().to_bytes(), vec![1, 2]];
        let manifest = with(&keys, &KEPT);
        assert_eq!(manifest.len(), of(&keys).len() + 140);
        assert_eq!(kept(&manifest).unwrap(), Some(KEPT));
        assert_eq!(ek(&manifest).unwrap(), rsa());
        assert_eq!(kept(&of(&keys)).unwrap(), None);
        assert_eq!(kept(&rsa().to_bytes()).unwrap(), None);
        for length in 0..manifest.len() {
            // What does not begin as a list is of version 0, and says nothing of a state.
            assert!(kept(&manifest[..length]).is_err() || length < 4, "{length} bytes");
        }
        assert!(kept(&[&manifest[..], &[0]].concat()).is_err());
    }

    #[test]
    fn flags_have_a_meaning_and_do_not_contradict_each_other() {
        let says = |flags: u32, came_from: [u8; 32]| {
            kept(&with(&[rsa().to_bytes(), vec![1, 2]], &Kept { flags, came_from, ..KEPT })).is_ok()
        };
        for flags in 0..32 {
            let migrated = flags & flag::MIGRATED != 0;
            assert_eq!(says(flags, [u8::from(migrated); 32]), flags < 16 && flags & 6 != 6, "{flags}");
            assert!(!says(flags, [u8::from(!migrated); 32]), "{flags}");
        }
    }
}
