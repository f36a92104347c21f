//! etcd: a cluster of an operator's, asked over its JSON gateway.
//!
//! | key, behind the prefix | is |
//! |---|---|
//! | `about` | version, the anchor's public key, and a tag |
//! | `tpms/` and 64 hexadecimal digits | an entry, as redb has it, and a tag |
//! | `notes/`, the time and random digits | a note, in JSON; ordered by the revision that has made it |
//!
//! A change is a transaction: the entry is put if it is still of the revision that was read. A change that another has
//! come before is made anew, from what is there then. A tag is 16 random octets: by it whoever has written knows that,
//! where the answer was lost and another member was asked once more.

mod gateway;
mod options;

use super::{Backend, Change, Kept, Note, Subject, VERSION, octets, parse};
use anchor::wire::Key;
use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use gateway::{Gateway, Pair, Txn};
pub use options::Options;
use std::time::Instant;

/// How long a change or a read may take, whatever goes wrong.
const AT_MOST: Duration = Duration::from_secs(10);
/// Entries that are read at once.
const PAGE: u32 = 256;

/// What an anchor keeps in etcd.
#[derive(Debug)]
pub struct Etcd {
    gateway: Gateway,
    prefix: String,
    /// What `about` has.
    about: Vec<u8>,
}

impl Etcd {
    /// A new database, of the anchor with this key, where nothing is.
    pub fn create(options: &Options, anchor: &Key) -> Result<Self> {
        let about = [VERSION, anchor, &tag()?].concat();
        let new = Self { about, ..Self::at(options, anchor)? };
        let key = new.about();
        let txn = Txn::default().if_none_made_since(&new.prefix, 0).put(&key, &new.about).else_get(&key);
        let answer = new.gateway.ask(&txn, until()).context("cannot make the database, or know that it is made")?;
        if answer.succeeded {
            return Ok(new);
        }
        // Or another member has done it, whose answer was lost.
        let [found] = answer.found()?;
        let is_new = found.kvs.first().is_some_and(|pair| pair.value == new.about);
        ensure!(is_new, "etcd has something at {} already", new.prefix);
        Ok(new)
    }

    /// The database of this anchor, which is there.
    pub fn open(options: &Options, anchor: &Key) -> Result<Self> {
        let there = Self::at(options, anchor)?;
        let [found] = there.gateway.ask(&Txn::default().get(&there.about()), until())?.found()?;
        let about = found.kvs.first().with_context(|| {
            format!(
                "etcd has nothing at {}: an anchor that has forgotten what it promised would let old states start. \
                 `quoin-anchor adopt` makes a new database from what other anchors know; or take another folder, with \
                 another key",
                there.prefix
            )
        })?;
        let about = about.value.clone();
        let parts = about.split_last_chunk::<TAG>().and_then(|(said, _)| said.split_at_checked(VERSION.len()));
        let (version, key) = parts.with_context(|| format!("what etcd has at {} is no anchor's", there.prefix))?;
        ensure!(version == VERSION, "what etcd has at {} has another version", there.prefix);
        ensure!(key == anchor, "what etcd has at {} is of an anchor with another key", there.prefix);
        Ok(Self { about, ..there })
    }

    fn at(options: &Options, anchor: &Key) -> Result<Self> {
        let prefix = options.prefix(anchor)?;
        Ok(Self { gateway: Gateway::new(options.agent()?, options.members()?), prefix, about: Vec::new() })
    }

    /// Removes all of it, for whoever could not fill it, if it is still the same.
    pub fn remove(&self) -> Result<()> {
        let txn = Txn::default().if_value(&self.about(), &self.about).delete_all(&self.prefix);
        let answer = self.gateway.ask(&txn, until())?;
        ensure!(answer.succeeded, "what etcd has at {} is another database", self.prefix);
        Ok(())
    }

    fn about(&self) -> String {
        format!("{}about", self.prefix)
    }

    fn tpms(&self) -> String {
        format!("{}tpms/", self.prefix)
    }

