//! A command on its way to both TPMs, damage included, and what follows from their response codes.

use super::authorize::Auth;
use super::cc;
use super::command::Command;
use super::damage::Damage;
use super::explained;
use super::policy::Step;
use super::tally::Case;
use super::wire::{Reply, Two};
use super::world::World;
use client::command::{command_code, hex, response_code};
use core::ops::Range;
use std::time::Instant;

/// A command as it went out.
pub(super) struct Sent {
    pub(super) command: Command,
    pub(super) auths: Vec<Auth>,
    /// nonceCaller of each session
    pub(super) nonces: Vec<Vec<u8>>,
    request: Two<Vec<u8>>,
    /// the same with the parameters as they were before encryption
    plain: Two<Vec<u8>>,
    damage: Option<Damage>,
    /// octets that are other than they were meant
    hit: Option<Range<usize>>,
    /// damage has changed nothing on one side: what it put there was there
    spared: bool,
    /// where the parameters begin
    params_at: usize,
}

impl Sent {
    /// Whether damage has hit octets that decide on an authValue or on a session's key.
    fn has_hit_secret(&self) -> bool {
        self.hit.as_ref().is_some_and(|hit| hit.start < secret_end(&self.command, self.params_at))
    }

    /// Whether the command that was executed may be another than was meant.
    const fn is_another(&self) -> bool {
        matches!(self.damage, Some(Damage::Code(_) | Damage::Octet(_, _)))
    }
}

/// TPM_RC_RETRY: libtpms wants the same command again.
const RETRY: u32 = 0x922;

impl World {
    /// Sends a command to both. The answers, if both say success.
    pub(crate) fn send(&mut self, command: Command) -> Option<Reply> {
        if self.stop {
            return None;
        }
        self.make_room(&command);
        let auths = self.authorize(&command);
        if self.stop {
            return None;
        }
        let sent = self.prepare(command, auths);
        let (responses, retried) = self.execute(&sent);
        let rc = self.note(&sent, &responses, retried);
        if rc[0] != rc[1] {
            self.disagreement(rc);
        }
        if rc != [0, 0] {
            self.end_sessions();
            return None;
        }
        self.follow(&sent);
        let reply = self.accept(&sent, &responses);
        self.doubt(&sent, reply)
    }

    /// The octets for both sides, with damage now and then.
    fn prepare(&mut self, mut command: Command, mut auths: Vec<Auth>) -> Sent {
        let damage = if !command.plain && !self.busy && self.once_in(12) { Some(self.damage(&command)) } else { None };
        let aligned = command.params.aligned();
        let meant = command.params.0.clone();
        if let Some(damage) = damage {
            damage.before_authorization(&mut command, aligned);
        }
        if damage == Some(Damage::Without) {
            auths.pop();
        }
        let [ours, theirs] = [0, 1].map(|side| command.params.0[side] == meant[side]);
        let spared = ours != theirs;
        let nonces = self.nonces(&auths);
        let mut request = [0, 1].map(|side| self.marshal(&command, &auths, &nonces, side));
        let params_at = request[0].len() - command.params.0[0].len();
        let mut plain = request.clone();
        for (plain, octets) in plain.iter_mut().zip(&command.params.0) {
            let at = plain.len() - octets.len();
            plain[at..].copy_from_slice(octets);
        }
        let hit = damage.and_then(|damage| damage.hit(params_at..request[0].len(), aligned));
        for side in request.iter_mut().chain(&mut plain) {
            finish(side, damage, hit.as_ref());
        }
        Sent { command, auths, nonces, request, plain, damage, hit, spared, params_at }
    }

    /// Both responses, and whether the other TPM wanted the command once more.
    fn execute(&mut self, sent: &Sent) -> (Two<Vec<u8>>, bool) {
        let locality = self.locality;
        let mut responses = [Vec::new(), Vec::new()];
        if self.tally.loud {
            eprintln!("{} {} {}", self.tally.label, cc::name(sent.command.code), hex(&sent.request[1]));
        }
        for side in [0, 1] {
            let begin = Instant::now();
            self.tpms[side].execute(&sent.request[side], locality, &mut responses[side]);
            self.tally.time[side] += begin.elapsed();
        }
        let [_, theirs] = &mut responses;
        let retried = response_code(theirs) == RETRY;
        if retried {
            self.tally.note_explained(explained::RETRY);
            self.tpms[1].execute(&sent.request[1], locality, theirs);
        }
        (responses, retried)
    }

