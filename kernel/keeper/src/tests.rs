//! Boots with a disk and anchors in memory, and a host that has both.

mod clones;
mod shares;
mod without;

use crate::anchors::Post;
use crate::{AskKey, Device, Keeping, Opened, Opening, open};
use alloc::sync::Arc;
use anchor::keeper::Entry;
use anchor::keys::Keys;
use anchor::quorum::{Cadence, TooFew};
use anchor::share::{self, Exchange};
use anchor::wire::kind;
use anchor::{P384, Quorum, Request};
use kernel::fatal::{Fatal, Reason};
use kernel::hooks::Keeper;
use kernel::state::{Place, StateSetting, Wanted, flag};
use sealed::layout::MIN_SECTORS;
use sealed::{BlockDevice, SECTOR};
use snp::message::key::{DerivedKey, KeyRequest};
use snp::report::Report;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use tpm_core::{Clock, Entropy, EntropyFailure, Hooks, Locality, Tpm};
use virtio::Fault;
use zerocopy::{FromZeros, IntoBytes};

/// A disk in memory: who has a clone has the same disk.
#[derive(Clone, Default)]
struct Image(Arc<Mutex<BTreeMap<u64, [u8; SECTOR]>>>);

impl Image {
    fn prepared() -> Image {
        let image = Image::default();
        sealed::disk::prepare(image.clone()).unwrap();
        image
    }

    /// As it is now: what the host may put back.
    fn copy(&self) -> Image {
        Image(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }
}

impl BlockDevice for Image {
    type Error = Fault;

    fn sectors(&self) -> u64 {
        MIN_SECTORS
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), Fault> {
        let sectors = self.0.lock().unwrap();
        for (at, chunk) in (first..).zip(out.chunks_mut(SECTOR)) {
            chunk.copy_from_slice(sectors.get(&at).unwrap_or(&[0; SECTOR]));
        }
        Ok(())
    }

    fn write(&mut self, first: u64, octets: &[u8]) -> Result<(), Fault> {
        let mut sectors = self.0.lock().unwrap();
        sectors.extend((first..).zip(octets.chunks(SECTOR).map(|chunk| <[u8; SECTOR]>::try_from(chunk).unwrap())));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

/// What the host does to messages on their way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    Passes,
    /// Of each round, what the first anchor says is lost.
    Drops,
    /// Of each request, what the first anchor is sent first is lost.
    LosesRequests,
    /// Of each request, what the first anchor says first is lost.
    LosesReplies,
    /// Everything comes twice, and everything that came before once more.
    Repeats,
    /// One bit of what the first anchor says is another.
    Garbles,
    /// What is no reply, without end.
    Floods,
    /// Of an anchor that cannot be reached, an empty message.
    Tells,
}

/// An anchor: what it keeps, by the TPM that it is of.
struct Anchor {
    keys: P384,
    entries: BTreeMap<[u8; 32], Entry>,
    /// What it gives to whoever settles.
    share: [u8; 32],
}

/// The host, and the anchors behind it.
struct Net {
    anchors: Vec<Anchor>,
    /// Who can be reached.
    up: Vec<bool>,
    habit: Habit,
    /// Of each way.
    waiting: Vec<VecDeque<(u16, Vec<u8>)>>,
    before: Vec<(u16, Vec<u8>)>,
    /// The last request that the first anchor was sent, and how often it was.
    asked: (Vec<u8>, u32),
    now_ms: u64,
    /// Steps of the heads that the last anchor was asked to accept.
    steps: Vec<u64>,
    /// Boots so far.
    boots: u8,
}

impl Net {
    fn answer(&mut self, way: usize, number: u16, message: &[u8]) {
        let at = usize::from(number);
        let Ok(request) = Request::parse(message) else { return };
        if at == 0 {
            let times = if self.asked.0 == message { self.asked.1 + 1 } else { 1 };
            self.asked = (message.to_vec(), times);
        }
        let is_first = at == 0 && self.asked.1 == 1;
        if is_first && self.habit == Habit::LosesRequests {
            return;
        }
        if !request.is_signed::<P384>() || !self.up[at] {
            if self.habit == Habit::Tells {
                self.waiting[way].push_back((number, Vec::new()));
            }
            return;
        }
        if request.kind == kind::ACCEPT && at + 1 == self.anchors.len() {
            self.steps.push(request.ballot.step.get());
        }
        let Anchor { keys, entries, share } = &mut self.anchors[at];
        let answer = entries.entry(request.subject()).or_insert_with(|| Entry::new(*share)).answer(&request);
        let exchange = Exchange::new(&[0x33; 48]).unwrap();
        let reply = if answer.gives_share {
            share::give(share, &exchange, &request, answer.reply).unwrap()
        } else {
            answer.reply
        };
        let mut reply = reply.sign(keys).unwrap().as_bytes().to_vec();
        match self.habit {
            Habit::Drops if at == 0 => return,
            Habit::LosesReplies if is_first => return,
            Habit::Garbles if at == 0 => reply[100] ^= 1,
            Habit::Repeats => {
                self.waiting[way].extend(self.before.iter().cloned());
                self.waiting[way].push_back((number, reply.clone()));
                self.before.push((number, reply.clone()));
                self.before.truncate(20);
            }
            _ => {}
        }
        self.waiting[way].push_back((number, reply));
    }
}

/// Anchors, and the settings that name them.
#[derive(Clone)]
pub(crate) struct World {
    net: Arc<Mutex<Net>>,
    quorum: Quorum,
}

/// The firmware's way there, and its number.
struct Wire(Arc<Mutex<Net>>, usize);

impl Post for Wire {
    fn send(&mut self, anchor: u16, message: &[u8]) {
        self.0.lock().unwrap().answer(self.1, anchor, message);
    }

