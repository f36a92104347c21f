//! What the program does.

use crate::contents::Contents;
use crate::file::{Disk, Record, Refused, write_new};
use crate::inside::Fact;
use crate::key::{self, hex};
use crate::owner;
use crate::{Cli, Done, Verb};
use anyhow::{Context, Result, anyhow, bail};
use core::fmt;
use core::fmt::Write;
use sealed::disk::{Opened, look, prepare, put_exported, recover};
use sealed::keys::root;
use sealed::layout::ROOM;
use sealed::{Found, Fresh, Head, Import, Kind, RecoveryKey, Refusal};
use std::path::Path;
use zeroize::Zeroizing;

/// Something is in the way, and nothing was done.
#[derive(Debug)]
struct InTheWay(String);

impl fmt::Display for InTheWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for InTheWay {}

/// The exit status for an error.
#[must_use]
pub fn status_of(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<InTheWay>().is_some() {
        return 7;
    }
    match error.downcast_ref::<Refused>() {
        Some(Refusal::Unmarked | Refusal::TooSmall { .. } | Refusal::Version(_)) => 3,
        Some(Refusal::Damaged(_) | Refusal::Contents) => 4,
        Some(Refusal::NotOurs(_)) => 5,
        Some(Refusal::NotEmpty) => 7,
        _ => 1,
    }
}

/// Does what is asked.
///
/// # Errors
/// What went wrong; [`status_of`] says which exit status that is.
pub fn run(cli: &Cli) -> Result<Done> {
    let text = match &cli.verb {
        Verb::Prepare { disk, force } => make_empty(disk, *force)?,
        Verb::Show { file, recovery_key } => show(file, recovery_key.as_deref())?,
        Verb::Check { file, recovery_key } => check(file, recovery_key.as_deref())?,
        Verb::RecoveryKey => new_key()?,
        Verb::RecoveryPoint { recovery_key } => format!("{}\n", hex(&key::read(recovery_key)?.public().octets())),
        Verb::OwnerKey => owner::new_key()?,
        Verb::OwnerPoint { owner_key } => owner::public(owner_key)?,
        Verb::Grant { file, owner_key, from, to, identity, until } => {
            let terms = owner::Terms { identity: *identity, from, to, until: *until };
            write_new(file, &owner::grant(owner_key, &terms)?)?;
            format!("{} says that it may go until epoch {until}\n", file.display())
        }
        Verb::Export { disk, file, recovery_key } => export(disk, file, recovery_key)?,
        Verb::Import { file, disk, recovery_key, attested } => match (recovery_key, attested) {
            (Some(key), Some(digest)) => import_for(file, disk, &key::read(key)?, digest)?,
            _ => import_as_it_is(file, disk)?,
        },
        Verb::Diff { old, new, recovery_key, new_recovery_key } => {
            return diff(old, new, recovery_key, new_recovery_key.as_deref());
        }
    };
    Ok(Done { text, status: 0 })
}

fn make_empty(path: &Path, force: bool) -> Result<String> {
    let mut disk = match Disk::make(path)? {
        Some(made) => made,
        None => {
            let mut disk = Disk::open_to_write(path)?;
            if !force && disk.has_anything()? {
                let what = match look(&mut disk) {
                    Ok(Found::Empty) => "it is an empty state disk already",
                    Ok(Found::Record(_)) => "there is a TPM's state on it",
                    Err(_) => "there is something on it that is no state of ours, or a damaged one",
                };
                bail!(InTheWay(format!("{}: {what}; it stays as it is (--force would end that)", path.display())));
            }
            disk
        }
    };
    prepare(&mut disk).with_context(|| path.display().to_string())?;
    Ok(format!("{}: an empty state disk\n", path.display()))
}

fn new_key() -> Result<String> {
    let octets = key::draw()?;
    let public = RecoveryKey::new(&octets).ok().context("no key follows from it")?.public().octets();
    Ok(format!(
        "# Quoin's recovery key. It opens every state of a firmware whose settings have the public key. It is not kept\n\
         # anywhere: write it down, or lose it.\n{}\n# The public key, for the measured settings:\n# {}\n",
        *key::text(&octets),
        hex(&public)
    ))
}

