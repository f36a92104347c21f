//! A schedule: what happens in it, to messages above all.

use super::client::State;
use super::disk::Records;
use super::liar::{Anchor, Toy};
use super::mark::Mark;
use super::rules::{Learned, Registered, Rules};
use super::runs::Runs;
use super::tpm::{Act, Around, Tpm, policy};
use crate::{Broken, Counts, Schedule};
use anchor::quorum::Quorum;
use anchor::wire::{Key, Reply, Request};
use fastrand::Rng;
use zerocopy::IntoBytes;

/// Messages on their way, at most: of more, some are lost.
const ON_THE_WAY: usize = 48;
/// Messages that the host keeps, to send them again.
const KEPT: usize = 24;

#[derive(Clone, Copy, Debug)]
enum Content {
    Request(Request),
    Reply(Reply),
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    tpm: usize,
    anchor: usize,
    content: Content,
}

pub(crate) struct World<'w> {
    pub(crate) rng: Rng,
    pub(crate) quorum: &'w Quorum,
    /// Of each subject; so many are in use but the first.
    pub(crate) keys: &'w [Toy],
    pub(crate) subjects: usize,
    anchors: Vec<Anchor>,
    pub(crate) records: Records,
    pub(crate) runs: Runs,
    pub(crate) live: Vec<Tpm<'w>>,
    pub(crate) boots: usize,
    /// A host that has two disks, on one of which is the TPM, and starts one firmware at a time from each; else any
    /// record, and several.
    pub(crate) is_honest: bool,
    /// The honest host's disks: what is on them as far as nobody runs there.
    pub(crate) disks: [Option<usize>; 2],
    /// On which of them the TPM is.
    pub(crate) home: usize,
    /// Whether the TPM goes from one firmware to another at times.
    moves: bool,
    wire: Vec<Packet>,
    kept: Vec<Packet>,
    pub(crate) rules: Rules,
    pub(crate) now: u64,
    /// How often what could go wrong does: of 255.
    unrest: u8,
    pub(crate) counts: Counts,
    aloud: bool,
}

/// Runs one schedule.
pub(crate) fn run(schedule: &Schedule) -> Result<Counts, Broken> {
    let mut rng = Rng::with_seed(schedule.seed);
    let n = rng.choice([1_u8, 2, 3, 3, 3, 4, 4, 5]).unwrap_or(3);
    let k = rng.u8(n / 2 + 1..=n);
    let most = (2 * k - n - 1).min(n - 1);
    let liars = rng.u8(..=most);
    let anchors: Vec<Anchor> = (0..n).map(|number| Anchor::new(number, number < liars)).collect();
    let keys: Vec<Key> = anchors.iter().map(Anchor::key).collect();
    let (cadence, too_few) = policy(&mut rng);
    let quorum = Quorum::of_any(k, &keys).map_err(|why| broken(schedule, 0, &why.to_string()))?;
    let quorum = quorum.with(cadence, too_few);
    let (is_honest, moves) = (rng.u8(..3) == 0, rng.bool());
    if schedule.aloud {
        println!(
            "{k} of {n}, {liars} lie; {cadence:?}, {too_few:?}; the host is honest: {is_honest}; the TPM moves: {moves}"
        );
    }
    let tpm_keys: Vec<Toy> = (100..200).map(Toy::new).collect();
    let mut world = World {
        quorum: &quorum,
        keys: &tpm_keys,
        subjects: 0,
        anchors,
        records: Records::new(Mark::new(&quorum)),
        runs: Runs::default(),
        live: Vec::new(),
        boots: 0,
        is_honest,
        disks: [Some(0), None],
        home: 0,
        moves,
        wire: Vec::new(),
        kept: Vec::new(),
        rules: Rules::default(),
        now: 0,
        unrest: rng.choice([255, 128, 40]).unwrap_or(255),
        counts: Counts::default(),
        aloud: schedule.aloud,
        rng,
    };
    let outcome = world.steps().and_then(|()| world.end(n - liars >= k));
    outcome.map_err(|rule| broken(schedule, world.now, rule))?;
    Ok(world.counts)
}

fn broken(schedule: &Schedule, step: u64, rule: &str) -> Broken {
    Broken { seed: schedule.seed, rule: format!("step {step}: {rule}") }
}

