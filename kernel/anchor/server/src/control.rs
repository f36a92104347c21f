//! The operator's commands. A server that runs has the database, in a file for itself, so it is asked, at a socket in
//! its folder, which only the folder's owner reaches; else the database is opened.

use crate::backend::etcd::Options;
use crate::backend::{Backend, Kept, Note, Subject};
use crate::folder::Folder;
use crate::serve::now;
use anchor::keeper::Entry;
use anchor::keys::{Keys, P384};
use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write, stdout};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use zerocopy::IntoBytes;

/// Octets in a reason.
pub(crate) const MAX_REASON: usize = 500;
/// Octets in a line of the operator's.
const MAX_LINE: u64 = 4096;
const PATIENCE: Duration = Duration::from_secs(30);

/// What an operator does to a TPM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    Forget,
    Hold,
    Release,
    Enrol,
}

impl Act {
    const fn word(self) -> &'static str {
        match self {
            Self::Forget => "forgotten",
            Self::Hold => "held",
            Self::Release => "released",
            Self::Enrol => "enrolled",
        }
    }
}

/// Options of `adopt`.
#[derive(Debug, clap::Args)]
pub(crate) struct Adopt {
    /// The anchor's folder, in which the key is.
    folder: PathBuf,
    /// What other anchors have exported: of as many as make a quorum.
    #[arg(required = true)]
    exports: Vec<PathBuf>,
    /// How many anchors make a quorum.
    #[arg(long, value_name = "K")]
    quorum: usize,
    /// Why.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    etcd: Options,
}

/// An act, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Deed {
    pub(crate) act: Act,
    pub(crate) subject: Subject,
    pub(crate) reason: String,
}

#[derive(Debug, Serialize, Deserialize)]
enum Asked {
    Show,
    Do(Deed),
    Export,
}

#[derive(Debug, Serialize, Deserialize)]
enum Told {
    Shown(Shown),
    Done(String),
    Exported(Vec<Exported>),
    Refused(String),
}

/// What an anchor knows.
#[derive(Debug, Serialize, Deserialize)]
struct Shown {
    tpms: Vec<Tpm>,
    notes: Vec<Note>,
}

/// A TPM, as an operator sees it. The share is not in it.
#[derive(Debug, Serialize, Deserialize)]
struct Tpm {
    subject: String,
    identity: Option<String>,
    epoch: Option<u64>,
    boot: Option<String>,
    digest: Option<String>,
    term: Option<u64>,
    forgotten: bool,
    held: bool,
    since: u64,
    changed: u64,
}

impl Tpm {
    fn of(subject: &Subject, kept: &Kept) -> Self {
        let (entry, head) = (&kept.entry, kept.entry.accepted().map(|request| request.head));
        let known = entry.accepted().or(entry.promised());
        Self {
            subject: hex::encode(subject),
            identity: known.map(|request| hex::encode(request.identity)),
            epoch: head.map(|head| head.epoch.get()),
            boot: head.map(|head| hex::encode(head.boot)),
            digest: head.map(|head| hex::encode(head.digest)),
            term: entry.promised().map(|request| request.ballot.term.get()),
            forgotten: entry.is_forgotten(),
            held: entry.is_held(),
            since: kept.since,
            changed: kept.changed,
        }
    }
}

/// All that an anchor knows, for another that has lost it; without shares.
#[derive(Debug, Serialize, Deserialize)]
struct Export {
    anchor: String,
    tpms: Vec<Exported>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Exported {
    subject: String,
    entry: String,
}

/// Answers operators until the program ends.
pub(crate) fn serve(listener: &UnixListener, backend: &dyn Backend) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Err(why) = answer(&stream, backend) {
                    log::warn!("the operator: {why:#}");
                }
            }
            Err(why) => {
                log::warn!("the operator cannot be heard: {why}");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

fn answer(stream: &UnixStream, backend: &dyn Backend) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut line)?;
    let told = serde_json::from_str(&line).context("no command").and_then(|asked| tell(&asked, backend));
    let told = told.unwrap_or_else(|why| Told::Refused(format!("{why:#}")));
    let mut stream = stream;
    serde_json::to_writer(&mut stream, &told)?;
    Ok(())
}

