//! A command on its way to both TPMs: authorization, comparison of the answers.

use super::alg::Sym;
use super::cc;
use super::damage::Damage;
use super::explained::{self, Maker};
use super::wire::{Bytes, Reply, Two};
use super::world::{Entity, Session, World, rh};
use core::fmt::Write;
use core::ops::Range;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// A command before it is authorized.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) code: u32,
    pub(crate) handles: Vec<Entity>,
    /// how many of the handles are authorized: the first ones
    pub(crate) authorized: usize,
    pub(crate) params: Bytes,
    /// the response parameters are the same on both sides
    pub(crate) equal: bool,
    /// goes out as it is
    pub(crate) plain: bool,
}

impl Command {
    pub(crate) fn new(code: u32) -> Self {
        Self { code, handles: vec![], authorized: 0, params: Bytes::new(), equal: false, plain: false }
    }

    /// A handle that needs authorization; before the others.
    pub(crate) fn auth(mut self, entity: &Entity) -> Self {
        self.handles.push(entity.clone());
        self.authorized += 1;
        self
    }

    pub(crate) fn handle(mut self, entity: &Entity) -> Self {
        self.handles.push(entity.clone());
        self
    }

    pub(crate) fn params(self, params: Bytes) -> Self {
        Self { params, ..self }
    }

    /// Both TPMs give the same answer.
    pub(crate) fn equal(self) -> Self {
        Self { equal: true, ..self }
    }

    pub(crate) fn equal_if(self, equal: bool) -> Self {
        Self { equal, ..self }
    }

    /// Neither damaged nor with sessions that it does not need.
    pub(crate) fn plain(self) -> Self {
        Self { plain: true, ..self }
    }
}

/// TPMA_SESSION
mod attr {
    pub(super) const CONTINUE: u8 = 0x01;
    pub(super) const DECRYPT: u8 = 0x20;
    pub(super) const ENCRYPT: u8 = 0x40;
    pub(super) const AUDIT: u8 = 0x80;
}

/// An entry of the authorization area.
#[derive(Clone, Debug)]
enum Auth {
    Password(Vec<u8>),
    Session { handle: Two<u32>, attributes: u8, hmac_auth: Vec<u8>, crypt_auth: Vec<u8>, how: How },
}

/// What stands in the hmac field of a session.
#[derive(Clone, Debug)]
enum How {
    Hmac,
    Raw(Vec<u8>),
}

/// One command and its answers.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) code: u32,
    /// what was sent, with the parameters as they were before encryption
    pub(crate) request: Two<Vec<u8>>,
    /// response codes
    pub(crate) rc: Two<u32>,
    /// the session that TPM2_StartAuthSession has started on our side
    pub(crate) session: Option<u32>,
    pub(crate) damaged: bool,
    /// octets of the request that are other than they were meant; to its end if it is shorter or longer
    pub(crate) hit: Option<Range<usize>>,
    /// how many handles the command has, as the TPMs say
    pub(crate) handles: usize,
    pub(crate) locality: u8,
}

/// What both TPMs say of the commands that they have: TPMA_CC by command code.
#[derive(Default)]
pub(crate) struct Commands(pub(crate) Two<BTreeMap<u32, u32>>);

impl Commands {
    /// Handles of a command, none if neither has it.
    pub(crate) fn handles(&self, code: u32) -> usize {
        self.0.iter().find_map(|side| side.get(&code)).map_or(0, |attributes| (attributes >> 25 & 7) as usize)
    }

    /// Whether we have a command that libtpms has not.
    pub(crate) fn only_ours(&self, code: u32) -> bool {
        self.0[0].contains_key(&code) && !self.0[1].contains_key(&code)
    }

    /// The commands of both.
    pub(crate) fn common(&self) -> BTreeSet<u32> {
        self.0[0].keys().filter(|code| self.0[1].contains_key(code)).copied().collect()
    }
}

/// What came of a command code.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) sent: u64,
    /// successful on both sides
    pub(crate) good: u64,
    /// answers, or what they contain, compared octet by octet
    pub(crate) compared: u64,
}

