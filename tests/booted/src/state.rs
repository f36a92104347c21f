//! A TPM whose state outlives its VM: what tpm2-tools have made in one run is there in the next, and who must not open
//! the state cannot.
//!
//! | module | is |
//! |---|---|
//! | `inside`, `number` | a disk that is opened on the host; a number in NV |
//! | `keys` | who has not the key |
//! | `kills`, `cuts` | QEMU killed at any moment; a history that is cut after every sector |
//! | `bad`, `waits` | a disk that fails, lies, falls silent; what commands ask of it |
//! | `shutdown`, `guests` | how a VM's end counts; operating systems beside the disk |

mod bad;
mod cuts;
mod guests;
mod inside;
mod keys;
mod kills;
mod number;
mod shutdown;
mod waits;

use super::tools::run_all;
use super::{Totals, case};
use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use host::boot::{self, Built};
use host::collect::{VTPM_GUID, random};
use host::devices::{self, FileDisk};
use host::psp::Identity;
use host::qemu::{Folder, Qemu, Settings, Turns};
use host::relay::{AttestCall, Relay, SerialRelay};
use host::workspace;
use quoin_image::state::Wanted;
use quoin_verify::evidence::folder::Evidence;
use quoin_verify::evidence::manifest;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

/// In the first run, behind TPM2_Startup.
const FIRST: &[(&str, &str)] = &[
    ("startup", "tpm2_startup -c; tpm2_readclock | grep reset_count: > resets.1"),
    (
        "an NV index",
        "tpm2_nvdefine 0x1500016 -s 8 -a 'ownerread|ownerwrite'; printf lasting. > nv; tpm2_nvwrite 0x1500016 -C o -i nv",
    ),
    (
        "a persistent key, and a secret sealed under it",
        "tpm2_createprimary -C o -G ecc -c primary; tpm2_evictcontrol -C o -c primary 0x81000001; tpm2_readpublic -c 0x81000001 -n name.1; printf secret > secret; tpm2_create -C 0x81000001 -i secret -u sealed.pub -r sealed.priv; tpm2_flushcontext -t",
    ),
    ("the endorsement key", "tpm2_createek -G rsa -c ek -u ek.1; tpm2_flushcontext -t"),
];

/// In the next.
const NEXT: &[(&str, &str)] = &[
    ("startup again", "tpm2_startup -c; tpm2_readclock | grep reset_count: > resets.2"),
    ("the NV index is there", "tpm2_nvread 0x1500016 -C o -s 8 -o nv.2; cmp nv nv.2"),
    (
        "key and secret are there",
        "tpm2_readpublic -c 0x81000001 -n name.2; cmp name.1 name.2; tpm2_load -C 0x81000001 -u sealed.pub -r sealed.priv -c sealed; tpm2_unseal -c sealed -o secret.2; cmp secret secret.2; tpm2_flushcontext -t",
    ),
    ("the endorsement key is the same", "tpm2_createek -G rsa -c ek -u ek.2; cmp ek.1 ek.2; tpm2_flushcontext -t"),
    ("resetCount is one more", "test $(($(tr -dc 0-9 < resets.1) + 1)) = $(tr -dc 0-9 < resets.2)"),
];

/// Serves a relay while cases run.
type Serve = fn(SerialRelay<UnixStream>, &mut dyn FnMut(&str) -> Result<Totals>) -> Result<Totals>;

/// All of it.
pub fn run(serve: Serve) -> Result<Totals> {
    let (built, allowed) = (required()?, allowed()?);
    let folder = Folder::new()?;
    let disk = folder.path().join("state.disk");
    FileDisk::prepare(&disk)?;
    let mut totals = used(&built, &disk, folder.path(), serve)?;
    totals += case("no disk, where a state is required: the boot ends", ends(&built, None, 23, ""));
    totals += case("no disk, where a state is allowed: a new TPM", begins(&allowed));
    let copy = |name: &str, change: &dyn Fn(&mut Vec<u8>)| -> Result<std::path::PathBuf> {
        let (path, mut octets) = (folder.path().join(name), fs::read(&disk)?);
        change(&mut octets);
        fs::write(&path, octets)?;
        Ok(path)
    };
    let small = copy("small", &|octets| octets.truncate(1 << 20))?;
    totals += case("a disk that is too small: the boot ends", ends(&built, Some(&small), 24, "sectors"));
    let blank = copy("blank", &|octets| octets.fill(0))?;
    totals += case("a disk that nobody prepared: the boot ends", ends(&built, Some(&blank), 25, "not prepared"));
    let (first, second) = (2048 * 512, 4096 * 512);
    let damaged = copy("damaged", &|octets| [first, second].iter().for_each(|at| octets[at + 4096 + 100] ^= 1))?;
    totals += case("a damaged record: the boot ends", ends(&built, Some(&damaged), 26, "contents"));
    let other = copy("other", &|_| {})?;
    totals += case("another measurement: the boot ends", ends(&allowed, Some(&other), 25, "measurement"));
    totals += case("none of those has written to the disk", same(&disk, &other));
    totals += keys::run(&built, &allowed, &disk, folder.path())?;
    totals += shutdown::run(&built, folder.path())?;
    totals += kills::short(&built, u64::from_le_bytes(random()?));
    totals +=
        case("`run --state-disk`'s evidence: a verifier that remembers sees an old disk", remembered(folder.path()));
    totals += case(
        "`run --state-disk --anchors 3`: the firmware refuses an old disk, and says so",
        refused_by_anchors(folder.path()),
    );
    Ok(totals)
}