fn tell(asked: &Asked, backend: &dyn Backend) -> Result<Told> {
    Ok(match asked {
        Asked::Show => {
            let mut tpms = Vec::new();
            backend.each(&mut |subject, kept| tpms.push(Tpm::of(&subject, &kept)))?;
            Told::Shown(Shown { tpms, notes: backend.notes()? })
        }
        Asked::Do(deed) => Told::Done(carry_out(deed, backend)?),
        Asked::Export => {
            let mut tpms = Vec::new();
            backend.each(&mut |subject, kept| {
                let mut entry = kept.entry;
                entry.share = [0; 32];
                tpms.push(Exported { subject: hex::encode(subject), entry: hex::encode(entry.as_bytes()) });
            })?;
            Told::Exported(tpms)
        }
    })
}

fn unknown(subject: &Subject) -> String {
    format!("no TPM {} is known here: `quoin-anchor show` lists them", hex::encode(subject))
}

fn carry_out(deed: &Deed, backend: &dyn Backend) -> Result<String> {
    let Deed { act, subject, reason } = deed;
    let mut known = None;
    backend.each(&mut |at, kept| known = known.or((at == *subject).then_some(kept)))?;
    ensure!(known.is_some() || *act == Act::Enrol, unknown(subject));
    ensure!(known.is_none() || *act != Act::Enrol, "TPM {} is known already", hex::encode(subject));
    let epoch = known.and_then(|kept| Some(kept.entry.accepted()?.head.epoch.get()));
    let word = act.word().to_owned();
    let note = Note { time: now(), deed: word, subject: hex::encode(subject), epoch, reason: reason.clone() };
    let mut share = [0; 32];
    getrandom::fill(&mut share).map_err(|why| anyhow::anyhow!("no random octets: {why}"))?;
    let mut change = |kept: Option<Kept>, _| {
        let (time, new) = (now(), Entry::new(share));
        let mut kept = kept.unwrap_or(Kept { entry: new, since: time, changed: time });
        match act {
            Act::Forget => kept.entry.forget(),
            Act::Hold => kept.entry.hold(true),
            Act::Release => kept.entry.hold(false),
            Act::Enrol => {}
        }
        kept.changed = time;
        Some(kept)
    };
    backend.update(subject, &mut change, Some(&note))?;
    log::info!("TPM {} is {}: {reason}", crate::serve::short(subject), act.word());
    Ok(format!("TPM {} is {}", hex::encode(subject), act.word()))
}

/// Asks a server that runs in this folder, or the database itself.
fn ask(folder: &Path, etcd: &Options, asked: &Asked) -> Result<Told> {
    let control = Folder::control(folder);
    let told = match UnixStream::connect(&control) {
        Ok(mut stream) => {
            stream.set_read_timeout(Some(PATIENCE))?;
            writeln!(stream, "{}", serde_json::to_string(asked)?)?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            serde_json::from_str(&text).context("the server says something else than it should")?
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            tell(asked, &*Folder::open(folder)?.database(etcd)?)?
        }
        Err(error) => return Err(error).with_context(|| format!("cannot ask at {}", control.display())),
    };
    match told {
        Told::Refused(why) => bail!(why),
        told => Ok(told),
    }
}

/// `forget`, `hold`, `release`, `enrol`.
pub(crate) fn act(folder: &Path, etcd: &Options, deed: &Deed) -> Result<()> {
    let Told::Done(said) = ask(folder, etcd, &Asked::Do(deed.clone()))? else { bail!("another answer") };
    say(&format!("{said}\n"))
}

