//! Where entries are kept: in a file of the anchor's folder, or in an operator's etcd ([`etcd`]). Whoever writes
//! another backend has to keep what [`Backend::update`] says; the rest of the program knows no database.

pub mod etcd;

use anchor::keeper::Entry;
use anchor::wire::Key;
use anyhow::{Context, Result, ensure};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use zerocopy::IntoBytes;

/// Under what a TPM is kept: [`anchor::wire::subject`].
pub type Subject = [u8; 32];

/// What is kept of a TPM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What the protocol goes by.
    pub entry: Entry,
    /// When it was first heard of, in seconds since 1970; nothing is decided by it.
    pub since: u64,
    /// When it changed last.
    pub changed: u64,
}

/// An operator's deed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// In seconds since 1970.
    pub time: u64,
    /// What was done.
    pub deed: String,
    /// To which TPM, in hexadecimal digits.
    pub subject: String,
    /// The epoch that was known then.
    pub epoch: Option<u64>,
    /// Why.
    pub reason: String,
}

/// How an entry changes: what is there, and of how many TPMs there are entries; what shall be there, or nothing if it
/// stays as it is. Asked again where another has come before, or where it is not known whether a change was made: what
/// is there may then follow from what this has said before. What it says last counts.
pub type Change<'a> = &'a mut dyn FnMut(Option<Kept>, u64) -> Option<Kept>;

/// A database of entries.
pub trait Backend: Send + Sync {
    /// Changes an entry. No other change of it comes between reading and writing, and when this returns the new entry
    /// is there whatever happens. With an error it may be there or not, or come to be there as long as no other change
    /// does: as a request would that was on its way for so long.
    fn update(&self, subject: &Subject, change: Change<'_>, note: Option<&Note>) -> Result<()>;
    /// Shows every entry.
    fn each(&self, see: &mut dyn FnMut(Subject, Kept)) -> Result<()>;
    /// All notes, the oldest first.
    fn notes(&self) -> Result<Vec<Note>>;
}

const TPMS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("tpms");
const NOTES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("notes");
const ABOUT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("about");
/// Of what is kept.
const VERSION: &[u8] = &[1];
/// A page cache of the default size, a gigabyte, is not what a small server takes.
const CACHE: usize = 8 << 20;

/// redb: a file. It is opened again after an error, since it wants that.
pub struct Redb {
    path: PathBuf,
    open: Mutex<Option<Database>>,
}

impl Redb {
    /// A new database, of the anchor with this key.
    pub fn create(path: &Path, anchor: &Key) -> Result<Self> {
        ensure!(!path.exists(), "{} is there already", path.display());
        let cannot = || format!("cannot make {}", path.display());
        let database = Database::builder().set_cache_size(CACHE).create(path).with_context(cannot)?;
        let mut write = database.begin_write()?;
        write.set_two_phase_commit(true);
        {
            let mut about = write.open_table(ABOUT)?;
            about.insert("version", VERSION)?;
            about.insert("anchor", &anchor[..])?;
            write.open_table(TPMS)?;
            write.open_table(NOTES)?;
        }
        write.commit().with_context(cannot)?;
        Ok(Self { path: path.to_owned(), open: Mutex::new(Some(database)) })
    }

    /// The database at `path`, which must be this anchor's.
    pub fn open(path: &Path, anchor: &Key) -> Result<Self> {
        let database = Self::file(path)?;
        {
            let read = database.begin_read()?;
            let about = read.open_table(ABOUT).with_context(|| format!("{} is no anchor's", path.display()))?;
            let is = |name| about.get(name).map(|value| value.map(|value| value.value().to_vec()));
            ensure!(is("version")?.as_deref() == Some(VERSION), "{} has another version", path.display());
            ensure!(
                is("anchor")?.as_deref() == Some(&anchor[..]),
                "{} is of an anchor with another key",
                path.display()
            );
        }
        Ok(Self { path: path.to_owned(), open: Mutex::new(Some(database)) })
    }

    fn file(path: &Path) -> Result<Database> {
        let opened = Database::builder().set_cache_size(CACHE).open(path);
        opened.with_context(|| format!("cannot open {}", path.display()))
    }

    /// Does something with the database; after an error it is opened anew by whoever comes next.
    fn with<T>(&self, action: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match open.take() {
            Some(database) => database,
            None => Self::file(&self.path)?,
        };
        let outcome = action(&database)?;
        *open = Some(database);
        Ok(outcome)
    }
}

impl Backend for Redb {
    fn update(&self, subject: &Subject, change: Change<'_>, note: Option<&Note>) -> Result<()> {
        self.with(|database| {
            let mut write = database.begin_write()?;
            // Strangers choose much of what is written: after a crash, checksums alone could be made to fit.
            write.set_two_phase_commit(true);
            let changed = {
                let mut tpms = write.open_table(TPMS)?;
                let before = tpms.get(subject)?.map(|octets| parse(octets.value())).transpose()?;
                let after = change(before, tpms.len()?);
                if let Some(after) = &after {
                    tpms.insert(subject, &octets(after)[..])?;
                }
                after.is_some()
            };
            if let Some(note) = note {
                let mut notes = write.open_table(NOTES)?;
                let number = notes.last()?.map_or(0, |(number, _)| number.value() + 1);
                notes.insert(number, &serde_json::to_vec(note)?[..])?;
            }
            if changed || note.is_some() {
                write.commit()?
            } else {
                write.abort()?
            }
            Ok(())
        })
    }

    fn each(&self, see: &mut dyn FnMut(Subject, Kept)) -> Result<()> {
        self.with(|database| {
            let tpms = database.begin_read()?.open_table(TPMS)?;
            for row in tpms.iter()? {
                let (subject, octets) = row?;
                see(*subject.value(), parse(octets.value())?);
            }
            Ok(())
        })
    }

    fn notes(&self) -> Result<Vec<Note>> {
        self.with(|database| {
            let notes = database.begin_read()?.open_table(NOTES)?;
            notes.iter()?.map(|row| Ok(serde_json::from_slice(row?.1.value())?)).collect()
        })
    }
}

fn octets(kept: &Kept) -> Vec<u8> {
    [kept.entry.as_bytes(), &kept.since.to_be_bytes(), &kept.changed.to_be_bytes()].concat()
}

fn parse(octets: &[u8]) -> Result<Kept> {
    let parts = octets.split_at_checked(Entry::SIZE).and_then(|(entry, rest)| {
        let (since, rest) = rest.split_first_chunk()?;
        let (changed, []) = rest.split_first_chunk()? else { return None };
        Some((Entry::parse(entry)?, u64::from_be_bytes(*since), u64::from_be_bytes(*changed)))
    });
    let (entry, since, changed) = parts.context("the database has an entry that is none")?;
    Ok(Kept { entry, since, changed })
}

#[cfg(test)]
mod tests;