fn required() -> Result<Built> {
    boot::build_kept("state-required.igvm", &devices::setting(Wanted::Required))
}

fn allowed() -> Result<Built> {
    boot::build_kept("state-allowed.igvm", &devices::setting(Wanted::Allowed))
}

/// A disk that fails, lies or falls silent; and what commands ask of a good one.
pub fn bad_disk() -> Result<Totals> {
    let built = required()?;
    let mut totals = waits::counted(&built)?;
    totals += bad::run(&built)?;
    Ok(totals)
}

/// A disk that falls silent at other moments.
pub fn silent_disk() -> Result<Totals> {
    bad::silent(&required()?)
}

/// A short history, cut after every sector.
pub fn cut() -> Result<Totals> {
    Ok(cuts::short(&required()?, u64::from_le_bytes(random()?)))
}

/// Operating systems beside the firmware's disk.
pub fn guests() -> Result<Totals> {
    guests::run()
}

/// What such a guest is: the system, its command line, MiB of memory, seconds.
pub(crate) use guests::{COMMAND_LINE, MEMORY, TIMEOUT, system, unsealed};

/// One beside a disk that is not hidden from it.
pub fn shown() -> Result<Totals> {
    guests::shown()
}

/// A history of so many commands, cut after every sector of every write; so many cuts are booted.
pub fn cuts_of(commands: u32, boots: usize, seed: u64) -> Result<String> {
    Ok(cuts::run(&required()?, commands, boots, seed)?.to_string())
}

/// QEMU killed so often.
pub fn kills_of(count: u32, seed: u64) -> Result<String> {
    Ok(kills::run(&required()?, count, seed)?.to_string())
}

/// How long so many commands wait for the disk.
pub fn waits_of(count: u32) -> Result<String> {
    waits::measured(&required()?, count)
}

/// What a user does: three runs, the last with the disk as it was behind the first; the verifier judges what they
/// leave.
fn remembered(folder: &Path) -> Result<()> {
    let path = |name: &str| folder.join(name).display().to_string();
    let (disk, evidence, memory) = (path("run.disk"), path("evidence"), path("memory.json"));
    let image = workspace::target_dir()?.join("quoin-state.igvm").display().to_string();
    let run = || {
        let said = said(&["run", "--once", "--state-disk", &disk, "--evidence", &evidence], 0)?;
        ensure!(said.contains("state attested"), "the run says nothing of the state:\n{said}");
        Ok::<_, anyhow::Error>(())
    };
    let verify =
        |status| said(&["verify", "--development-root", "--igvm", &image, "--remember", &memory, &evidence], status);
    run()?;
    ensure!(verify(0)?.contains("seen for the first time"), "it was seen before");
    let old = fs::read(&disk)?;
    run()?;
    let second = verify(0)?;
    ensure!(second.contains("was the last that was seen"), "the first run is forgotten:\n{second}");
    let seen = Evidence::read(Path::new(&evidence))?;
    let known = manifest::kept(&seen.manifest)?.context("the evidence says nothing of the state")?.epoch;
    fs::write(&disk, old)?;
    run()?;
    let refused = verify(63)?;
    let words = refused.split_whitespace().collect::<Vec<_>>().join(" ");
    let names = words.contains("rollback") && words.contains(&format!("epoch {known} was seen"));
    ensure!(names, "epoch {known} is not named:\n{refused}");
    Ok(())
}

/// What a user does with anchors: two runs, and one from the disk as it was behind the first.
fn refused_by_anchors(folder: &Path) -> Result<()> {
    let path = |name: &str| folder.join(name).display().to_string();
    let (disk, evidence) = (path("anchored.disk"), path("anchored-evidence"));
    let run =
        |status| said(&["run", "--once", "--state-disk", &disk, "--anchors", "3", "--evidence", &evidence], status);
    ensure!(run(0)?.contains("2 of 3 are a quorum"), "the run says nothing of its anchors");
    let old = fs::read(&disk)?;
    run(0)?;
    fs::write(&disk, &old)?;
    let refused = run(1)?;
    ensure!(refused.contains("(code 29)") && refused.contains("the anchors know epoch"), "{refused}");
    ensure!(fs::read(&disk)? == old, "something was written to the old copy");
    Ok(())
}