impl World<'_> {
    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.aloud {
            println!("{:4} {}", self.now, what());
        }
    }

    fn steps(&mut self) -> Result<(), &'static str> {
        // A way from one firmware to another and on is longer than a boot.
        let most = if self.moves { 1400 } else { 700 };
        for _ in 0..self.rng.u16(100..most) {
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), &'static str> {
        self.now += 1;
        match self.rng.u16(..1000) {
            0..650 => self.deliver(),
            650..930 => self.a_tpm_acts(),
            930..960 if self.moves => Ok(self.begin_a_run()),
            930..960 => self.a_tpm_acts(),
            960..970 => Ok(self.boot()),
            _ if self.rng.u8(..) > self.unrest => Ok(()),
            970..975 => Ok(self.cut_the_power()),
            975..982 => Ok(self.lose()),
            982..990 => Ok(self.replay()),
            990..994 => Ok(self.toggle_an_anchor()),
            _ => Ok(self.cut_the_network()),
        }
    }

    fn deliver(&mut self) -> Result<(), &'static str> {
        if self.wire.is_empty() {
            return Ok(());
        }
        let packet = self.wire.swap_remove(self.rng.usize(..self.wire.len()));
        if self.kept.len() < KEPT {
            self.kept.push(packet);
        } else {
            let at = self.rng.usize(..KEPT);
            self.kept[at] = packet;
        }
        self.arrive(&packet)
    }

    fn arrive(&mut self, packet: &Packet) -> Result<(), &'static str> {
        let anchor = &mut self.anchors[packet.anchor];
        if !anchor.reaches(packet.tpm) {
            return Ok(());
        }
        self.counts.messages += 1;
        match &packet.content {
            Content::Request(request) => {
                self.counts.lies += u64::from(anchor.lies);
                if let Some(reply) = anchor.answer(request, &mut self.rng) {
                    self.wire.push(Packet { content: Content::Reply(reply), ..*packet });
                }
                Ok(())
            }
            Content::Reply(reply) => self.hear(packet.tpm, packet.anchor, reply),
        }
    }

    fn hear(&mut self, number: usize, anchor: usize, reply: &Reply) -> Result<(), &'static str> {
        let Some(at) = self.live.iter().position(|tpm| tpm.number == number) else { return Ok(()) };
        let heard = self.live[at].client.hear(anchor, reply.as_bytes());
        let state = self.live[at].client.state();
        self.say(|| format!("TPM {number} hears anchor {anchor}, status {}: {heard:?}, {state:?}", reply.status));
        match state {
            State::Holding if heard.is_ok() => self.learn(at),
            State::Outrun if heard.is_ok() => Ok(self.counts.outrun += 1),
            State::Over(verdict) => self.over(at, verdict),
            _ => Ok(()),
        }
    }

    fn learn(&mut self, at: usize) -> Result<(), &'static str> {
        let tpm = &mut self.live[at];
        let head = tpm.client.registered().ok_or("a TPM holds nothing")?;
        let record = self.records.of(&head).ok_or("a head that no record has is registered")?;
        tpm.learns(record);
        let event =
            Registered { boot: tpm.number, record, asked: tpm.asked, newest_before: tpm.newest_before, now: self.now };
        match self.rules.registered(&event, &self.records)? {
            Learned::Start => self.started(record),
            Learned::Commit => self.counts.commits += 1,
            Learned::Tombstone => {}
        }
        Ok(())
    }

    pub(crate) fn a_tpm_acts(&mut self) -> Result<(), &'static str> {
        if self.live.is_empty() {
            return Ok(());
        }
        let at = self.rng.usize(..self.live.len());
        let tpm = &mut self.live[at];
        let (now, newest) = (self.now, self.rules.newest);
        let act =
            tpm.act(&mut Around { records: &mut self.records, runs: &mut self.runs, rng: &mut self.rng, now, newest });
        let (number, part, disk, written) = (tpm.number, tpm.part, tpm.disk, tpm.written);
        self.say(|| match &act {
            Act::Asks(request) => {
                let (ballot, head) = (request.ballot, request.head.epoch);
                format!(
                    "TPM {number} asks: kind {}, term {}, step {}, epoch {head}",
                    request.kind, ballot.term, ballot.step
                )
            }
            other => format!("TPM {number}: {other:?}, {part:?}, record {disk:?} flushed, {written:?} written"),
        });
        match act {
            Act::Asks(request) => self.send(number, &request),
            Act::Alone => self.counts.without += 1,
            Act::GivesUp => self.counts.given_up += 1,
            Act::IsDead(run) => self.has_moved(run, disk),
            Act::Works => {}
        }
        Ok(())
    }

    fn send(&mut self, tpm: usize, request: &Request) {
        for anchor in 0..self.anchors.len() {
            if self.wire.len() >= ON_THE_WAY {
                self.lose();
            }
            self.wire.push(Packet { tpm, anchor, content: Content::Request(*request) });
        }
    }

    fn lose(&mut self) {
        if !self.wire.is_empty() {
            let at = self.rng.usize(..self.wire.len());
            self.wire.swap_remove(at);
        }
    }

    fn replay(&mut self) {
        if let Some(packet) = self.rng.choice(self.kept.iter().copied()) {
            self.wire.push(packet);
        }
    }

    fn toggle_an_anchor(&mut self) {
        let at = self.rng.usize(..self.anchors.len());
        let anchor = &mut self.anchors[at];
        if anchor.is_up {
            anchor.lose_power();
        } else {
            anchor.is_up = true;
        }
    }

    fn cut_the_network(&mut self) {
        let at = self.rng.usize(..self.anchors.len());
        self.anchors[at].cut = match self.rng.u8(..6) {
            0 => [true, false],
            1 => [false, true],
            2 => [true, true],
            _ => [false, false],
        };
    }

    /// All anchors answer, and what was on its way is lost.
    pub(crate) fn all_is_well(&mut self) {
        self.wire.clear();
        for anchor in &mut self.anchors {
            (anchor.is_up, anchor.cut) = (true, [false; 2]);
        }
    }

    /// Everything that is on its way is delivered, and what comes of that.
    pub(crate) fn deliver_all(&mut self) -> Result<(), &'static str> {
        while let Some(packet) = self.wire.pop() {
            self.arrive(&packet)?;
        }
        Ok(())
    }
}
