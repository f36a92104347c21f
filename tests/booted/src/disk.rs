//! An encrypted disk that a Linux at VMPL2 opens by the TPM while it boots, and not after a changed command line.
//!
//! This suite is the disk's owner: it judges the guest's evidence, and has systemd-cryptenroll bind the disk to the
//! storage key of this boot's TPM and to the PCRs that the image leads to. docs/guest.md says why in this order.

use super::{Totals, case};
use aes::Aes256;
use aes::cipher::KeyInit;
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use host::boot::Built;
use host::collect::random;
use host::fetch::must;
use host::guest::challenger::Challenger;
use host::guest::initrd::Extra;
use host::guest::tools::Tools;
use host::guest::{self, Boot, Outcome, System};
use host::qemu::Folder;
use quoin_verify::digest::hex;
use quoin_verify::evidence::boot_log::{self, extended};
use quoin_verify::evidence::event_log::EventLog;
use quoin_verify::evidence::folder::Evidence;
use quoin_verify::judge::certified;
use quoin_verify::{Step, verify};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use xts_mode::{Xts128, get_tweak_default};

/// What `init` is told, and the same with one word more.
const COMMAND_LINE: &str = "console=ttyS1 quiet quoin=unlock";
const CHANGED: &str = "console=ttyS1 quiet quoin=unlock single";
const MEMORY: u32 = 512;
const TIMEOUT: u64 = 300;
/// How many checks `init` makes: one that is lost is a failure.
const CHECKS: usize = 14;
/// libcryptsetup's part that reads what systemd-cryptenroll has written.
const TOKEN: &str = "usr/lib/x86_64-linux-gnu/cryptsetup/libcryptsetup-token-systemd-tpm2.so";
/// What the disk is bound to: the command line; kernel and initial file system.
const PCRS: [u32; 2] = [8, 9];
/// What systemd says when the TPM's digest of the policy session is not the one that was enrolled; TPM_RC_POLICY_FAIL
/// of the first session.
const SYSTEMD: &str = "Failed to unseal secret using TPM2: Operation not permitted";
const TPM: &str = "Esys_Unseal(0x99D)";
/// Where the disk's data begin, and its size.
const DATA: usize = 1 << 20;
const SIZE: usize = 2 << 20;
const SECTOR: usize = 512;

/// Two boots, the second with another command line.
pub fn run() -> Result<Totals> {
    let tools = Tools::fetch()?;
    let extra = Extra {
        packages: tools.packages(),
        programs: &["usr/bin/systemd-cryptsetup", TOKEN],
        loaded: &["libtss2-esys.so.0", "libtss2-rc.so.0", "libtss2-mu.so.0"],
        modules: &["virtio_blk", "dm-mod", "dm-crypt"],
        script: "unlock",
    };
    let system = System::prepare_with(Some(&extra))?;
    println!("kernel {}", system.release);
    let built = system.build(COMMAND_LINE, "unlock.igvm")?;
    let changed = system.build(CHANGED, "unlock-changed.igvm")?;
    let disk = Disk::format(&tools)?;

    let (challenger, outcome) = boot(&built, &disk, |challenger| honest(&built, challenger, &disk))?;
    let mut totals = case("userland is reached, and the guest powers off", ended(&challenger, &outcome));
    for (name, why) in &challenger.checks {
        totals +=
            case(&format!("in the guest: {name}"), why.as_ref().map_or(Ok(()), |why| Err(anyhow::anyhow!("{why}"))));
    }
    totals += case("the guest has made all its checks", all_made(&challenger));
    totals += case("the disk is opened by the TPM, and has the owner's data", opened(&challenger, &disk));
    totals += case("the disk is not opened after one event more in PCR 8", refused(&challenger, "@again", SYSTEMD));
    totals += case("the TPM itself unseals the disk's key, and not after that event", unsealed_once(&challenger));

    let disk = Disk::format(&tools)?;
    let (challenger, outcome) = boot(&changed, &disk, |challenger| deceived(&built, &changed, challenger, &disk))?;
    totals += case("one word more on the command line: the guest reaches the disk", ended(&challenger, &outcome));
    totals += case("the guest has made all its checks there, too", all_made(&challenger));
    totals +=
        case("the same PCRs enrolled for this TPM: the disk is not opened", refused(&challenger, "@first", SYSTEMD));
    totals += case("the TPM itself refuses the disk's key there", refused(&challenger, "@tpm-first", TPM));
    Ok(totals)
}