/// What happened so far.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) commands: u64,
    /// every command is said before it is sent
    #[serde(skip)]
    pub(crate) loud: bool,
    pub(crate) by_code: BTreeMap<u32, Count>,
    /// commands that both TPMs have
    pub(crate) common: BTreeSet<u32>,
    pub(crate) by_rc: BTreeMap<u32, u64>,
    pub(crate) explained: BTreeMap<String, u64>,
    /// sequences that ended early since the two TPMs are in different states for an explained reason
    pub(crate) resynchronised: u64,
    /// disagreements without explanation: a short form, how many, and the first with its trail
    pub(crate) unexplained: BTreeMap<String, (u64, String)>,
    /// octets of answers that were compared
    pub(crate) compared: u64,
    /// time in the two TPMs
    pub(crate) time: Two<Duration>,
    /// what came since the beginning of the sequence
    #[serde(skip)]
    pub(crate) trail: Vec<Case>,
    /// where it began
    #[serde(skip)]
    pub(crate) label: String,
    /// commands of this sequence
    #[serde(skip)]
    pub(crate) sent: u64,
}

impl Tally {
    pub(crate) fn begin(&mut self) {
        self.trail.clear();
        self.sent = 0;
    }

    /// Adds another one, that of a later sequence.
    pub(crate) fn add(&mut self, other: Self) {
        self.commands += other.commands;
        self.resynchronised += other.resynchronised;
        self.compared += other.compared;
        self.time = [self.time[0] + other.time[0], self.time[1] + other.time[1]];
        for (code, more) in other.by_code {
            let by = self.by_code.entry(code).or_default();
            by.sent += more.sent;
            by.good += more.good;
            by.compared += more.compared;
        }
        self.common.extend(other.common);
        other.by_rc.into_iter().for_each(|(rc, n)| *self.by_rc.entry(rc).or_default() += n);
        other.explained.into_iter().for_each(|(why, n)| *self.explained.entry(why).or_default() += n);
        for (what, (n, trail)) in other.unexplained {
            self.unexplained.entry(what).or_insert((0, trail)).0 += n;
        }
    }

    /// The last commands in words.
    fn story(&self) -> String {
        let mut out = String::new();
        let from = self.trail.len().saturating_sub(TRAIL);
        for (n, case) in self.trail.iter().enumerate().skip(from) {
            let _ = writeln!(
                out,
                "    {n:5} {} -> {:03x} {:03x} @{} {}{}",
                cc::name(case.code),
                case.rc[0],
                case.rc[1],
                case.locality,
                hex(&case.request[0]),
                if case.damaged { " (damaged)" } else { "" },
            );
        }
        out
    }
}

/// Commands of a printed trail.
const TRAIL: usize = 60;

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut out, octet| {
        let _ = write!(out, "{octet:02x}");
        out
    })
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