    /// Puts a command and its answers to the trail: the response codes.
    fn note(&mut self, sent: &Sent, responses: &Two<Vec<u8>>, retried: bool) -> Two<u32> {
        let rc = responses.each_ref().map(|response| response_code(response));
        // What we refuse before an authValue is looked at is no use of it on our side.
        self.used_there |= retried && rc[0] != 0;
        let case = Case {
            code: sent.command.code,
            handles: self.commands.handles(command_code(&sent.plain[0])),
            request: sent.plain.clone(),
            rc,
            session: started(sent.command.code, &responses[0]),
            damaged: sent.damage.is_some(),
            hit: sent.hit.clone(),
            spared: sent.spared,
            locality: self.locality,
            retried,
        };
        self.tally.count(&case);
        self.tally.trail.push(case);
        rc
    }

    /// The response codes are not the same.
    fn disagreement(&mut self, rc: Two<u32>) {
        let case = self.tally.trail.last().cloned().expect("the command");
        let why = explained::explain(self.maker, &case, &self.tally.trail, &self.commands)
            .or_else(|| self.explain_by_slots(&case));
        if let Some(why) = why {
            self.tally.note_explained(why);
            if explained::parts(why, rc) {
                self.part();
            }
            return;
        }
        self.tally.note_unexplained(format!("{} {:03x} {:03x}", cc::name(case.code), rc[0], rc[1]));
        self.stop = true;
    }

    /// The other's sessions may have ended with a command that failed.
    fn end_sessions(&mut self) {
        let why = self.tally.trail.last().and_then(|case| explained::explain_end(self.maker, case));
        if let Some(why) = why.filter(|_| !self.stop) {
            self.tally.note_explained(why);
            self.part();
        }
    }

    /// The sequence is over: the two TPMs are in different states for an explained reason.
    const fn part(&mut self) {
        self.tally.resynchronised += 1;
        self.stop = true;
    }

    /// What follows from a command that both have executed, whichever it was meant to be.
    fn follow(&mut self, sent: &Sent) {
        let done = command_code(&sent.plain[0]);
        let damaged = sent.damage.is_some();
        self.unsure |= damaged
            && matches!(
                done,
                cc::NV_DEFINE_SPACE | cc::NV_DEFINE_SPACE_2 | cc::NV_UNDEFINE_SPACE | cc::NV_UNDEFINE_SPACE_SPECIAL
            );
        if matches!(done, cc::NV_WRITE | cc::NV_EXTEND) && !sent.command.params.is_common() {
            // Damage may have made it another Index.
            let written = sent.command.handles.get(1).filter(|_| !damaged).map(|index| index.handle);
            let indices = self.indices.iter_mut().filter(|i| written.is_none_or(|handle| i.entity.handle == handle));
            indices.for_each(|index| index.common = false);
        }
        if matches!(sent.damage, Some(Damage::Handle(..))) {
            self.sessions.iter_mut().for_each(|session| session.common = false);
        }
        // libtpms may keep the old allocation over the next TPM2_Startup.
        self.stop |= done == cc::PCR_ALLOCATE && sent.is_another();
        self.lost |= damaged && matches!(done, cc::HIERARCHY_CONTROL | cc::CLEAR | cc::CHANGE_PPS | cc::CHANGE_EPS);
        // A new authValue that the caller does not know decrypts parameters to something of each side's own.
        self.stop |= damaged && matches!(done, cc::HIERARCHY_CHANGE_AUTH | cc::NV_CHANGE_AUTH);
        self.shut |= done == cc::SHUTDOWN;
        if done == cc::DICTIONARY_ATTACK_PARAMETERS {
            let [tries, recovery, _] = last_words(&sent.plain[0]);
            self.few_tries = tries < 100 || recovery == 0;
            self.few_tries_since |= self.few_tries;
        }
        self.cleared |= done == cc::CLEAR;
    }

    /// Both said success: sessions go on, parameters are decrypted and compared.
    fn accept(&mut self, sent: &Sent, responses: &Two<Vec<u8>>) -> Option<Reply> {
        let answers = self.open(sent, responses)?;
        let handle = answers.each_ref().map(|answer| answer.handle);
        let plain = answers.map(|answer| answer.parameters);
        // What damage has made of a question is not the same question on both sides; and an octet of the authorization
        // area may have made of the answer one that is encrypted, with nonces of each side's own.
        let asks = matches!(
            sent.command.code,
            cc::GET_CAPABILITY | cc::NV_READ_PUBLIC | cc::NV_READ_PUBLIC_2 | cc::POLICY_GET_DIGEST
        );
        if sent.command.equal && !(asks && sent.damage.is_some() || sent.is_another()) {
            self.compare(&sent.command, &plain);
        }
        Some(Reply::new(handle, plain))
    }