/// What a verb of this program says, which must end so.
fn said(arguments: &[&str], status: i32) -> Result<String> {
    let output = Command::new(std::env::current_exe()?).args(arguments).output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.code() == Some(status), "{arguments:?} ends with {}:\n{said}", output.status);
    Ok(said)
}

fn start(built: &Built, disk: Option<&Path>, psp: &Identity) -> Result<Qemu> {
    start_with(built, disk.map_or_else(Vec::new, devices::disk), psp)
}

/// With QEMU's options for the disk.
fn start_with(built: &Built, disk: Vec<String>, psp: &Identity) -> Result<Qemu> {
    let options = [devices::memory(), disk].concat();
    Qemu::start(&Settings {
        machine: &built.machine,
        image: &built.image.bytes,
        psp: &psp.fw_cfg_bundle(),
        // So little memory is soon validated.
        config: &[devices::CONFIG, "ram=32"].join("\n"),
        memory_mib: boot::MEMORY_MIB,
        processors: 1,
        turns: Turns::InOneThread,
        options: &options,
    })
}

/// A machine whose guest runs, and its relay.
fn started(built: &Built, disk: Option<&Path>) -> Result<(Qemu, SerialRelay<UnixStream>)> {
    let mut qemu = start(built, disk, &Identity::development())?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let relay = qemu.relay()?;
    Ok((qemu, relay))
}

/// The same of a machine that was started: the firmware must find the state of this epoch, or none where it is 0.
fn begun(built: &Built, mut qemu: Qemu, epoch: u64) -> Result<(Qemu, SerialRelay<UnixStream>)> {
    let says = if epoch == 0 { String::from("manufactured for the disk") } else { format!("of epoch {epoch},") };
    let mut found = false;
    boot::hear_until_guest(&mut qemu, &built.image, |_, step| {
        found |= step.is_some_and(|step| step.title == "TPM" && step.detail.contains(&says));
    })?;
    ensure!(found, "the firmware does not say that the state is {says}\n{}", qemu.last_lines());
    let relay = qemu.relay()?;
    Ok((qemu, relay))
}

/// Two runs; between them QEMU is killed.
fn used(built: &Built, disk: &Path, folder: &Path, serve: Serve) -> Result<Totals> {
    let mut totals = Totals::default();
    let mut epochs = Vec::new();
    for cases in [FIRST, NEXT] {
        let (qemu, mut relay) = started(built, Some(disk))?;
        epochs.push(attested(&mut relay)?);
        totals += serve(relay, &mut |tcti| Ok(run_all(tcti, folder, cases)))?;
        drop(qemu);
    }
    totals += case("evidence names the state and its epoch", judged(&epochs));
    Ok(totals)
}

/// Identity, epoch and boot nonce of the manifest of version 2.
fn attested(relay: &mut impl Relay) -> Result<([u8; 32], u64, [u8; 32])> {
    let nonce = random::<64>()?;
    let attestation = relay.attest(AttestCall::Single(VTPM_GUID), 2, &nonce)?;
    ensure!(attestation.rax == 0, "there is no manifest of version 2: {:#x}", attestation.rax);
    let (_, kept) = attestation.manifest.split_last_chunk::<140>().context("a manifest that is too short")?;
    Ok((kept[..32].try_into()?, u64::from_be_bytes(kept[32..40].try_into()?), kept[40..72].try_into()?))
}

fn judged(epochs: &[([u8; 32], u64, [u8; 32])]) -> Result<()> {
    let [first, next] = epochs else { bail!("{} boots", epochs.len()) };
    ensure!(first.0 == next.0 && first.0 != [0; 32], "the identity is another, or none");
    ensure!(first.1 >= 1 && next.1 > first.1, "epoch {} and then {}", first.1, next.1);
    ensure!(first.2 != next.2, "one nonce for two boots");
    Ok(())
}

/// The boot ends with this code, and says why.
fn ends(built: &Built, disk: Option<&Path>, code: u8, why: &str) -> Result<()> {
    ended(start(built, disk, &Identity::development())?, built, code, why)
}

fn ended(mut qemu: Qemu, built: &Built, code: u8, why: &str) -> Result<()> {
    let Err(error) = boot::wait_for_guest(&mut qemu, &built.image, false) else { bail!("the guest has started") };
    let said = format!("{error:#}");
    ensure!(said.contains(&format!("(code {code})")) && said.contains(why), "{said}");
    Ok(())
}

fn begins(built: &Built) -> Result<()> {
    let (_qemu, mut relay) = started(built, None)?;
    ensure!(attested(&mut relay).is_err(), "a state is attested that nobody keeps");
    Ok(())
}

fn same(disk: &Path, other: &Path) -> Result<()> {
    ensure!(fs::read(disk)? == fs::read(other)?, "the disk is another than before");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{FIRST, NEXT};

    #[test]
    fn every_script_is_a_script() {
        crate::tools::tests::are_scripts(FIRST);
        crate::tools::tests::are_scripts(NEXT);
    }
}
