//! Anchors: an old copy of the disk does not start, nor do two copies live at once; with one of three away all goes on,
//! with two it ends or says so; and where a share is a root, nothing opens the state without them.

use super::{Totals, case};
use anchor::quorum::TooFew;
use anyhow::{Context, Result, anyhow, bail, ensure};
use core::time::Duration;
use fs_err as fs;
use host::anchors::{Fleet, asked};
use host::boot::{self, Built};
use host::collect::{VTPM_GUID, random};
use host::devices::{self, FileDisk, Programs};
use host::qemu::{Folder, Qemu};
use host::relay::{AttestCall, Relay, SerialRelay};
use host::relays::Relay as Way;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

/// The firmware's codes: a state that is not the newest; too few anchors.
const OLD: u8 = 29;
const ANCHORS: u8 = 30;
/// Flags of the manifest (docs/boot.md).
const ANCHORED: u32 = 1 << 1;
const TOO_FEW: u32 = 1 << 2;

const STARTUP: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];

/// All of it.
pub fn run() -> Result<Totals> {
    let folder = Folder::new()?;
    let mut fleet = Fleet::start(&folder.path().join("anchors"), 3)?;
    let build = |name: &str, too_few, shares| boot::build_kept(name, &fleet.setting(too_few, shares)?);
    let strict = build("state-anchors.igvm", TooFew::Refuse, false)?;
    let lenient = build("state-anchors-lenient.igvm", TooFew::SaySo, false)?;
    let shared = build("state-anchors-shares.igvm", TooFew::Refuse, true)?;
    let disk = |name: &str| -> Result<PathBuf> {
        let path = folder.path().join(name);
        FileDisk::prepare(&path)?;
        Ok(path)
    };
    let mut totals = Totals::default();
    let first = disk("first.disk")?;
    totals += case(
        "an old copy is put back: the firmware refuses it, and names both epochs",
        put_back(&strict, &fleet, &first),
    );
    totals += case(
        "two copies at once: the later one lives, the other fails at its next commit",
        twins(&strict, &fleet, &first),
    );
    totals += case("one of three away: all goes on", one_away(&strict, &mut fleet, &first));
    totals += case("two of three away: the boot ends", two_away(&strict, &mut fleet, &first));
    let second = disk("second.disk")?;
    totals += case("two of three away, where that may be: evidence says so", alone(&lenient, &mut fleet, &second));
    fleet.only(&[0, 1, 2])?;
    totals += case(
        "the relay is killed and started again, at rest and amid commits: each is registered",
        by_restarted_relays(&strict, &fleet, &first),
    );
    for habit in [Habit::Drops, Habit::Repeats, Habit::Garbles, Habit::Cuts] {
        let name = format!("a relay that {habit:?} what one anchor says: all goes on").to_lowercase();
        totals += case(&name, by_bad_relay(&strict, &fleet, &first, habit));
    }
    let third = disk("third.disk")?;
    totals +=
        case("a share as second root: without anchors the disk does not open", with_share(&shared, &mut fleet, &third));
    Ok(totals)
}

fn start(built: &Built, console: &[String], disk: &Path) -> Result<Qemu> {
    let options = [devices::memory(), devices::disk(disk), console.to_vec()].concat();
    boot::start_with(built, devices::CONFIG, boot::MEMORY_MIB, &options)
}

/// A machine whose guest runs, with the way to its anchors.
struct Machine {
    qemu: Qemu,
    relay: SerialRelay<UnixStream>,
    _way: Option<Way>,
}

impl Machine {
    fn start(built: &Built, fleet: &Fleet, disk: &Path) -> Result<Self> {
        let way = fleet.relay()?;
        Self::started(built, start(built, &way.options(), disk)?, Some(way))
    }

    fn started(built: &Built, mut qemu: Qemu, way: Option<Way>) -> Result<Self> {
        boot::wait_for_guest(&mut qemu, &built.image, false)?;
        let mut relay = qemu.relay()?;
        ensure!(relay.tpm(STARTUP)?.get(6..10) == Some(&[0; 4]), "TPM2_Startup fails");
        Ok(Self { qemu, relay, _way: way })
    }