/// Boots; when the guest asks to be enrolled, `owner` is called with what it has said.
fn boot(built: &Built, disk: &Disk, owner: impl Fn(&Challenger) -> Result<String>) -> Result<(Challenger, Outcome)> {
    let mut challenger = Challenger::new()?;
    let mut asked = false;
    let how = Boot {
        memory: MEMORY,
        disk: Some(disk.path.clone()),
        timeout: TIMEOUT,
        verbose: false,
        qemu: Vec::new(),
        state_disk: None,
    };
    let log = built.path.with_extension("log");
    let outcome = guest::boot(built, &how, |bytes, serial| {
        let mut answer = challenger.take(bytes)?;
        if !asked && challenger.said.contains_key("@enrol") {
            asked = true;
            let key = owner(&challenger).context("the disk's owner does not enrol this guest")?;
            answer.extend(format!("enrolled {key}\n").into_bytes());
        }
        Ok(serial.write_all(&answer)?)
    });
    fs::write(&log, &challenger.transcript)?;
    let outcome = outcome.with_context(|| format!("what the guest wrote is in {}", log.display()))?;
    println!("{:.1} s from QEMU's start to {outcome}", outcome.elapsed.as_secs_f64());
    Ok((challenger, outcome))
}

/// Enrols a guest whose evidence is that of the image, with a storage key of the same TPM.
fn honest(built: &Built, challenger: &Challenger, disk: &Disk) -> Result<String> {
    let evidence = challenger.evidence(&built.image.launch.digest)?;
    verify(&evidence, &built.expectations()?, |_, _| {}).map_err(|failure| failure.why.context(failure.step))?;
    let srk = storage_key(challenger, &evidence)?;
    disk.enrol(&srk, &predicted(built, &evidence)?)
}

/// An honest owner refuses the other image by its launch digest; this one is deceived, and enrols it with the PCRs of
/// the image that it believes in.
fn deceived(believed: &Built, booted: &Built, challenger: &Challenger, disk: &Disk) -> Result<String> {
    let evidence = challenger.evidence(&booted.image.launch.digest)?;
    let verdict = verify(&evidence, &believed.expectations()?, |_, _| {});
    ensure!(verdict.is_err_and(|failure| failure.step == Step::Measurement), "the launch digest was not refused");
    verify(&evidence, &booted.expectations()?, |_, _| {}).map_err(|failure| failure.why.context(failure.step))?;
    let srk = storage_key(challenger, &evidence)?;
    disk.enrol(&srk, &predicted(believed, &evidence)?)
}

fn storage_key(challenger: &Challenger, evidence: &Evidence) -> Result<Vec<u8>> {
    let srk = challenger.file("srk.pub")?;
    certified(evidence, &srk, &challenger.file("srk.attest")?, &challenger.file("srk.sig")?)?;
    Ok(srk)
}

/// The PCRs by the image's events and the challenger's: nothing of it is the guest's word.
fn predicted(built: &Built, evidence: &Evidence) -> Result<String> {
    let image = boot_log::expected(&built.image.bytes)?;
    let events = EventLog::parse(&evidence.events)?.events;
    let mut words = Vec::new();
    for pcr in PCRS {
        let ours = events.iter().filter(|event| event.pcr == pcr);
        let value =
            ours.fold(image.predicted(pcr)?, |value, event| extended(&value, &Sha256::digest(event.measured())));
        words.push(format!("{pcr}:sha256={}", hex(&value)));
    }
    Ok(words.join("+"))
}

/// A LUKS2 disk with one passphrase, which only its owner has, and one sector of data.
struct Disk {
    tools: Tools,
    folder: Folder,
    path: PathBuf,
    text: String,
}

