//! The vTPM's manifest of the SVSM's attestation protocol: in version 0 a `TPMT_PUBLIC` of the RSA-2048 EK, in version
//! 1 a list of `TPM2B_PUBLIC`, EKs and AKs, behind version and number. All is big-endian.

use super::template::{self, Ek};
use super::wire::{Public, Reader};
use anyhow::{Context, Result, ensure};

/// How a manifest of version 1 begins; one of version 0 begins with the type of a key.
const VERSION_1: [u8; 4] = [0, 0, 0, 1];
/// An EK and an AK: who takes version 1 for less, is refused by others, too.
const LEAST: u32 = 2;
/// More keys than any TPM has.
const MOST: u32 = 64;

/// Whether it is of version 1.
pub fn is_list(manifest: &[u8]) -> bool {
    manifest.starts_with(&VERSION_1)
}

/// The keys of a manifest of version 1, each a `TPMT_PUBLIC`.
pub fn list(manifest: &[u8]) -> Result<Vec<&[u8]>> {
    let mut reader = Reader::new(manifest);
    ensure!(reader.array::<4>()? == VERSION_1, "the manifest is not of version 1");
    let count = reader.u32().context("the manifest")?;
    ensure!((LEAST..=MOST).contains(&count), "the manifest has {count} keys, not {LEAST} to {MOST}");
    let mut keys: Vec<&[u8]> = Vec::new();
    for number in 0..count {
        let key = reader.tpm2b().with_context(|| format!("key {number} of the manifest"))?;
        ensure!(!keys.contains(&key), "key {number} of the manifest is in it twice");
        keys.push(key);
    }
    reader.end().context("the manifest")?;
    Ok(keys)
}

/// The RSA-2048 EK of the TCG's template, L-1: in version 0 whatever the key is; in version 1 the first of these.
pub fn ek(manifest: &[u8]) -> Result<Public> {
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
    use super::{ek, list};
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
        other[3] = 2;
        assert!(list(&other).is_err() && ek(&other).is_err());
    }
}