    /// Epoch and flags of the manifest of version 2.
    fn attested(&mut self) -> Result<(u64, u32)> {
        let attestation = self.relay.attest(AttestCall::Single(VTPM_GUID), 2, &random::<64>()?)?;
        ensure!(attestation.rax == 0, "there is no manifest of version 2: {:#x}", attestation.rax);
        let (_, kept) = attestation.manifest.split_last_chunk::<140>().context("a manifest that is too short")?;
        Ok((u64::from_be_bytes(kept[32..40].try_into()?), u32::from_be_bytes(kept[104..108].try_into()?)))
    }

    /// The response code for something that is to last: TPM2_DictionaryAttackParameters.
    fn change(&mut self, tries: u8) -> Result<u32> {
        let head = [0x80, 2, 0, 0, 0, 39, 0, 0, 1, 0x3a, 0x40, 0, 0, 0x0a, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
        let response = self.relay.tpm(&[&head[..], &[0, 0, 0, tries, 0, 0, 0, 9, 0, 0, 0, 9]].concat())?;
        Ok(u32::from_be_bytes(response.get(6..10).context("a short response")?.try_into()?))
    }
}

/// The boot ends with this code, and says why.
fn ends(built: &Built, console: &[String], disk: &Path, code: u8, why: &[String]) -> Result<()> {
    let mut qemu = start(built, console, disk)?;
    let Err(error) = boot::wait_for_guest(&mut qemu, &built.image, false) else { bail!("the guest has started") };
    let said = format!("{error:#}");
    ensure!(said.contains(&format!("(code {code})")) && why.iter().all(|part| said.contains(part)), "{said}");
    Ok(())
}

fn copied(disk: &Path, name: &str) -> Result<PathBuf> {
    let copy = disk.with_file_name(name);
    fs::copy(disk, &copy)?;
    Ok(copy)
}

fn put_back(built: &Built, fleet: &Fleet, disk: &Path) -> Result<()> {
    let mut machine = Machine::start(built, fleet, disk)?;
    let (old_epoch, flags) = machine.attested()?;
    ensure!(flags & (ANCHORED | TOO_FEW) == ANCHORED, "the manifest's flags are {flags:#x}");
    let old = copied(disk, "old.disk")?;
    ensure!(machine.change(5)? == 0, "the TPM keeps nothing");
    let (epoch, _) = machine.attested()?;
    drop(machine);
    let known = format!("the anchors know epoch {epoch}; here it is {old_epoch}");
    let before = fs::read(&old)?;
    let way = fleet.relay()?;
    ends(built, &way.options(), &old, OLD, &[known])?;
    ensure!(fs::read(&old)? == before, "something was written to it");
    let mut machine = Machine::start(built, fleet, disk)?;
    ensure!(machine.attested()?.0 > epoch, "the newest state does not go on");
    Ok(())
}

fn twins(built: &Built, fleet: &Fleet, disk: &Path) -> Result<()> {
    let mut first = Machine::start(built, fleet, disk)?;
    let copy = copied(disk, "copy.disk")?;
    let mut second = Machine::start(built, fleet, &copy)?;
    let code = first.change(6)?;
    ensure!(code == 0x101, "the first goes on: response code {code:#x}");
    let said = first.qemu.last_lines();
    ensure!(said.contains("another copy has started"), "{said}");
    ensure!(second.change(7)? == 0, "the second does not");
    drop((first, second));
    fs::copy(&copy, disk)?;
    Ok(())
}

fn one_away(built: &Built, fleet: &mut Fleet, disk: &Path) -> Result<()> {
    fleet.only(&[1, 2])?;
    let mut machine = Machine::start(built, fleet, disk)?;
    ensure!(machine.change(8)? == 0, "the TPM keeps nothing");
    fleet.only(&[0, 1])?;
    ensure!(machine.change(9)? == 0, "the TPM keeps nothing with another two");
    Ok(())
}

fn two_away(built: &Built, fleet: &mut Fleet, disk: &Path) -> Result<()> {
    fleet.only(&[2])?;
    let way = fleet.relay()?;
    ends(built, &way.options(), disk, ANCHORS, &["too few anchors answer: 1".into()])
}

fn alone(built: &Built, fleet: &mut Fleet, disk: &Path) -> Result<()> {
    let mut machine = Machine::start(built, fleet, disk)?;
    let (_, flags) = machine.attested()?;
    ensure!(flags & (ANCHORED | TOO_FEW) == TOO_FEW, "the manifest's flags are {flags:#x}");
    ensure!(machine.change(5)? == 0, "the TPM keeps nothing");
    drop(machine);
    fleet.only(&[0, 1, 2])?;
    let mut machine = Machine::start(built, fleet, disk)?;
    let (_, flags) = machine.attested()?;
    ensure!(flags & (ANCHORED | TOO_FEW) == ANCHORED, "with all anchors there the flags are {flags:#x}");
    Ok(())
}

/// Where a commit is under way when its relay is killed, what was lost is asked for again, by the next one.
fn by_restarted_relays(built: &Built, fleet: &Fleet, disk: &Path) -> Result<()> {
    let mut way = fleet.relay()?;
    let mut machine = Machine::started(built, start(built, &way.lasting_options(), disk)?, None)?;
    let (mut epoch, _) = machine.attested()?;
    for (tries, ms) in (20..).zip([None, Some(0), Some(50), Some(200)]) {
        let code = thread::scope(|scope| {
            let commit = ms.map(|ms| {
                let commit = scope.spawn(|| machine.change(tries));
                thread::sleep(Duration::from_millis(ms));
                commit
            });
            way.restart()?;
            commit.map_or(Ok(0), |commit| commit.join().map_err(|_| anyhow!("the guest's thread has ended"))?)
        })?;
        ensure!(code == 0, "killed behind {ms:?} ms of a commit: response code {code:#x}");
        ensure!(machine.change(tries + 10)? == 0, "the next commit fails");
        let (now, flags) = machine.attested()?;
        ensure!(now > epoch && flags & (ANCHORED | TOO_FEW) == ANCHORED, "epoch {now}, flags {flags:#x}");
        epoch = now;
    }
    Ok(())
}

/// What a host does to what the first anchor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    Drops,
    Repeats,
    Garbles,
    /// Says a part of each answer first, as one that is ended amid it, and then octets of another protocol.
    Cuts,
}