    fn receive(&mut self) -> Option<(u16, Vec<u8>)> {
        let mut net = self.0.lock().unwrap();
        if net.habit == Habit::Floods {
            return Some((0, vec![0x51; 603]));
        }
        net.waiting[self.1].pop_front()
    }

    /// Time passes when it is looked at.
    fn now_ms(&mut self) -> u64 {
        let mut net = self.0.lock().unwrap();
        net.now_ms += 1;
        net.now_ms
    }
}

/// Octets that are others at each boot.
struct Drawn(u8, u32);

impl Entropy for Drawn {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure> {
        out.fill_with(|| {
            self.1 = self.1.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            self.1.to_be_bytes()[0] ^ self.0
        });
        Ok(())
    }
}

struct Stopped;

impl Clock for Stopped {
    fn now_ms(&mut self) -> u64 {
        0
    }
}

/// A chip's key, as the secure processor gives it.
fn chip(number: u8) -> impl FnMut(&KeyRequest) -> Result<DerivedKey, kernel::attest::ReportError> {
    move |request| {
        let mut answer = [0; 0x40];
        answer[0x20..].fill(number);
        answer[0x20..0x28].copy_from_slice(&request.tcb_version.get().to_le_bytes());
        Ok(DerivedKey::parse(&answer).unwrap())
    }
}

/// A TPM that runs.
struct Machine {
    tpm: Box<Tpm>,
    keeping: Box<Keeping>,
}

impl World {
    /// `n` anchors, of which `k` are a quorum.
    fn new(k: u8, n: u8) -> World {
        World::with(k, n, Cadence::Every(1), TooFew::Refuse, false)
    }

    pub(crate) fn with(k: u8, n: u8, cadence: Cadence, too_few: TooFew, shares: bool) -> World {
        World::from(1, k, n, cadence, too_few, shares)
    }

    /// Anchors whose keys have these numbers and so on.
    pub(crate) fn from(first: u8, k: u8, n: u8, cadence: Cadence, too_few: TooFew, shares: bool) -> World {
        let anchor = |at| Anchor { keys: P384::new(&[at; 48]).unwrap(), entries: BTreeMap::new(), share: [at; 32] };
        let anchors: Vec<Anchor> = (first..first + n).map(anchor).collect();
        let keys: Vec<_> = anchors.iter().map(|anchor| *anchor.keys.public()).collect();
        let quorum = Quorum::of(k, &keys).unwrap().with(cadence, too_few).waiting(200, shares);
        let net = Net {
            up: vec![true; anchors.len()],
            anchors,
            habit: Habit::Passes,
            waiting: Vec::new(),
            before: Vec::new(),
            asked: (Vec::new(), 0),
            now_ms: 0,
            steps: Vec::new(),
            boots: 0,
        };
        World { net: Arc::new(Mutex::new(net)), quorum }
    }

