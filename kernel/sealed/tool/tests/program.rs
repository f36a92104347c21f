//! The program, as an operator calls it.

use client::cc;
use client::codes::OWNER;
use client::command::{tpm2b, with_passwords};
use client::platform::{CountedEntropy, ManualClock};
use migration::{Pending, Receipt, Tombstone};
use sealed::layout::{MIN_SECTORS, ROOM, SLOTS};
use sealed::{Beginning, BlockDevice, Found, Fresh, RecoveryPoint, Root, Roots, SECTOR, StateDisk, Writer};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use tpm_core::store::{MAX_RECORD_SIZE, Store};
use tpm_core::{Hooks, Locality, MAX_STATE_SIZE, StateForm, Tpm};

const PROGRAM: &str = env!("CARGO_BIN_EXE_quoin-state");

/// A disk in a file, as the firmware has it.
struct Disk(File);

impl BlockDevice for Disk {
    type Error = std::io::Error;

    fn sectors(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len() / SECTOR as u64)
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read_exact_at(out, first * SECTOR as u64)
    }

    fn write(&mut self, first: u64, octets: &[u8]) -> std::io::Result<()> {
        self.0.write_all_at(octets, first * SECTOR as u64)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A firmware on a chip.
struct Firmware {
    writer: Writer,
    chip: u8,
    recovery: Option<RecoveryPoint>,
}

impl Firmware {
    fn roots(&self) -> Roots {
        Roots { chip: Root::new([self.chip; 32]), share: None, recovery: self.recovery.clone() }
    }

    /// What is on the disk, or the beginning of what will be.
    fn open(&self, path: &Path) -> Result<StateDisk<Vec<u8>, Disk>, String> {
        let mut disk = Disk(OpenOptions::new().read(true).write(true).open(path).unwrap());
        let fresh = Fresh::draw(|out| File::open("/dev/urandom").and_then(|mut random| random.read_exact(out)));
        let (fresh, room) = (fresh.unwrap(), vec![0; ROOM]);
        let found = sealed::disk::look(&mut disk).map_err(|refusal| refusal.to_string())?;
        let disk = match found {
            Found::Empty => StateDisk::create(disk, &Beginning::new(), &self.writer, &self.roots(), fresh, room),
            Found::Record(head) => {
                let roots = (self.roots(), self.roots());
                StateDisk::open(disk, &head, &self.writer, &roots.0, &roots.1, None, fresh, room)
            }
        };
        disk.map_err(|refusal| refusal.to_string())
    }

    /// Boots, runs commands, and ends; the state digest then.
    fn boot(&self, path: &Path, commands: &[Vec<u8>]) -> Result<[u8; 32], String> {
        let mut buffer = vec![0; MAX_RECORD_SIZE];
        let (mut store, state) = Store::open(self.open(path)?, &mut buffer).unwrap();
        // Two TPMs are two.
        let mut entropy = CountedEntropy { count: u64::from(self.chip) << 32, dry: false };
        let mut clock = ManualClock(0);
        let hooks = &mut Hooks { entropy: &mut entropy, clock: &mut clock };
        let mut tpm = Box::new(Tpm::blank());
        match state {
            None => tpm.manufacture(hooks).unwrap(),
            Some(state) => tpm.import(state, hooks).unwrap(),
        }
        let startup = with_passwords(cc::STARTUP, &[], &[], &[0, 0]);
        for command in core::iter::once(&startup).chain(commands) {
            let mut response = vec![0; 4096];
            tpm.execute(hooks, Locality::ZERO, command, &mut response);
            assert_eq!(&response[6..10], [0; 4], "{command:x?}");
            store.save(&tpm, &mut buffer).unwrap();
        }
        Ok(*store.disk().digest())
    }

    /// A state has come to the disk, and waits there for its receipt.
    fn wait(&self, path: &Path) {
        let mut entropy = CountedEntropy { count: u64::from(self.chip) << 32, dry: false };
        let hooks = &mut Hooks { entropy: &mut entropy, clock: &mut ManualClock(0) };
        let mut tpm = Box::new(Tpm::blank());
        tpm.manufacture(hooks).unwrap();
        let startup = with_passwords(cc::STARTUP, &[], &[], &[0, 0]);
        for command in [vec![startup], index(0x0150_0000, 1)].concat() {
            let mut response = vec![0; 4096];
            tpm.execute(hooks, Locality::ZERO, &command, &mut response);
            assert_eq!(response[6..10], [0; 4], "{command:x?}");
        }
        let mut state = vec![0; MAX_STATE_SIZE];
        let length = tpm.export(StateForm::Whole, &mut state).unwrap();
        let promise = RECEIPT.promise();
        let pending = Pending { identity: [7; 32], epoch: 41, boot_nonce: [8; 32], from: [0x2b; 48], promise };
        migration::disk::keep(&mut self.open(path).unwrap(), &pending, &state[..length]).unwrap();
    }

    /// The TPM on the disk moves away.
    fn leave(&self, path: &Path) {
        let mut disk = self.open(path).unwrap();
        let (identity, epoch) = (*disk.identity(), disk.epoch());
        let tombstone = Tombstone { identity, epoch, to: [0x3c; 48], chip: [0x4d; 64], receipt: RECEIPT };
        migration::disk::entomb(&mut disk, &tombstone).unwrap();
    }
}

/// What nobody but the two firmwares may know before the TPM has left.
const RECEIPT: Receipt = Receipt([0xe5; 32]);

/// A folder with a disk, a recovery key, and the firmware of its first chip.
struct Place {
    folder: TempDir,
    first: Firmware,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let printed = said(&run(&["recovery-key"]));
        fs::write(folder.path().join("key"), &printed).unwrap();
        let key = folder.path().join("key");
        let point = said(&run(&["recovery-point", key.to_str().unwrap()]));
        assert!(printed.contains(point.trim()), "the public key is printed with it");
        let octets: Vec<u8> = (0..96).map(|at| u8::from_str_radix(&point[2 * at..2 * at + 2], 16).unwrap()).collect();
        let recovery = RecoveryPoint::new(&octets.try_into().unwrap());
        assert!(recovery.is_some());
        let writer = Writer { measurement: [0x11; 48], policy: 0x3_0000, tcb: 7 };
        Self { folder, first: Firmware { writer, chip: 1, recovery } }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// An empty disk.
    fn disk(&self, name: &str) -> PathBuf {
        let disk = self.path(name);
        said(&run(&["prepare", disk.to_str().unwrap()]));
        disk
    }

    /// The program with paths in the folder for words that begin with `@`.
    fn run(&self, words: &[&str]) -> Output {
        let words: Vec<String> = words
            .iter()
            .map(|word| word.strip_prefix('@').map_or_else(|| (*word).to_owned(), |name| self.text(name)))
            .collect();
        run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

fn run(words: &[&str]) -> Output {
    Command::new(PROGRAM).args(words).stdin(Stdio::null()).output().unwrap()
}

/// What a call says that succeeds.
fn said(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{output:?}");
    text
}

/// The status and the error of a call that fails.
fn refused(output: &Output) -> (i32, String) {
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// TPM2_NV_DefineSpace and TPM2_NV_Write of eight octets.
fn index(number: u32, octet: u8) -> Vec<Vec<u8>> {
    let public = [&number.to_be_bytes()[..], &[0, 0xb], &0x0006_0006_u32.to_be_bytes(), &[0, 0, 0, 8]].concat();
    let define = [tpm2b(b""), tpm2b(&public)].concat();
    vec![with_passwords(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &define), write(number, octet)]
}

fn write(number: u32, octet: u8) -> Vec<u8> {
    with_passwords(cc::NV_WRITE, &[number, number], &[b""], &[&tpm2b(&[octet; 8])[..], &[0, 0]].concat())
}

#[test]
fn prepare_makes_an_empty_disk_and_leaves_a_state_alone() {
    let place = Place::new();
    let disk = place.disk("disk");
    assert_eq!(fs::metadata(&disk).unwrap().len(), MIN_SECTORS * 512);
    assert_eq!(fs::metadata(&disk).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(said(&place.run(&["show", "@disk"])).contains("the disk is empty"));
    place.first.boot(&disk, &[]).unwrap();
    let before = fs::read(&disk).unwrap();
    let (status, error) = refused(&place.run(&["prepare", "@disk"]));
    assert_eq!(status, 7);
    assert!(error.contains("there is a TPM's state on it"), "{error}");
    assert!(fs::read(&disk).unwrap() == before, "nothing was lost");
    said(&place.run(&["prepare", "@disk", "--force"]));
    assert!(said(&place.run(&["show", "@disk"])).contains("the disk is empty"));
    // What is somebody else's, and too small.
    fs::write(place.path("letter"), "a letter").unwrap();
    assert_eq!(refused(&place.run(&["prepare", "@letter"])).0, 7);
    assert_eq!(fs::read(place.path("letter")).unwrap(), b"a letter");
    fs::write(place.path("small"), [0; 512]).unwrap();
    assert_eq!(refused(&place.run(&["prepare", "@small"])).0, 3);
}

#[test]
fn show_says_what_is_seen_from_outside_and_with_the_key_what_is_inside() {
    let place = Place::new();
    let disk = place.disk("disk");
    let digest = place.first.boot(&disk, &index(0x0150_0000, 0xa5)).unwrap();
    let outside = said(&place.run(&["show", "@disk"]));
    for line in [
        "record: the state of a TPM",
        "version: 2",
        "epoch: 3",
        &format!("state digest: {}", hex(&digest)),
        &format!("writer's measurement: {}", "11".repeat(48)),
        "writer's policy: 0x30000",
        "roots: chip, recovery key",
    ] {
        assert!(outside.lines().any(|said| said == line), "{line}\n{outside}");
    }
    let inside = said(&place.run(&["show", "@disk", "--recovery-key", "@key"]));
    assert!(inside.starts_with(&outside));
    assert!(inside.contains("index 0x01500000: 8 octets, name 000b"), "{inside}");
    assert!(inside.contains("EK (P-256), SHA-256 of its public area: "), "{inside}");
    assert!(!inside.contains("a5a5"), "contents are not shown");
}

#[test]
fn check_names_what_is_damaged_and_what_does_not_open() {
    let place = Place::new();
    let disk = place.disk("disk");
    place.first.boot(&disk, &[]).unwrap();
    said(&place.run(&["check", "@disk"]));
    assert!(said(&place.run(&["check", "@disk", "--recovery-key", "@key"])).contains("authentic"));
    let other = said(&run(&["recovery-key"]));
    fs::write(place.path("other"), other).unwrap();
    let (status, error) = refused(&place.run(&["check", "@disk", "--recovery-key", "@other"]));
    assert_eq!(status, 5);
    assert!(error.contains("no key here opens it"), "{error}");
    let whole = fs::read(&disk).unwrap();
    // The record of epoch 1 is in slot 1.
    let slot = usize::try_from(SLOTS[1]).unwrap() * 512;
    for (at, what) in
        [(20, "the label"), (slot + 30, "the head of the record in slot 1"), (slot + 4096, "the contents")]
    {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        fs::write(place.path("damaged"), damaged).unwrap();
        let (status, error) = refused(&place.run(&["check", "@damaged"]));
        assert_eq!(status, 4);
        assert!(error.contains(what), "{error}");
    }
    fs::write(place.path("blank"), vec![0; whole.len()]).unwrap();
    assert_eq!(refused(&place.run(&["check", "@blank"])).0, 3);
    assert_eq!(refused(&place.run(&["check", "@nowhere"])).0, 1);
}

#[test]
fn a_wrong_letter_in_the_key_is_told() {
    let place = Place::new();
    let disk = place.disk("disk");
    place.first.boot(&disk, &[]).unwrap();
    let key = fs::read_to_string(place.path("key")).unwrap();
    let line = key.lines().find(|line| !line.starts_with('#')).unwrap();
    let (first, rest) = line.split_at(1);
    let wrong = if first == "A" { "B" } else { "A" };
    fs::write(place.path("wrong"), format!("{wrong}{rest}")).unwrap();
    let (status, error) = refused(&place.run(&["check", "@disk", "--recovery-key", "@wrong"]));
    assert_eq!(status, 1);
    assert!(error.contains("a letter is wrong"), "{error}");
    let mut piped = Command::new(PROGRAM);
    piped.args(["check", &place.text("disk"), "--recovery-key", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(line.to_lowercase().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_exported_record_goes_back_to_the_chip_that_wrote_it() {
    let place = Place::new();
    let disk = place.disk("disk");
    let digest = place.first.boot(&disk, &index(0x0150_0000, 1)).unwrap();
    said(&place.run(&["export", "@disk", "@saved", "--recovery-key", "@key"]));
    assert_eq!(fs::metadata(place.path("saved")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(said(&place.run(&["show", "@saved"])).contains(&hex(&digest)));
    assert_eq!(refused(&place.run(&["export", "@disk", "@saved", "--recovery-key", "@key"])).0, 7);
    assert_eq!(refused(&place.run(&["import", "@saved", "@disk"])).0, 7, "a state is not replaced");
    let again = place.disk("again");
    said(&place.run(&["import", "@saved", "@again"]));
    place.first.boot(&again, &[write(0x0150_0000, 2)]).unwrap();
    // Another chip cannot open it.
    let other = place.disk("other");
    said(&place.run(&["import", "@saved", "@other"]));
    let second = Firmware { chip: 2, recovery: place.first.recovery.clone(), ..place.first };
    assert!(second.boot(&other, &[]).unwrap_err().contains("no key here opens it"));
    // Damaged on its way.
    let mut octets = fs::read(place.path("saved")).unwrap();
    let last = octets.len() - 1;
    octets[last] ^= 1;
    fs::write(place.path("saved"), octets).unwrap();
    assert_eq!(refused(&place.run(&["check", "@saved"])).0, 4);
}

#[test]
fn a_state_comes_to_another_chip_by_the_recovery_key_and_the_attested_digest() {
    let place = Place::new();
    let disk = place.disk("disk");
    place.first.boot(&disk, &index(0x0150_0000, 1)).unwrap();
    said(&place.run(&["export", "@disk", "@saved", "--recovery-key", "@key"]));
    let writer = Writer { measurement: [0x22; 48], ..place.first.writer };
    let second = Firmware { writer, chip: 2, recovery: place.first.recovery.clone() };
    let new = place.disk("new");
    let import =
        |digest: &str| place.run(&["import", "@saved", "@new", "--recovery-key", "@key", "--attested", digest]);
    assert_eq!(refused(&import(&hex(&[0; 32]))).0, 1, "nobody to seal for");
    let attested = second.boot(&new, &[]).unwrap();
    let (status, error) = refused(&import(&hex(&[0; 32])));
    assert_eq!(status, 7);
    assert!(error.contains("not the attested one"), "{error}");
    said(&import(&hex(&attested)));
    assert!(said(&place.run(&["show", "@new"])).contains("epoch: 4"));
    second.boot(&new, &[write(0x0150_0000, 2)]).unwrap();
    let same = |file: &str, what: &str| {
        let text = said(&place.run(&["show", file, "--recovery-key", "@key"]));
        text.lines().find(|line| line.starts_with(what)).unwrap().to_owned()
    };
    for what in ["identity", "EK (P-256)", "endorsement seed"] {
        assert_eq!(same("@disk", what), same("@new", what));
    }
    assert!(place.first.boot(&new, &[]).is_err(), "the first firmware cannot open it any more");
}

#[test]
fn diff_tells_what_differs_and_no_secret() {
    let place = Place::new();
    let disk = place.disk("disk");
    place.first.boot(&disk, &index(0x0150_0000, 0xa5)).unwrap();
    said(&place.run(&["export", "@disk", "@before", "--recovery-key", "@key"]));
    assert_eq!(said(&place.run(&["diff", "@before", "@disk", "--recovery-key", "@key"])), "");
    place.first.boot(&disk, &[&index(0x0150_0001, 1)[..], &[write(0x0150_0000, 0x5a)]].concat()).unwrap();
    let differs = place.run(&["diff", "@before", "@disk", "--recovery-key", "@key"]);
    assert_eq!(differs.status.code(), Some(6));
    let text = String::from_utf8(differs.stdout).unwrap();
    for line in ["-epoch: 3", "+epoch: 7", "!index 0x01500000: its contents differ"] {
        assert!(text.lines().any(|said| said == line), "{line}\n{text}");
    }
    assert!(text.contains("+index 0x01500001: 8 octets"), "{text}");
    assert!(!text.contains("5a5a") && !text.contains("a5a5") && !text.contains("identity"), "{text}");
    // A secret alone.
    said(&place.run(&["export", "@disk", "@third", "--recovery-key", "@key"]));
    let change = with_passwords(cc::HIERARCHY_CHANGE_AUTH, &[0x4000_000b], &[b""], &tpm2b(b"hush"));
    place.first.boot(&disk, &[change]).unwrap();
    let text = String::from_utf8(place.run(&["diff", "@third", "@disk", "--recovery-key", "@key"]).stdout).unwrap();
    assert!(text.contains("TPM_PT_PERMANENT") && !text.contains("hush"), "{text}");
}

/// Between the state and its receipt the destination's disk is whole, whatever becomes of the source.
#[test]
fn a_state_that_waits_for_its_receipt_is_shown_checked_and_compared() {
    let place = Place::new();
    let disk = place.disk("disk");
    place.first.wait(&disk);
    let shown = said(&place.run(&["show", "@disk", "--recovery-key", "@key"]));
    for line in [
        "handover: the TPM waits here for the receipt of the firmware from which it comes",
        "last epoch there: 41",
        &format!("measurement of that firmware: {}", "2b".repeat(48)),
    ] {
        assert!(shown.lines().any(|said| said == line), "{line}\n{shown}");
    }
    assert!(shown.contains("index 0x01500000: 8 octets"), "{shown}");
    let checked = said(&place.run(&["check", "@disk", "--recovery-key", "@key"]));
    assert!(checked.contains("a TPM is made of it, once its receipt has come"), "{checked}");
    said(&place.run(&["export", "@disk", "@saved", "--recovery-key", "@key"]));
    assert_eq!(said(&place.run(&["diff", "@saved", "@disk", "--recovery-key", "@key"])), "");
    // A TPM that lives is another thing, and is compared all the same.
    let lives = place.disk("lives");
    place.first.boot(&lives, &[]).unwrap();
    let differs = place.run(&["diff", "@lives", "@disk", "--recovery-key", "@key"]);
    assert_eq!(differs.status.code(), Some(6), "{differs:?}");
    let text = String::from_utf8(differs.stdout).unwrap();
    assert!(text.contains("+handover: ") && text.contains("+index 0x01500000"), "{text}");
}

#[test]
fn what_is_left_of_a_tpm_that_has_moved_is_shown_checked_and_compared_without_its_receipt() {
    let place = Place::new();
    let disk = place.disk("disk");
    place.first.boot(&disk, &[]).unwrap();
    said(&place.run(&["export", "@disk", "@before", "--recovery-key", "@key"]));
    place.first.leave(&disk);
    let shown = said(&place.run(&["show", "@disk", "--recovery-key", "@key"]));
    for line in [
        "record: what is left of a TPM that has moved",
        "handover: the TPM has moved from here",
        "last epoch here: 1",
        &format!("measurement of the firmware that has it: {}", "3c".repeat(48)),
        &format!("chip of that firmware: {}", "4d".repeat(64)),
    ] {
        assert!(shown.lines().any(|said| said == line), "{line}\n{shown}");
    }
    let checked = said(&place.run(&["check", "@disk", "--recovery-key", "@key"]));
    assert!(checked.contains("the TPM has moved"), "{checked}");
    let differs = place.run(&["diff", "@before", "@disk", "--recovery-key", "@key"]);
    assert_eq!(differs.status.code(), Some(6), "{differs:?}");
    let text = String::from_utf8(differs.stdout).unwrap();
    assert!(text.contains("+handover: the TPM has moved from here"), "{text}");
    assert!(text.contains("-endorsement seed, its name: "), "{text}");
    assert!(!shown.contains("e5e5") && !text.contains("e5e5"), "the receipt is not shown");
    said(&place.run(&["export", "@disk", "@after", "--recovery-key", "@key"]));
    assert_eq!(said(&place.run(&["diff", "@after", "@disk", "--recovery-key", "@key"])), "");
}

/// With the recovery key a second TPM could be made of the one that waits, and none of one that has moved.
#[test]
fn only_a_tpm_that_lives_is_imported_for_another_firmware() {
    let place = Place::new();
    let second = Firmware { chip: 2, recovery: place.first.recovery.clone(), ..place.first };
    let (waits, gone, new) = (place.disk("waits"), place.disk("gone"), place.disk("new"));
    place.first.wait(&waits);
    place.first.boot(&gone, &[]).unwrap();
    place.first.leave(&gone);
    let attested = hex(&second.boot(&new, &[]).unwrap());
    let before = fs::read(&new).unwrap();
    for (file, said) in [("@waits", "waits for its receipt"), ("@gone", "has moved")] {
        let import = ["import", file, "@new", "--recovery-key", "@key", "--attested", &attested];
        let (status, error) = refused(&place.run(&import));
        assert_eq!(status, 7, "{file}: {error}");
        assert!(error.contains(said), "{error}");
        assert!(fs::read(&new).unwrap() == before, "nothing was lost");
    }
}

#[test]
fn a_reader_that_goes_ends_it_quietly() {
    let place = Place::new();
    place.disk("disk");
    // It has gone before the program begins.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(PROGRAM).args(["show", &place.text("disk")]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(141), Vec::new()));
}

#[test]
fn wrong_options_are_told_by_status_2() {
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["import", "a", "b", "--recovery-key", "c"]).status.code(), Some(2));
    assert_eq!(run(&["import", "a", "b", "--recovery-key", "c", "--attested", "xy"]).status.code(), Some(2));
}

/// The grant is the owner's by the crate that the firmware has, and by nothing else of it.
#[test]
fn an_owner_signs_that_one_firmware_may_follow_another() {
    let place = Place::new();
    fs::write(place.path("owner"), said(&run(&["owner-key"]))).unwrap();
    let text = fs::read_to_string(place.path("owner")).unwrap();
    let public = said(&place.run(&["owner-point", "@owner"]));
    assert!(text.contains(public.trim()), "{text}");
    let (from, to) = ("1a".repeat(48), "2b".repeat(48));
    let sign = |file: &str| {
        let options = ["--owner-key", "@owner", "--from", &from, "--to", &to, "--until", "9"];
        place.run(&[&["grant", file][..], &options].concat())
    };
    said(&sign("@grant"));
    let grant = migration::Grant::parse(&fs::read(place.path("grant")).unwrap()).unwrap();
    assert_eq!((grant.identity, grant.from, grant.to, grant.until), ([0; 32], [0x1a; 48], [0x2b; 48], 9));
    let point: Vec<u8> = (0..192).step_by(2).map(|at| u8::from_str_radix(&public[at..at + 2], 16).unwrap()).collect();
    let owner: [u8; 96] = point.try_into().unwrap();
    assert!(grant.is_signed_by(&owner));
    for bit in 0..8 * 136 {
        let mut octets = grant.octets();
        octets[bit / 8] ^= 1 << (bit % 8);
        assert!(!migration::Grant::parse(&octets).unwrap().is_signed_by(&owner), "bit {bit}");
    }
    // What is there stays.
    assert_eq!(sign("@grant").status.code(), Some(1));
    let none = place.run(&[
        "grant",
        "@other",
        "--owner-key",
        "@owner",
        "--from",
        &"00".repeat(48),
        "--to",
        &to,
        "--until",
        "9",
    ]);
    assert_eq!(none.status.code(), Some(1));
    assert_eq!(
        run(&["grant", "a", "--owner-key", "b", "--from", "xy", "--to", &to, "--until", "9"]).status.code(),
        Some(2)
    );
}