/// What can be seen from outside.
fn outside(head: &Head) -> Vec<Fact> {
    let kind = match head.kind() {
        Some(Kind::State) => "the state of a TPM",
        Some(Kind::Moved) => "what is left of a TPM that has moved",
        Some(Kind::Imported) => "the state of a TPM, sealed by its operator for the firmware that is named",
        Some(Kind::Empty) | None => "unknown",
    };
    let roots = [(root::CHIP, "chip"), (root::SHARE, "anchors' share"), (root::RECOVERY, "recovery key")];
    let roots: Vec<_> = roots.into_iter().filter(|(bit, _)| head.roots() & bit != 0).map(|(_, name)| name).collect();
    let fact = |what: &str, text: String| (what.to_owned(), text);
    vec![
        fact("record", kind.to_owned()),
        fact("version", sealed::layout::VERSION.to_string()),
        fact("identity", hex(head.identity())),
        fact("epoch", head.epoch().to_string()),
        fact("boot nonce", hex(head.boot_nonce())),
        fact("state digest", hex(head.digest())),
        fact("writer's measurement", hex(head.measurement())),
        fact("writer's policy", format!("{:#x}", head.policy())),
        fact("writer's committed TCB", format!("{:#018x}", head.tcb())),
        fact("roots", roots.join(", ")),
        fact("sealed octets", head.octets().to_string()),
    ]
}

fn lines(facts: &[Fact]) -> String {
    facts.iter().fold(String::new(), |mut text, (what, said)| {
        let _ = writeln!(text, "{what}: {said}");
        text
    })
}

/// A record that was opened.
struct Unsealed {
    room: Zeroizing<Vec<u8>>,
    opened: Opened,
}

impl Unsealed {
    fn of(record: &Record, key: &RecoveryKey) -> Result<Self> {
        let mut room = Zeroizing::new(record.room.clone());
        let opened = recover(&record.head, key, &mut room).map_err(|refusal: Refused| refusal)?;
        Ok(Self { room, opened })
    }

    fn tpm(&self) -> &[u8] {
        &self.room[self.opened.tpm.clone()]
    }

    fn contents(&self, head: &Head) -> Result<Contents> {
        Contents::open(head.kind(), &self.opened.beside, self.tpm())
    }
}

fn record_of(path: &Path) -> Result<Record> {
    Record::open(path)?.with_context(|| format!("{}: the disk is empty", path.display()))
}

fn opened(path: &Path, key: &RecoveryKey) -> Result<(Record, Unsealed)> {
    let record = record_of(path)?;
    let unsealed = Unsealed::of(&record, key).with_context(|| path.display().to_string())?;
    Ok((record, unsealed))
}

fn show(path: &Path, recovery_key: Option<&Path>) -> Result<String> {
    let Some(record) = Record::open(path)? else {
        return Ok(format!("record: none: the disk is empty\nversion: {}\n", sealed::layout::VERSION));
    };
    let mut facts = outside(&record.head);
    if let Some(key) = recovery_key {
        let unsealed = Unsealed::of(&record, &key::read(key)?).with_context(|| path.display().to_string())?;
        facts.extend(unsealed.contents(&record.head)?.facts()?.0);
    }
    Ok(lines(&facts))
}

fn check(path: &Path, recovery_key: Option<&Path>) -> Result<String> {
    let Some(record) = Record::open(path)? else { return Ok("an empty state disk: nothing is wrong with it\n".into()) };
    let epoch = record.head.epoch();
    let Some(key) = recovery_key else {
        return Ok(format!("epoch {epoch}: label, heads and contents have their digests; nothing was opened\n"));
    };
    let unsealed = Unsealed::of(&record, &key::read(key)?).with_context(|| path.display().to_string())?;
    let verdict = unsealed.contents(&record.head)?.verdict();
    Ok(format!("epoch {epoch}: it opens, it is authentic, and {verdict}\n"))
}

fn export(disk: &Path, file: &Path, recovery_key: &Path) -> Result<String> {
    let (record, _) = opened(disk, &key::read(recovery_key)?)?;
    if file.exists() {
        bail!(InTheWay(format!("{} is there already", file.display())));
    }
    write_new(file, &record.octets())?;
    Ok(format!("{}: epoch {} of {}\n", file.display(), record.head.epoch(), hex(record.head.identity())))
}