    pub(crate) fn up(&self, up: &[bool]) {
        self.net.lock().unwrap().up = up.to_vec();
    }

    pub(crate) fn has_shares(&self) -> bool {
        self.quorum.has_shares()
    }

    /// The newest epoch that the last anchor has accepted of any TPM.
    pub(crate) fn newest(&self) -> Option<u64> {
        let net = self.net.lock().unwrap();
        let accepted = |entry: &Entry| entry.accepted().map(|it| it.head.epoch.get());
        net.anchors.last()?.entries.values().filter_map(accepted).max()
    }

    /// The setting's octets, and the way.
    pub(crate) fn named(&self) -> (Vec<u8>, Box<dyn Post>) {
        let mut octets = vec![0; 1024];
        let size = self.quorum.write(&mut octets).unwrap();
        octets.truncate(size);
        (octets, Box::new(self.wire()))
    }

    /// Another way.
    fn wire(&self) -> Wire {
        let mut net = self.net.lock().unwrap();
        net.waiting.push(VecDeque::new());
        Wire(Arc::clone(&self.net), net.waiting.len() - 1)
    }

    /// The operators of these anchors stop all TPMs, or let them go on.
    fn hold(&self, held: &[bool]) {
        let mut net = self.net.lock().unwrap();
        for (anchor, held) in net.anchors.iter_mut().zip(held) {
            anchor.entries.values_mut().for_each(|entry| entry.hold(*held));
        }
    }

    fn habit(&self, habit: Habit) {
        self.net.lock().unwrap().habit = habit;
    }

    fn boot(&self, disk: &Image) -> Result<Machine, Fatal> {
        self.boot_on(disk, &mut chip(1), None)
    }

    /// A boot on the chip that has this key, with this recovery key in the settings.
    fn boot_on(&self, disk: &Image, key: AskKey<'_>, recovery: Option<&[u8; 96]>) -> Result<Machine, Fatal> {
        self.boot_of(disk, key, recovery, &Report::new_zeroed())
    }

