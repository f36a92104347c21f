//! What a verifier remembers of TPMs whose state outlives their VM (`--remember FILE`): a state that was put back, and
//! two copies that both live, contradict it.
//!
//! Every boot and every commit has an epoch of its own, and every boot a nonce. So a lower epoch than one that was seen
//! is an old state; one epoch of two boots is a copy, or an old state from which another boot has gone on; and a boot
//! that comes again after a later one was seen is a copy that lives beside it.

use crate::digest::hex;
use crate::evidence::manifest::Kept;
use crate::policy::Hex;
use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The one form of the file that is read.
const VERSION: u32 = 1;
/// Boots of one TPM that are remembered.
const MAX_BOOTS: usize = 1000;

/// The file: JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Memory {
    version: u32,
    /// By TPM identity.
    tpms: BTreeMap<String, Known>,
}

/// What is remembered of a TPM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Known {
    /// the highest that was seen
    epoch: u64,
    /// the state digest of that epoch
    digest: Hex<32>,
    /// the boots that were seen, the last of them last
    boots: Vec<Hex<32>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { version: VERSION, tpms: BTreeMap::new() }
    }
}

impl Memory {
    /// What a file's text says.
    pub fn parse(text: &str) -> Result<Self> {
        let memory: Self = serde_json::from_str(text)?;
        ensure!(memory.version == VERSION, "version {}: this program reads version {VERSION}", memory.version);
        for (identity, known) in &memory.tpms {
            let is_identity = Hex::<32>::parse(identity).is_ok_and(|octets| hex(&octets.0) == *identity);
            ensure!(is_identity, "{identity:?} is no TPM identity of 64 hexadecimal digits");
            ensure!(!known.boots.is_empty(), "{identity}: it has no boot");
        }
        Ok(memory)
    }

    fn of(&self, said: &Kept) -> Option<&Known> {
        self.tpms.get(&hex(&said.identity))
    }

    /// Compares what is said with what is known.
    ///
    /// # Errors
    /// What contradicts it, by name and with both numbers.
    pub fn compare(&self, said: &Kept) -> Result<String> {
        let Some(known) = self.of(said) else { return Ok(String::from("seen for the first time")) };
        let (boot, last) = (Hex(said.boot_nonce), known.boots.last());
        if said.epoch < known.epoch {
            bail!("rollback: the state is of epoch {}, and epoch {} was seen", said.epoch, known.epoch);
        }
        if last != Some(&boot) {
            if said.epoch == known.epoch {
                bail!(
                    "clone or rollback: epoch {} was seen of the boot {}, and is now said by the boot {}",
                    said.epoch,
                    last.map_or_else(String::new, |last| hex(&last.0)),
                    hex(&boot.0)
                );
            }
            if known.boots.contains(&boot) {
                bail!(
                    "clone: the boot {} is at epoch {}, and since it was seen last another boot was, at epoch {}",
                    hex(&boot.0),
                    said.epoch,
                    known.epoch
                );
            }
        } else if said.epoch == known.epoch && Hex(said.digest) != known.digest {
            bail!(
                "two states of epoch {}: {} was seen, and now it is {}",
                said.epoch,
                hex(&known.digest.0),
                hex(&said.digest)
            );
        }
        Ok(format!("epoch {} was the last that was seen", known.epoch))
    }

    /// Remembers what was compared.
    pub fn remember(&mut self, said: &Kept) {
        let boot = Hex(said.boot_nonce);
        let known = self.tpms.entry(hex(&said.identity)).or_insert_with(|| Known {
            epoch: said.epoch,
            digest: Hex(said.digest),
            boots: Vec::new(),
        });
        known.epoch = said.epoch;
        known.digest = Hex(said.digest);
        if known.boots.last() != Some(&boot) {
            known.boots.push(boot);
            let surplus = known.boots.len().saturating_sub(MAX_BOOTS);
            known.boots.drain(..surplus);
        }
    }
}

/// The file, which nobody else changes while it is open: other calls of this program wait.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    /// its folder, locked
    folder: fs::File,
}

impl File {
    /// The file and what it says; nothing yet where there is none.
    pub fn open(path: &Path) -> Result<(Self, Memory)> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folder = fs::File::open(folder)?;
        folder.file().lock().with_context(|| format!("{}: it cannot be locked", path.display()))?;
        let memory = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Memory::default(),
            text => Memory::parse(&text?).with_context(|| path.display().to_string())?,
        };
        Ok((Self { path: path.to_owned(), folder }, memory))
    }

    /// Replaces the file as a whole: a reader finds the old one or the new one, also after a loss of power.
    pub fn write(&self, memory: &Memory) -> Result<()> {
        let mut name = self.path.file_name().context("--remember names no file")?.to_owned();
        name.push(".new");
        let new = self.path.with_file_name(name);
        let mut file = fs::File::create(&new)?;
        file.write_all(format!("{}\n", serde_json::to_string_pretty(memory)?).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        Ok(self.folder.sync_all()?)
    }
}