fn import_as_it_is(file: &Path, disk: &Path) -> Result<String> {
    let record = record_of(file)?;
    let mut device = Disk::open_to_write(disk)?;
    put_exported(&mut device, &record.head, &record.room).with_context(|| disk.display().to_string())?;
    Ok(format!(
        "{}: epoch {}, for the firmware and the chip that have written it\n",
        disk.display(),
        record.head.epoch()
    ))
}

fn import_for(file: &Path, disk: &Path, key: &RecoveryKey, attested: &[u8; 32]) -> Result<String> {
    let (record, unsealed) = opened(file, key)?;
    let mut contents = unsealed.contents(&record.head)?;
    let in_the_way = match &contents {
        Contents::Lives(_) => None,
        Contents::Waits(..) => Some("the TPM in it waits for its receipt: two would live when that comes"),
        Contents::Moved(_) => Some("the TPM has moved: there is none in it"),
    };
    if let Some(why) = in_the_way {
        bail!(InTheWay(format!("{}: {why}", file.display())));
    }
    let facts = contents.facts()?.0;
    let ek = lines(&facts.into_iter().filter(|(what, _)| what.starts_with("EK")).collect::<Vec<_>>());
    let ek = ek.trim_end();
    let mut device = Disk::open_to_write(disk)?;
    let addressee = Record::of_disk(&mut device)
        .with_context(|| disk.display().to_string())?
        .context("no firmware has begun a TPM on the disk: there is nobody to seal for")?
        .head;
    if addressee.digest() != attested {
        return Err(anyhow!(InTheWay(format!(
            "the record on the disk has the digest {}, and not the attested one: it may be anybody's",
            hex(addressee.digest())
        ))));
    }
    let fresh = Fresh::draw(getrandom::fill).context("the system gives no random octets")?;
    let mut room = vec![0; ROOM];
    let what = Import { from: &record.head, tpm: unsealed.tpm(), beside: &unsealed.opened.beside };
    let epoch = sealed::import(&mut device, key, &addressee, &what, &fresh, &mut room)
        .with_context(|| disk.display().to_string())?;
    Ok(format!(
        "{}: epoch {epoch}, for the firmware with the measurement {}\n{} (compare it with what your verifier knows: who has the \
         exported file could have made another)\n",
        disk.display(),
        hex(addressee.measurement()),
        ek
    ))
}

fn diff(old: &Path, new: &Path, recovery_key: &Path, new_recovery_key: Option<&Path>) -> Result<Done> {
    let key = key::read(recovery_key)?;
    let new_key = new_recovery_key.map(key::read).transpose()?;
    let ((old, old_unsealed), (new, new_unsealed)) =
        (opened(old, &key)?, opened(new, new_key.as_ref().unwrap_or(&key))?);
    let (mut old_facts, mut new_facts) = (outside(&old.head), outside(&new.head));
    let (mut old_tpm, mut new_tpm) = (old_unsealed.contents(&old.head)?, new_unsealed.contents(&new.head)?);
    let (old_inside, old_indices) = old_tpm.facts()?;
    let (new_inside, new_indices) = new_tpm.facts()?;
    let seen_same = old_inside == new_inside;
    old_facts.extend(old_inside);
    new_facts.extend(new_inside);
    let mut text = String::new();
    for (what, said) in &old_facts {
        if !new_facts.contains(&(what.clone(), said.clone())) {
            let _ = writeln!(text, "-{what}: {said}");
        }
    }
    for (what, said) in &new_facts {
        if !old_facts.contains(&(what.clone(), said.clone())) {
            let _ = writeln!(text, "+{what}: {said}");
        }
    }
    let both: Vec<u32> = old_indices.into_iter().filter(|index| new_indices.contains(index)).collect();
    let (old_tpm, new_tpm) = (old_tpm.inside(), new_tpm.inside());
    let contents = old_tpm.zip(new_tpm).map_or_else(Vec::new, |(old, new)| old.other_contents(new, &both));
    for index in &contents {
        let _ = writeln!(text, "!index {index:#010x}: its contents differ");
    }
    let is_same = old_tpm.zip(new_tpm).is_none_or(|(old, new)| old.is_same(new));
    if !is_same && seen_same && contents.is_empty() {
        let _ = writeln!(text, "!something differs that is not shown: a secret, a counter, or what time has changed");
    }
    let status = if text.is_empty() { 0 } else { 6 };
    Ok(Done { text, status })
}