    /// The same of the firmware of which this is the report.
    fn boot_of(
        &self,
        disk: &Image,
        key: AskKey<'_>,
        recovery: Option<&[u8; 96]>,
        report: &Report,
    ) -> Result<Machine, Fatal> {
        let boots = {
            let mut net = self.net.lock().unwrap();
            net.boots += 1;
            net.boots
        };
        let (anchors, post) = self.named();
        let setting = StateSetting {
            disk: Some((Wanted::Required, Place::Pci(30, 0))),
            console: Some(Place::Pci(29, 0)),
            share: self.quorum.has_shares(),
            recovery,
            anchors: &anchors,
        };
        let mut entropy = Drawn(boots, 7 + u32::from(boots));
        let opening = Opening { setting: &setting, report, receives: false, tell: |_| () };
        let living = match open(Device::new(disk.clone()), &opening, key, &mut entropy, Some(post))? {
            Opened::Lives(living) => living,
            Opened::Moved(_) => return Err(crate::refused(crate::Refusal::Moved)),
            Opened::Waits(..) => panic!("nothing is to come"),
        };
        let (state, mut keeping) = living.load(|_| ())?;
        let mut tpm = Box::new(Tpm::blank());
        let mut hooks = Hooks { entropy: &mut entropy, clock: &mut Stopped };
        match state {
            None => tpm.manufacture(&mut hooks).ok().unwrap(),
            Some(state) => tpm.import(&state, &mut hooks).unwrap(),
        }
        keeping.begin(&tpm)?;
        run(&mut tpm, &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0]);
        let mut machine = Machine { tpm, keeping };
        machine.commit().unwrap();
        Ok(machine)
    }
}

fn run(tpm: &mut Tpm, command: &[u8]) {
    let mut response = [0; 4096];
    let mut hooks = Hooks { entropy: &mut Drawn(0, 1), clock: &mut Stopped };
    let len = tpm.execute(&mut hooks, Locality::ZERO, command, &mut response);
    assert_eq!(response[6..10], [0; 4], "{:x?}", &response[..len]);
}

impl Machine {
    /// Something that lasts is changed: TPM2_DictionaryAttackParameters, with this number of tries.
    fn change(&mut self, tries: u32) -> Result<(), Fatal> {
        let head = [0x80, 2, 0, 0, 0, 39, 0, 0, 1, 0x3a, 0x40, 0, 0, 0x0a, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
        run(&mut self.tpm, &[&head[..], &tries.to_be_bytes(), &[0, 0, 0, 9, 0, 0, 0, 9]].concat());
        self.commit()
    }

    /// What the firmware does behind a command.
    fn commit(&mut self) -> Result<(), Fatal> {
        self.keeping.begin(&self.tpm)
    }

    fn epoch(&self) -> u64 {
        self.keeping.kept().epoch
    }

    fn flags(&self) -> u32 {
        self.keeping.kept().flags
    }
}

/// The reason, and the line on the console.
fn refusal(result: Result<Machine, Fatal>) -> (Reason, String) {
    why(result.map(|_| ()))
}

fn why(result: Result<(), Fatal>) -> (Reason, String) {
    let fatal = result.unwrap_err();
    (fatal.reason, fatal.to_string())
}

#[test]
fn a_state_begins_and_goes_on_with_its_anchors() {
    let (world, disk) = (World::new(2, 3), Image::prepared());
    let mut machine = world.boot(&disk).unwrap();
    assert_eq!(machine.flags(), flag::KEPT | flag::ANCHORED);
    let first = machine.epoch();
    machine.change(5).unwrap();
    assert_eq!(machine.epoch(), first + 1);
    let accepted = |anchor: &Anchor| anchor.entries.values().next()?.accepted().map(|it| it.head.epoch.get());
    assert_eq!(
        accepted(&world.net.lock().unwrap().anchors[0]),
        Some(first + 1),
        "the commit is with the anchors before it is acknowledged"
    );
    let identity = machine.keeping.kept().identity;
    let next = world.boot(&disk).unwrap();
    assert!(next.epoch() > first + 1 && next.keeping.kept().identity == identity);
}

/// What changes nothing that lasts costs no question.
#[test]
fn a_command_that_is_not_kept_asks_nobody() {
    let (world, disk) = (World::new(2, 3), Image::prepared());
    let mut machine = world.boot(&disk).unwrap();
    let asked = world.net.lock().unwrap().steps.len();
    machine.commit().unwrap();
    let extend = [&[0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82, 0, 0, 0, 16, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0][..]];
    run(&mut machine.tpm, &[extend[0], &[0, 0, 0, 1, 0, 0x0b], &[7; 32]].concat());
    machine.commit().unwrap();
    assert_eq!(world.net.lock().unwrap().steps.len(), asked);
}

/// Steps of a boot are 0, when the newest state is settled, and 1, its first record.
#[test]
fn the_cadence_says_which_commits_are_registered() {
    for (cadence, steps) in [
        (Cadence::Every(1), vec![0, 1, 2, 3, 4, 5]),
        (Cadence::Every(2), vec![0, 1, 2, 3]),
        (Cadence::Boot, vec![0, 1]),
    ] {
        let (world, disk) = (World::with(2, 3, cadence, TooFew::Refuse, false), Image::prepared());
        let mut machine = world.boot(&disk).unwrap();
        let begun = world.net.lock().unwrap().steps.len();
        for tries in 0..4 {
            machine.change(40 + tries).unwrap();
        }
        let net = world.net.lock().unwrap();
        // TPM2_Startup may have been one.
        assert_eq!(net.steps[..2], steps[..2]);
        assert_eq!(net.steps.len() - begun, steps.len() - 2, "{cadence:?}: {:?}", net.steps);
    }
}

/// Writes what is left of a TPM that has moved.
fn bury(disk: &mut crate::Sealed) -> Result<(), Fatal> {
    let receipt = migration::Receipt([5; 32]);
    let tombstone = migration::Tombstone { identity: *disk.identity(), epoch: 1, to: [2; 48], chip: [3; 64], receipt };
    migration::disk::entomb(disk, &tombstone).map_err(crate::refused)
}