#[cfg(test)]
mod tests {
    use super::{File, MAX_BOOTS, Memory};
    use crate::evidence::manifest::Kept;
    use crate::evidence::manifest::tests::KEPT;

    fn said(epoch: u64, boot: u8) -> Kept {
        Kept { epoch, boot_nonce: [boot; 32], ..KEPT }
    }

    fn of(history: &[Kept]) -> Memory {
        let mut memory = Memory::default();
        for said in history {
            memory.compare(said).unwrap();
            memory.remember(said);
        }
        memory
    }

    fn refused(history: &[Kept], said: &Kept) -> String {
        of(history).compare(said).unwrap_err().to_string()
    }

    #[test]
    fn a_tpm_goes_on() {
        let memory = of(&[said(1, 1), said(1, 1), said(4, 1), said(5, 2), said(9, 3), said(9, 3)]);
        assert_eq!(memory.compare(&said(10, 3)).unwrap(), "epoch 9 was the last that was seen");
        let other = Kept { identity: [9; 32], ..said(1, 7) };
        assert_eq!(memory.compare(&other).unwrap(), "seen for the first time");
    }

    #[test]
    fn an_old_state_is_named_with_both_epochs() {
        let rollback = "rollback: the state is of epoch 4, and epoch 7 was seen";
        assert_eq!(refused(&[said(7, 1)], &said(4, 1)), rollback);
        assert_eq!(refused(&[said(7, 1)], &said(4, 2)), rollback);
    }

    #[test]
    fn two_boots_of_one_epoch_are_named() {
        let text = refused(&[said(7, 1)], &said(7, 2));
        assert!(text.starts_with("clone or rollback: epoch 7 was seen of the boot 0101"), "{text}");
        assert!(text.contains("now said by the boot 0202"), "{text}");
    }

    /// Two copies that live: one is seen, the other, and the first again.
    #[test]
    fn a_boot_that_comes_again_is_named() {
        let text = refused(&[said(7, 1), said(9, 2)], &said(12, 1));
        assert!(text.starts_with("clone: the boot 0101"), "{text}");
        assert!(text.ends_with("is at epoch 12, and since it was seen last another boot was, at epoch 9"), "{text}");
    }

    #[test]
    fn two_digests_of_one_epoch_are_named() {
        let other = Kept { digest: [0xd2; 32], ..said(7, 1) };
        let text = refused(&[said(7, 1)], &other);
        assert!(text.starts_with("two states of epoch 7: d1d1"), "{text}");
    }

    /// Of all orders in which a verifier sees two copies of one state that live, each with some commits: it notices
    /// before it has seen one of them twice.
    #[test]
    fn two_copies_never_pass_unseen() {
        for order in 0..1_u32 << 8 {
            let (mut memory, mut epochs, mut turns, mut last) = (of(&[said(5, 9)]), [5, 5], 0, None);
            let mut noticed = false;
            for turn in 0..8 {
                let copy = order >> turn & 1;
                epochs[copy as usize] += u64::from(1 + order.rotate_left(turn) % 3);
                let now = said(epochs[copy as usize], u8::try_from(copy).unwrap());
                if memory.compare(&now).is_err() {
                    noticed = true;
                    break;
                }
                memory.remember(&now);
                turns += u32::from(last.is_some_and(|last| last != copy));
                last = Some(copy);
            }
            // Seen by turns at least twice: one, the other, the first again.
            assert!(noticed || turns < 2, "{order:#b}");
        }
    }

    #[test]
    fn the_file_is_replaced_and_read_again() {
        let folder = host::qemu::Folder::new().unwrap();
        let path = folder.path().join("memory.json");
        let (file, mut memory) = File::open(&path).unwrap();
        assert_eq!(memory, Memory::default());
        for boot in 0..=MAX_BOOTS {
            let mut now = said(boot as u64, 0);
            now.boot_nonce[..8].copy_from_slice(&boot.to_le_bytes());
            memory.remember(&now);
        }
        file.write(&memory).unwrap();
        drop(file);
        let (_file, read) = File::open(&path).unwrap();
        assert_eq!(read, memory);
        assert_eq!(read.tpms.values().next().unwrap().boots.len(), MAX_BOOTS);
    }

    #[test]
    fn a_file_of_another_form_is_refused() {
        let good = serde_json::to_string(&of(&[said(1, 1)])).unwrap();
        assert!(Memory::parse(&good).is_ok());
        for bad in [
            String::new(),
            "{}".to_owned(),
            good.replace("\"version\":1", "\"version\":2"),
            good.replace("1d1d", "1D1D"),
            good.replace("epoch", "Epoch"),
            good[..good.len() - 1].to_owned(),
        ] {
            assert!(Memory::parse(&bad).is_err(), "{bad}");
        }
    }
}