/// TPM_RC_RETRY: libtpms wants the same command again.
const RETRY: u32 = 0x922;
/// TPM_RC_FAILURE: what the other one's failure mode says.
const FAILURE: u32 = 0x101;
/// TPM_RC_SVN_LIMITED: the reference asks for the hierarchy's proof after it has completed a sequence.
const SVN_LIMITED: u32 = 0x0a9;

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
        let damage = if !command.plain && !self.busy && self.once_in(12) { Some(self.damage(&command)) } else { None };
        let (mut command, mut auths) = (command, auths);
        let aligned = command.params.aligned();
        if let Some(damage) = damage {
            damage.before_authorization(&mut command, aligned);
        }
        if damage == Some(Damage::Without) {
            auths.pop();
        }
        let nonces: Vec<Vec<u8>> = auths
            .iter()
            .map(|auth| match auth {
                Auth::Password(_) => vec![],
                Auth::Session { .. } => vec![0; 16],
            })
            .map(|nonce: Vec<u8>| self.octets(nonce.len()))
            .collect();
        let mut request = [0, 1].map(|side| self.marshal(&command, &auths, &nonces, side));
        let params_at = request[0].len() - command.params.0[0].len();
        let mut plain = [0, 1].map(|side| {
            let octets = &command.params.0[side];
            let mut plain = request[side].clone();
            let at = plain.len() - octets.len();
            plain[at..].copy_from_slice(octets);
            plain
        });
        let params = params_at..request[0].len();
        let hit = damage.and_then(|damage| damage.hit(params, aligned));
        for side in request.iter_mut().chain(&mut plain) {
            if let Some(damage) = damage {
                damage.after_authorization(side, hit.as_ref());
            }
            let by = if let Some(Damage::Size(by)) = damage { by } else { 0 };
            let size = side.len().saturating_add_signed(by);
            if side.len() >= 6 && !matches!(hit, Some(Range { start: 2..6, .. })) || by != 0 {
                side[2..6].copy_from_slice(&u32::try_from(size).expect("short").to_be_bytes());
            }
        }
        let locality = self.locality;
        let mut responses = [Vec::new(), Vec::new()];
        if self.tally.loud {
            eprintln!("{} {} {}", self.tally.label, cc::name(command.code), hex(&request[1]));
        }
        for side in [0, 1] {
            let begin = Instant::now();
            self.tpms[side].execute(&request[side], locality, &mut responses[side]);
            self.tally.time[side] += begin.elapsed();
        }
        if code_of(&responses[1]) == RETRY {
            *self.tally.explained.entry(explained::RETRY.into()).or_default() += 1;
            let [_, theirs] = &mut responses;
            self.tpms[1].execute(&request[1], locality, theirs);
        }
        let rc = [code_of(&responses[0]), code_of(&responses[1])];
        let secret = hit.as_ref().is_some_and(|hit| hit.start < secret_end(&command, params_at));
        let case = Case {
            code: command.code,
            handles: self.commands.handles(sent_code(&plain[0])),
            request: plain,
            rc,
            session: started(command.code, &responses[0]),
            damaged: damage.is_some(),
            hit,
            locality,
        };
        self.count(&case, rc);
        self.tally.trail.push(case);
        if rc[0] != rc[1] {
            self.disagreement(rc);
            return None;
        }
        if rc[0] != 0 {
            return None;
        }
        let done = sent_code(&self.tally.trail.last().expect("the command").request[0]);
        self.unsure |= damage.is_some()
            && matches!(
                done,
                cc::NV_DEFINE_SPACE | cc::NV_DEFINE_SPACE_2 | cc::NV_UNDEFINE_SPACE | cc::NV_UNDEFINE_SPACE_SPECIAL
            );
        self.unsure |= damage.is_some() && matches!(done, cc::NV_WRITE | cc::NV_EXTEND) && !command.params.is_common();
        if matches!(damage, Some(Damage::Handle(..))) {
            self.sessions.iter_mut().for_each(|session| session.common = false);
        }
        // libtpms may keep the old allocation over the next TPM2_Startup.
        self.stop |= done == cc::PCR_ALLOCATE && matches!(damage, Some(Damage::Code(_) | Damage::Octet(..)));
        self.lost |=
            damage.is_some() && matches!(done, cc::HIERARCHY_CONTROL | cc::CLEAR | cc::CHANGE_PPS | cc::CHANGE_EPS);
        // A new authValue that the caller does not know decrypts parameters to something of each side's own.
        self.stop |= damage.is_some() && matches!(done, cc::HIERARCHY_CHANGE_AUTH | cc::NV_CHANGE_AUTH);
        self.shut |= done == cc::SHUTDOWN;
        if done == cc::DICTIONARY_ATTACK_PARAMETERS
            && let Some([tries, recovery, _]) = self.tally.trail.last().map(|case| last_words(&case.request[0]))
        {
            self.few_tries = tries < 100 || recovery == 0;
            self.few_tries_since |= self.few_tries;
        }
        self.cleared |= done == cc::CLEAR;
        let reply = self.accept(&command, damage.is_some(), &auths, &nonces, &responses);
        self.lost |=
            damage.is_some() && matches!(command.code, cc::FLUSH_CONTEXT | cc::CONTEXT_LOAD | cc::EVICT_CONTROL);
        // An authValue or a session's key that is not what the caller believes shows in nothing that could be asked for.
        if matches!(damage, Some(Damage::Code(_) | Damage::Octet(_, _))) || secret {
            // What it did is not what the caller believes.
            self.lost = true;
            self.sessions.iter_mut().for_each(|session| {
                session.steps.push(super::policy::Step::Other);
                session.common = false;
            });
            return None;
        }
        reply
    }

    fn count(&mut self, case: &Case, rc: Two<u32>) {
        let tally = &mut self.tally;
        tally.commands += 1;
        tally.sent += 1;
        let code = if cc::name(case.code) == "?" { 0 } else { case.code };
        let by = tally.by_code.entry(code).or_default();
        by.sent += 1;
        by.good += u64::from(rc == [0, 0]);
        *tally.by_rc.entry(class(rc[0])).or_default() += 1;
    }

    /// The response codes are not the same.
    fn disagreement(&mut self, rc: Two<u32>) {
        let case = self.tally.trail.last().cloned().expect("the command");
        let why = explained::explain(self.maker, &case, &self.tally.trail, &self.commands)
            .or_else(|| self.explain_by_slots(&case));
        if let Some(why) = why {
            *self.tally.explained.entry(why.into()).or_default() += 1;
            // A failed authorization may count on one side only, and failure mode is for all that follows.
            if rc.contains(&0) || rc[1] == FAILURE || rc[1] == SVN_LIMITED || rc.iter().any(|rc| rc & 0xbf == 0x8e) {
                self.tally.resynchronised += 1;
                self.stop = true;
            }
            return;
        }
        self.unexplained(format!("{} {:03x} {:03x}", cc::name(case.code), rc[0], rc[1]));
        self.stop = true;
    }

    /// Whether the objects that a command used are those that were meant, by their names: damage to an earlier command may have exchanged them.
    fn is_as_known(&mut self, command: &Command) -> bool {
        let objects =
            command.handles.iter().filter(|h| matches!(h.handle[0] >> 24, 0x80 | 0x81) && !h.name[0].is_empty());
        objects.cloned().collect::<Vec<_>>().into_iter().all(|entity| {
            [0, 1].into_iter().all(|side| {
                let handle = entity.handle[side].to_be_bytes();
                let ask = [&[0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x73][..], &handle].concat();
                let mut response = Vec::new();
                self.tpms[side].execute(&ask, 0, &mut response);
                let mut rest = Rest(response.get(10..).unwrap_or_default());
                let _public = rest.sized();
                rest.sized() == Some(&entity.name[side])
            })
        })
    }

    /// libtpms says that it has no slot: whether they are all taken, as it says itself.
    fn explain_by_slots(&mut self, case: &Case) -> Option<&'static str> {
        let (first, needed, why) = match case.rc[1] {
            0x902 => {
                let said = case.request[0].get(10..10 + 4 * case.handles).unwrap_or_default();
                let persistent = said.chunks(4).filter(|handle| handle[0] == 0x81).count();
                let makes = cc::loads(case.code) || cc::makes(case.code);
                (0x8000_0000, persistent + usize::from(makes), "slots for objects")
            }
            0x903 => (0x0200_0000, 1, "slots for sessions"),
            _ => return None,
        };
        (self.loaded(first)[1] + needed > 3).then_some(why)
    }

    /// How many objects, or sessions, each TPM says are loaded.
    fn loaded(&mut self, first: u32) -> Two<usize> {
        let ask =
            [&[0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 1][..], &first.to_be_bytes(), &[0, 0, 0, 64]].concat();
        [0, 1].map(|side| {
            let mut response = Vec::new();
            self.tpms[side].execute(&ask, 0, &mut response);
            response.get(15..19).and_then(|n| n.try_into().ok()).map_or(0, |n| u32::from_be_bytes(n) as usize)
        })
    }

    /// Asks both for the commands that they have, and the other one whose it is.
    pub(crate) fn learn_commands(&mut self) {
        self.commands.0 = [0, 1].map(|side| {
            let tpm = &mut self.tpms[side];
            let mut response = Vec::new();
            tpm.manufacture();
            tpm.execute(&[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0], 0, &mut response);
            let ask = [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 254];
            tpm.execute(&ask, 0, &mut response);
            let list = response.get(19..).unwrap_or_default().chunks_exact(4);
            let attributes = list.map(|four| u32::from_be_bytes(four.try_into().expect("four")));
            attributes.map(|attributes| (attributes & 0x2000_ffff, attributes)).collect()
        });
        let ask = [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 6, 0, 0, 1, 5, 0, 0, 0, 1];
        let mut response = Vec::new();
        self.tpms[1].execute(&ask, 0, &mut response);
        self.maker = response.get(23..27).and_then(|four| four.try_into().ok()).map_or_else(Maker::default, Maker::of);
    }

    /// Something of the last command's answers was compared.
    fn count_compared(&mut self, code: u32) {
        self.tally.compared += 1;
        let code = if cc::name(code) == "?" { 0 } else { code };
        self.tally.by_code.entry(code).or_default().compared += 1;
    }

    /// Two values of the last command that should be the same.
    pub(crate) fn same(&mut self, what: &str, values: &Two<Vec<u8>>) {
        let code = self.tally.trail.last().map_or(0, |case| case.code);
        self.count_compared(code);
        if values[0] != values[1] {
            self.unexplained(format!("{what}: {} {}", hex(&values[0]), hex(&values[1])));
            self.stop = true;
        }
    }

    /// Notes a disagreement that no rule explains.
    fn unexplained(&mut self, what: String) {
        let tally = &mut self.tally;
        let place = (!tally.unexplained.contains_key(&what)).then(|| format!("{}\n{}", tally.label, tally.story()));
        let entry = tally.unexplained.entry(what).or_default();
        entry.0 += 1;
        if let Some(place) = place {
            entry.1 = place;
        }
    }

    /// Both said success: sessions go on, parameters are decrypted and compared.
    fn accept(
        &mut self,
        command: &Command,
        damaged: bool,
        auths: &[Auth],
        nonces: &[Vec<u8>],
        responses: &Two<Vec<u8>>,
    ) -> Option<Reply> {
        let has_handle = cc::replies_handle(command.code);
        let mut handle = [0; 2];
        let mut plain = [Vec::new(), Vec::new()];
        let mut hmac_ok = [Vec::new(), Vec::new()];
        let mut rolled: Vec<(Two<u32>, Two<Vec<u8>>, u8)> = Vec::new();
        for side in [0, 1] {
            let mut rest = Rest(responses[side].get(10..)?);
            if has_handle {
                handle[side] = rest.u32()?;
            }
            if responses[side].starts_with(&[0x80, 1]) {
                plain[side] = rest.0.to_vec();
                continue;
            }
            let size = rest.u32()? as usize;
            let encrypted = rest.take(size)?.to_vec();
            let mut parameters = encrypted.clone();
            for (n, auth) in auths.iter().enumerate() {
                let nonce = rest.sized()?.to_vec();
                let attributes = rest.take(1)?[0];
                let hmac = rest.sized()?;
                let Auth::Session { handle, hmac_auth, crypt_auth, .. } = auth else { continue };
                let Some(session) = self.session(*handle) else { continue };
                let rp_hash = session.alg.hash(&[&[0; 4], &command.code.to_be_bytes(), &encrypted]);
                let key = [&session.key[side][..], hmac_auth].concat();
                let expected = session.alg.hmac(&key, &[&rp_hash, &nonce, &nonces[n], &[attributes]]);
                // In a response libtpms leaves auditReset as it was in the command.
                hmac_ok[side].push((hmac.is_empty(), hmac == expected, attributes & !4, nonce.len()));
                if attributes & attr::ENCRYPT != 0
                    && let Some((size, data)) = parameters.split_first_chunk_mut::<2>()
                    && let Some(data) = data.get_mut(..u16::from_be_bytes(*size).into())
                {
                    let value = [&session.key[side][..], crypt_auth].concat();
                    session.sym.crypt(session.alg, &value, &nonce, &nonces[n], false, data);
                }
                if side == 0 {
                    rolled.push((*handle, [nonce, vec![]], attributes));
                } else if let Some(known) = rolled.iter_mut().find(|r| r.0 == *handle) {
                    known.1[1] = nonce;
                }
            }
            plain[side] = parameters;
        }
        if hmac_ok[0] != hmac_ok[1] {
            self.unexplained(format!(
                "{}: sessions of the response {:?} {:?}",
                cc::name(command.code),
                hmac_ok[0],
                hmac_ok[1]
            ));
            self.stop = true;
            return None;
        }
        for (handle, nonce, attributes) in rolled {
            if attributes & attr::CONTINUE == 0 {
                self.sessions.retain(|s| s.handle != handle);
            } else if let Some(session) = self.session_mut(handle) {
                session.nonce = nonce;
                session.steps.clear();
                session.common = true;
            }
        }
        if command.equal
            && !(damaged
                && matches!(
                    command.code,
                    cc::GET_CAPABILITY | cc::NV_READ_PUBLIC | cc::NV_READ_PUBLIC_2 | cc::POLICY_GET_DIGEST
                ))
        {
            self.count_compared(command.code);
            if plain[0] != plain[1] && !explained::is_same(command.code, &plain) {
                let what = format!("{}: answers differ", cc::name(command.code));
                let values = format!("\n      ours   {}\n      theirs {}", hex(&plain[0]), hex(&plain[1]));
                if !self.is_as_known(command) {
                    self.lost = true;
                } else if let Some(why) = explained::explain_answer(self.maker, command, &plain, &self.tally.trail) {
                    *self.tally.explained.entry(why.into()).or_default() += 1;
                    // Other policyDigests make other policies.
                    self.stop |= command.code == cc::POLICY_GET_DIGEST;
                } else {
                    self.tally.label.push_str(&values);
                    self.unexplained(what);
                    self.stop = true;
                }
            }
        }
        Some(Reply::new(handle, plain))
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

    /// How the command's handles are authorized, and what other sessions go with it.
    fn authorize(&mut self, command: &Command) -> Vec<Auth> {
        let mut auths = Vec::new();
        let mut used: Vec<Two<u32>> = command.handles.iter().map(|h| h.handle).collect();
        for entity in &command.handles[..command.authorized] {
            let auth = self.authorization(command, entity, &used);
            if let Auth::Session { handle, .. } = auth {
                used.push(handle);
            }
            auths.push(auth);
        }
        if !command.plain && self.once_in(12) && auths.len() < 3 {
            let free: Vec<Two<u32>> = self
                .sessions
                .iter()
                .filter(|s| s.kind == Session::HMAC && !used.contains(&s.handle))
                .map(|s| s.handle)
                .collect();
            if !free.is_empty() {
                let handle = self.one_of(&free);
                let attributes = self.attributes(command, handle, &auths, true);
                auths.push(Auth::Session { handle, attributes, hmac_auth: vec![], crypt_auth: vec![], how: How::Hmac });
            }
        }
        auths
    }

    fn authorization(&mut self, command: &Command, entity: &Entity, used: &[Two<u32>]) -> Auth {
        if let Some(policy) = entity.policy
            && !self.busy
            && !entity.public_only
            && (entity.policy_only || self.once_in(3))
            && let Some(session) = super::policy::satisfy(self, policy, command, used)
        {
            let attributes = self.attributes(command, session.handle, &[], false);
            let (auth_value, password) = (super::policy::Step::AuthValue, super::policy::Step::Password);
            let last = session.steps.iter().rev().find(|s| **s == auth_value || **s == password).cloned();
            let (hmac_auth, how) = match last {
                Some(step) if step == password => (vec![], How::Raw(entity.auth.clone())),
                Some(_) => (entity.auth.clone(), How::Hmac),
                None => (vec![], How::Hmac),
            };
            return Auth::Session {
                handle: session.handle,
                attributes,
                hmac_auth,
                crypt_auth: entity.auth.clone(),
                how,
            };
        }
        let mut auth = entity.auth.clone();
        if !command.plain && self.once_in(150) {
            auth = self.octets(5);
        }
        let free: Vec<Session> = self.sessions.iter().filter(|s| !used.contains(&s.handle)).cloned().collect();
        let free: Vec<Session> =
            free.into_iter().filter(|s| s.kind == Session::HMAC || self.rng.u32(0..60) == 0).collect();
        if self.busy || entity.public_only || free.is_empty() || !self.once_in(3) {
            return Auth::Password(auth);
        }
        let session = self.one_of(&free);
        let attributes = self.attributes(command, session.handle, &[], false);
        let is_bound = session.bind.as_ref().is_some_and(|(name, value)| *name == entity.name && *value == entity.auth);
        let hmac_auth = if is_bound { vec![] } else { auth.clone() };
        let how = if self.once_in(200) { How::Raw(self.octets(20)) } else { How::Hmac };
        let crypt_auth = if is_bound { entity.auth.clone() } else { auth };
        Auth::Session { handle: session.handle, attributes, hmac_auth, crypt_auth, how }
    }

    /// TPMA_SESSION for a use.
    fn attributes(&mut self, command: &Command, handle: Two<u32>, others: &[Auth], extra: bool) -> u8 {
        if self.once_in(300) {
            return self.rng.u8(..);
        }
        let taken = others.iter().fold(0, |all, auth| match auth {
            Auth::Session { attributes, .. } => all | attributes,
            Auth::Password(_) => all,
        });
        let mut attributes = if self.once_in(15) { 0 } else { attr::CONTINUE };
        let Some(session) = self.session(handle).cloned() else { return attributes };
        if session.sym != Sym::Null && !command.plain {
            if cc::encrypts_command(command.code) && taken & attr::DECRYPT == 0 && (extra || self.once_in(3)) {
                attributes |= attr::DECRYPT;
            }
            if cc::encrypts_response(command.code) && taken & attr::ENCRYPT == 0 && (extra || self.once_in(3)) {
                attributes |= attr::ENCRYPT;
            }
        }
        if session.kind == Session::HMAC && taken & attr::AUDIT == 0 && self.once_in(if extra { 2 } else { 12 }) {
            attributes |= attr::AUDIT;
        }
        attributes
    }

    /// The octets of the command for one side.
    fn marshal(&self, command: &Command, auths: &[Auth], nonces: &[Vec<u8>], side: usize) -> Vec<u8> {
        let mut params = command.params.0[side].clone();
        let with =
            |bit| auths.iter().position(|a| matches!(a, Auth::Session { attributes, .. } if attributes & bit != 0));
        let (decrypt, encrypt) = (with(attr::DECRYPT), with(attr::ENCRYPT));
        if let Some(i) = decrypt
            && let Auth::Session { handle, crypt_auth, .. } = &auths[i]
            && let Some(session) = self.session(*handle)
            && let Some((size, data)) = params.split_first_chunk_mut::<2>()
            && let Some(data) = data.get_mut(..u16::from_be_bytes(*size).into())
        {
            let value = [&session.key[side][..], crypt_auth].concat();
            session.sym.crypt(session.alg, &value, &nonces[i], &session.nonce[side], true, data);
        }
        let extra: Vec<u8> = [decrypt, encrypt.filter(|e| Some(*e) != decrypt)]
            .into_iter()
            .flatten()
            .filter(|i| *i != 0)
            .filter_map(|i| match &auths[i] {
                Auth::Session { handle, .. } => self.session(*handle),
                Auth::Password(_) => None,
            })
            .flat_map(|session| session.nonce[side].clone())
            .collect();
        let names: Vec<u8> = command.handles.iter().flat_map(|h| h.name[side].clone()).collect();
        let mut area = Vec::new();
        for (i, auth) in auths.iter().enumerate() {
            let (handle, nonce, attributes, hmac) = match auth {
                Auth::Password(value) => (rh::PW, &[][..], attr::CONTINUE, value.clone()),
                Auth::Session { handle, attributes, hmac_auth, how, .. } => {
                    let hmac = match (how, self.session(*handle)) {
                        (How::Raw(octets), _) => octets.clone(),
                        (How::Hmac, Some(session)) => {
                            let key = [&session.key[side][..], hmac_auth].concat();
                            let cp_hash = session.alg.hash(&[&command.code.to_be_bytes(), &names, &params]);
                            let extra: &[u8] = if i == 0 && command.authorized > 0 { &extra } else { &[] };
                            let parts = [
                                &cp_hash[..],
                                &nonces[i],
                                &session.nonce[side],
                                extra,
                                core::slice::from_ref(attributes),
                            ];
                            session.alg.hmac(&key, &parts)
                        }
                        (How::Hmac, None) => vec![],
                    };
                    (handle[side], &nonces[i][..], *attributes, hmac)
                }
            };
            area.extend(handle.to_be_bytes());
            area.extend(super::wire::short(nonce.len()).to_be_bytes());
            area.extend(nonce);
            area.push(attributes);
            area.extend(super::wire::short(hmac.len()).to_be_bytes());
            area.extend(hmac);
        }
        let tag: u16 = if auths.is_empty() { 0x8001 } else { 0x8002 };
        let mut out = [&tag.to_be_bytes()[..], &[0; 4], &command.code.to_be_bytes()].concat();
        command.handles.iter().for_each(|h| out.extend(h.handle[side].to_be_bytes()));
        if !auths.is_empty() {
            out.extend(u32::try_from(area.len()).expect("short").to_be_bytes());
            out.extend(area);
        }
        out.extend(params);
        out
    }
}

/// The command code as it was sent.
fn sent_code(request: &[u8]) -> u32 {
    request.get(6..10).and_then(|code| code.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// The session that a command has started.
fn started(code: u32, response: &[u8]) -> Option<u32> {
    let started = code == cc::START_AUTH_SESSION && code_of(response) == 0;
    response.get(10..14).filter(|_| started)?.try_into().ok().map(u32::from_be_bytes)
}

fn code_of(response: &[u8]) -> u32 {
    response.get(6..10).and_then(|code| code.try_into().ok()).map_or(0xffff_ffff, u32::from_be_bytes)
}

/// A response code without position.
const fn class(rc: u32) -> u32 {
    if rc & 0x80 != 0 { rc & 0xbf } else { rc }
}

/// What is left of a response.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let size = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        self.take(size.into())
    }
}