/// `show`.
pub(crate) fn show(folder: &Path, etcd: &Options, json: bool) -> Result<()> {
    let Told::Shown(shown) = ask(folder, etcd, &Asked::Show)? else { bail!("another answer") };
    if json {
        return say(&format!("{}\n", serde_json::to_string_pretty(&shown)?));
    }
    let mut text = format!("{} TPMs\n", shown.tpms.len());
    for tpm in &shown.tpms {
        let epoch = tpm.epoch.map_or_else(|| String::from("none"), |epoch| epoch.to_string());
        let marks = [(tpm.held, "  held"), (tpm.forgotten, "  forgotten")];
        let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
        text += &format!("{}  epoch {epoch}  changed {}{marks}\n", tpm.subject, date(tpm.changed));
        if let Some(identity) = &tpm.identity {
            text += &format!("  identity {identity}\n");
        }
    }
    for Note { time, deed, subject, epoch, reason } in &shown.notes {
        let epoch = epoch.map_or_else(String::new, |epoch| format!(" at epoch {epoch}"));
        text += &format!("{}  {subject} {deed}{epoch}: {reason}\n", date(*time));
    }
    say(&text)
}

/// `export`.
pub(crate) fn export(folder: &Path, etcd: &Options) -> Result<()> {
    let anchor = hex::encode(Folder::open(folder)?.keys.public());
    let Told::Exported(tpms) = ask(folder, etcd, &Asked::Export)? else { bail!("another answer") };
    say(&format!("{}\n", serde_json::to_string(&Export { anchor, tpms })?))
}

/// `adopt`. K other anchors must have exported all that they know: fewer may not know what this one has promised.
pub(crate) fn adopt(args: &Adopt) -> Result<()> {
    let Adopt { folder, exports: files, quorum, reason, etcd } = args;
    let (folder, quorum) = (Folder::open(folder)?, *quorum);
    let own = hex::encode(folder.keys.public());
    let (mut tpms, mut by) = (BTreeMap::new(), BTreeSet::new());
    for file in files {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let anchor = take_over(&text, &mut tpms).with_context(|| format!("{} is no export", file.display()))?;
        ensure!(anchor != own, "{} is of this anchor itself", file.display());
        by.insert(anchor);
    }
    ensure!(by.len() >= quorum, "these are exports of {} other anchors, not of {quorum}", by.len());
    let database = folder.new_database(etcd)?;
    let filled = tpms.iter().try_for_each(|(subject, entry): (&Subject, &Entry)| {
        let kept = Kept { entry: *entry, since: now(), changed: now() };
        let note = Note {
            time: now(),
            deed: String::from("adopted"),
            subject: hex::encode(subject),
            epoch: entry.accepted().map(|request| request.head.epoch.get()),
            reason: reason.clone(),
        };
        database.backend().update(subject, &mut |_, _| Some(kept), Some(&note))
    });
    if filled.is_err() {
        database.remove();
    }
    filled?;
    say(&format!("{} TPMs are adopted\n", tpms.len()))
}

/// Adds what an anchor has exported; says which one.
fn take_over(text: &str, tpms: &mut BTreeMap<Subject, Entry>) -> Result<String> {
    let export: Export = serde_json::from_str(text)?;
    for Exported { subject, entry } in export.tpms {
        let subject: Subject = hex::decode(subject)?.try_into().ok().context("a subject that is none")?;
        let entry = Entry::parse(&hex::decode(entry)?).context("an entry that is none")?;
        let mut requests = [entry.accepted(), entry.promised()].into_iter().flatten();
        let is_its = requests.all(|request| request.subject() == subject && request.is_signed::<P384>());
        ensure!(is_its, "a request that the TPM has not signed");
        let mut share = [0; 32];
        getrandom::fill(&mut share).map_err(|why| anyhow::anyhow!("no random octets: {why}"))?;
        tpms.entry(subject).or_insert_with(|| Entry::new(share)).adopt(&entry);
    }
    Ok(export.anchor)
}

fn date(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// Prints; whoever reads no further is no error.
fn say(text: &str) -> Result<()> {
    match stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