    /// All keys of a folder, as they were at one moment.
    fn all(&self, folder: &str) -> Result<Vec<Pair>> {
        let folder = format!("{}{folder}", self.prefix);
        let (mut all, mut first, mut revision) = (Vec::new(), folder.clone().into_bytes(), 0);
        loop {
            let answer = self.gateway.ask(&Txn::default().page(&folder, &first, PAGE, revision), until())?;
            revision = if revision == 0 { answer.revision() } else { revision };
            let [found] = answer.found()?;
            all.extend(found.kvs);
            let Some(last) = all.last().filter(|_| found.more) else { return Ok(all) };
            first = [&last.key[..], &[0]].concat();
        }
    }

    fn subject(&self, pair: &Pair) -> Result<Subject> {
        let name = pair.key.strip_prefix(self.tpms().as_bytes());
        let subject = name.and_then(|name| hex::decode(name).ok()?.try_into().ok());
        subject.with_context(|| format!("etcd has a key that is none: {}", String::from_utf8_lossy(&pair.key)))
    }
}

fn until() -> Instant {
    Instant::now() + AT_MOST
}

/// Octets in a tag.
const TAG: usize = 16;

fn tag() -> Result<[u8; TAG]> {
    let mut tag = [0; TAG];
    getrandom::fill(&mut tag).map_err(|why| anyhow::anyhow!("no random octets: {why}"))?;
    Ok(tag)
}

/// The entry before the tag.
fn untagged(value: &[u8]) -> Result<Kept> {
    parse(value.split_last_chunk::<TAG>().map_or(&[], |(entry, _)| entry))
}

impl Backend for Etcd {
    fn update(&self, subject: &Subject, change: Change<'_>, note: Option<&Note>) -> Result<()> {
        let (tpms, until) = (self.tpms(), until());
        let key = format!("{tpms}{}", hex::encode(subject));
        let tag = tag()?;
        let note_at = note.map(|note| format!("{}notes/{:016x}-{}", self.prefix, note.time, hex::encode(tag)));
        let note = note_at.zip(note.map(serde_json::to_vec).transpose()?);
        while Instant::now() < until {
            let answer = self.gateway.ask(&Txn::default().get(&key).count(&tpms), until)?;
            let revision = answer.revision();
            let [found, all] = answer.found()?;
            let before = found.kvs.first().map(|pair| untagged(&pair.value)).transpose()?;
            let after = change(before, all.count).map(|after| [&octets(&after)[..], &tag].concat());
            if after.is_none() && note.is_none() {
                return Ok(());
            }
            let changed_by = found.kvs.first().map_or(0, |pair| pair.mod_revision);
            let mut txn = Txn::default().if_changed_by(&key, changed_by);
            if let Some(after) = &after {
                txn = txn.put(&key, after);
                if before.is_none() {
                    // Else more could be admitted at once than there is room for.
                    txn = txn.if_none_made_since(&tpms, revision);
                }
            }
            // What tells, if another member has done it, whose answer was lost.
            let (at, is) = note.as_ref().map_or((&key, after.as_ref()), |(at, text)| (at, Some(text)));
            txn = txn.else_get(at);
            if let Some((at, text)) = &note {
                txn = txn.if_changed_by(at, 0).put(at, text);
            }
            let answer = self.gateway.ask(&txn, until)?;
            if answer.succeeded {
                return Ok(());
            }
            let [there] = answer.found()?;
            if there.kvs.first().is_some_and(|pair| Some(&pair.value) == is) {
                return Ok(());
            }
        }
        bail!("others change the entry all the time")
    }

    fn each(&self, see: &mut dyn FnMut(Subject, Kept)) -> Result<()> {
        for pair in self.all("tpms/")? {
            see(self.subject(&pair)?, untagged(&pair.value)?);
        }
        Ok(())
    }

    fn notes(&self) -> Result<Vec<Note>> {
        let mut notes = self.all("notes/")?;
        notes.sort_by_key(|pair| pair.create_revision);
        notes.iter().map(|pair| serde_json::from_slice(&pair.value).context("etcd has a note that is none")).collect()
    }
}

#[cfg(test)]
pub(super) mod fake;
#[cfg(test)]
mod tests;