impl Disk {
    fn format(tools: &Tools) -> Result<Self> {
        let folder = Folder::new()?;
        let path = folder.path().join("disk");
        let (volume_key, passphrase) = (random::<64>()?, hex(&random::<32>()?));
        let disk = Self { tools: tools.clone(), folder, path, text: hex(&random::<32>()?) };
        disk.secret("volume-key", &volume_key)?;
        disk.secret("passphrase", passphrase.as_bytes())?;
        fs::write(&disk.path, vec![0; SIZE])?;
        let mut format = disk.tools.cryptsetup();
        format.args(["luksFormat", "--batch-mode", "--type=luks2", "--cipher=aes-xts-plain64", "--key-size=512"]);
        // A random passphrase of 256 bits needs no slow derivation; two slots are room enough.
        format.args(["--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000", "--luks2-metadata-size=16k"]);
        format.args(["--luks2-keyslots-size=512k", &format!("--sector-size={SECTOR}")]);
        format.arg(format!("--offset={}", DATA / 512)).arg(disk.option("volume-key-file", "volume-key"));
        must(format.arg(&disk.path).arg(disk.file("passphrase")), &disk.file("format.log"))?;
        disk.put(&volume_key)?;
        Ok(disk)
    }

    /// Encrypts the text as the first sector.
    fn put(&self, volume_key: &[u8; 64]) -> Result<()> {
        let (first, second) = volume_key.split_at(32);
        let cipher = Xts128::new(Aes256::new_from_slice(first)?, Aes256::new_from_slice(second)?);
        let mut sector = self.text.clone().into_bytes();
        sector.resize(SECTOR, 0);
        cipher.encrypt_area(&mut sector, SECTOR, 0, get_tweak_default);
        let mut disk = fs::read(&self.path)?;
        disk[DATA..DATA + SECTOR].copy_from_slice(&sector);
        Ok(fs::write(&self.path, disk)?)
    }

    /// Gives the disk a key that the TPM with the storage key `srk` unseals while its PCRs are `pcrs`; gives the sealed
    /// key as the header has it now (base64).
    fn enrol(&self, srk: &[u8], pcrs: &str) -> Result<String> {
        self.secret("srk.pub", srk)?;
        let mut enrol = self.tools.cryptenroll();
        enrol.arg(self.option("unlock-key-file", "passphrase")).arg(self.option("tpm2-device-key", "srk.pub"));
        must(enrol.arg(format!("--tpm2-pcrs={pcrs}")).arg(&self.path), &self.file("enrol.log"))?;
        let output = self.tools.cryptsetup().args(["token", "export", "--token-id=0"]).arg(&self.path).output()?;
        let token = String::from_utf8(output.stdout)?;
        let key = token.split_once("\"tpm2-blob\":\"").and_then(|(_, rest)| rest.split_once('"'));
        key.map(|(key, _)| key.to_owned()).with_context(|| format!("no sealed key in the token {token}"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn option(&self, name: &str, file: &str) -> String {
        format!("--{name}={}", self.file(file).display())
    }

    fn secret(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path: &Path = &self.file(name);
        fs::write(path, bytes)?;
        Ok(fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
    }
}

fn ended(challenger: &Challenger, outcome: &Outcome) -> Result<()> {
    ensure!(challenger.userland.is_some() && outcome.is_power_off(), "{outcome}\n{}", challenger.transcript);
    Ok(())
}

fn all_made(challenger: &Challenger) -> Result<()> {
    ensure!(
        challenger.total.as_deref() == Some(&format!("{CHECKS} passed, 0 failed")),
        "{:?}, not {CHECKS} passed",
        challenger.total
    );
    Ok(())
}

fn opened(challenger: &Challenger, disk: &Disk) -> Result<()> {
    let said = challenger.said.get("@first").context("the guest has not tried")?;
    ensure!(*said == format!("opened {}", disk.text), "the guest says: {said}");
    Ok(())
}

fn unsealed_once(challenger: &Challenger) -> Result<()> {
    let said = challenger.said.get("@tpm-first").context("the guest has not tried")?;
    ensure!(said == "unsealed", "the guest says: {said}");
    refused(challenger, "@tpm-again", TPM)
}

/// For the policy, and not for a key or a disk that is not there.
fn refused(challenger: &Challenger, word: &str, how: &str) -> Result<()> {
    let said = challenger.said.get(word).context("the guest has not tried")?;
    ensure!(said.starts_with("refused ") && said.contains(how), "the guest says: {said}");
    Ok(())
}