    /// Compares two answers that should be the same.
    fn compare(&mut self, command: &Command, plain: &Two<Vec<u8>>) {
        self.tally.count_compared(command.code);
        if plain[0] == plain[1] || explained::is_same(command.code, plain) {
            return;
        }
        if !self.is_as_known(command) {
            self.lost = true;
        } else if let Some(why) = explained::explain_answer(self.maker, command, plain, &self.tally.trail) {
            self.tally.note_explained(why);
            // Other policyDigests make other policies.
            self.stop |= command.code == cc::POLICY_GET_DIGEST;
        } else {
            let values = format!("\n      ours   {}\n      theirs {}", hex(&plain[0]), hex(&plain[1]));
            self.tally.label.push_str(&values);
            self.tally.note_unexplained(format!("{}: answers differ", cc::name(command.code)));
            self.stop = true;
        }
    }

    /// Two values of the last command that should be the same.
    pub(crate) fn same(&mut self, what: &str, values: &Two<Vec<u8>>) {
        let code = self.tally.trail.last().map_or(0, |case| case.code);
        self.tally.count_compared(code);
        if values[0] != values[1] {
            self.tally.note_unexplained(format!("{what}: {} {}", hex(&values[0]), hex(&values[1])));
            self.stop = true;
        }
    }

    /// What the caller still believes after a damaged command: its answer, if that is what was asked for.
    fn doubt(&mut self, sent: &Sent, reply: Option<Reply>) -> Option<Reply> {
        let moves = matches!(sent.command.code, cc::FLUSH_CONTEXT | cc::CONTEXT_LOAD | cc::EVICT_CONTROL);
        self.lost |= sent.damage.is_some() && moves;
        // An authValue or a session's key that is not what the caller believes shows in nothing that could be asked
        // for.
        if sent.is_another() || sent.has_hit_secret() {
            // What it did is not what the caller believes.
            self.lost = true;
            self.sessions.iter_mut().for_each(|session| {
                session.steps.push(Step::Other);
                session.common = false;
            });
            return None;
        }
        reply
    }

    /// libtpms has three slots for objects and three for sessions.
    fn make_room(&mut self, command: &Command) {
        if self.busy {
            return;
        }
        let used: Vec<u32> = command.handles.iter().map(|h| h.handle[0]).collect();
        let persistent = used.iter().filter(|h| **h >> 24 == 0x81).count();
        // libtpms needs a slot for what TPM2_Create and TPM2_Import make, too.
        let makes = cc::loads(command.code) || cc::makes(command.code);
        self.make_slots(persistent + usize::from(makes), &used);
    }

    /// Flushes objects other than the used ones until so many of three slots are free.
    pub(crate) fn make_slots(&mut self, needed: usize, used: &[u32]) {
        while self.objects.iter().filter(|o| !o.is_persistent()).count() + needed > 3 {
            let free: Vec<Two<u32>> = self
                .objects
                .iter()
                .filter(|o| !o.is_persistent() && !used.contains(&o.entity.handle[0]))
                .map(|o| o.entity.handle)
                .collect();
            if free.is_empty() {
                return;
            }
            let one = self.one_of(&free);
            super::generate::context::flush(self, one);
            if self.stop {
                return;
            }
        }
    }
}

/// Damage on the way, and commandSize.
fn finish(request: &mut Vec<u8>, damage: Option<Damage>, hit: Option<&Range<usize>>) {
    if let Some(damage) = damage {
        damage.after_authorization(request, hit);
    }
    let by = if let Some(Damage::Size(by)) = damage { by } else { 0 };
    let size = request.len().saturating_add_signed(by);
    if request.len() >= 6 && !matches!(hit, Some(Range { start: 2..6, .. })) || by != 0 {
        request[2..6].copy_from_slice(&u32::try_from(size).expect("short").to_be_bytes());
    }
}

/// The last three words of a command.
fn last_words(request: &[u8]) -> [u32; 3] {
    let mut words = request.rchunks_exact(4).map(|word| u32::from_be_bytes(word.try_into().expect("four")));
    let [third, second, first] = [(); 3].map(|()| words.next().unwrap_or_default());
    [first, second, third]
}

/// Where those octets of a command end that decide on an authValue or on a session's key.
fn secret_end(command: &Command, params_at: usize) -> usize {
    match command.code {
        cc::START_AUTH_SESSION | cc::OBJECT_CHANGE_AUTH => usize::MAX,
        cc::CREATE_PRIMARY | cc::CREATE | cc::CREATE_LOADED | cc::LOAD_EXTERNAL => {
            let sensitive = command.params.0[0].first_chunk().map_or(0, |size| u16::from_be_bytes(*size));
            params_at + 2 + usize::from(sensitive)
        }
        _ => 0,
    }
}

/// The session that a command has started.
fn started(code: u32, response: &[u8]) -> Option<u32> {
    let started = code == cc::START_AUTH_SESSION && response_code(response) == 0;
    response.get(10..14).filter(|_| started)?.try_into().ok().map(u32::from_be_bytes)
}