fn by_bad_relay(built: &Built, fleet: &Fleet, disk: &Path, habit: Habit) -> Result<()> {
    let programs = Programs::new()?;
    let options = programs.options();
    let addresses: Vec<String> = fleet.addresses().into_iter().map(String::from).collect();
    let mut before: Vec<Vec<u8>> = Vec::new();
    let octets = programs.octets();
    programs.answer(move |message| {
        let number = usize::from(message.number);
        let Some(reply) = addresses.get(number).and_then(|address| asked(address, &message.octets).ok()) else {
            return Vec::new();
        };
        match habit {
            Habit::Drops if number == 0 => Vec::new(),
            Habit::Garbles if number == 0 => vec![reply.iter().map(|octet| octet ^ 4).collect()],
            Habit::Cuts => {
                let mut cut = relay::frame(message.service, message.number, &reply).unwrap_or_default();
                cut.truncate(1 + reply.len() / 2);
                let _ = octets.send(cut);
                let _ = octets.send(if number == 0 { b"HTTP/1.1 400 Bad Request".into() } else { Vec::new() });
                vec![reply]
            }
            Habit::Repeats => {
                let all = [&before[..], &[reply.clone(), reply.clone()]].concat();
                before = vec![reply];
                all
            }
            _ => vec![reply],
        }
    });
    let mut machine = Machine::started(built, start(built, &options, disk)?, None)?;
    ensure!(machine.change(11)? == 0, "the TPM keeps nothing");
    let (_, flags) = machine.attested()?;
    ensure!(flags & ANCHORED != 0, "the manifest's flags are {flags:#x}");
    Ok(())
}

/// Whoever has the chip has the disk's key where the chip is the only root; here it has not.
fn with_share(built: &Built, fleet: &mut Fleet, disk: &Path) -> Result<()> {
    let mut machine = Machine::start(built, fleet, disk)?;
    ensure!(machine.change(5)? == 0, "the TPM keeps nothing");
    let (epoch, _) = machine.attested()?;
    drop(machine);
    fleet.only(&[1, 2])?;
    let mut machine = Machine::start(built, fleet, disk)?;
    ensure!(machine.attested()?.0 > epoch, "two of three shares do not open it");
    drop(machine);
    ends(built, &[], disk, ANCHORS, &[])?;
    fleet.only(&[2])?;
    let way = fleet.relay()?;
    ends(built, &way.options(), disk, ANCHORS, &[])
}
