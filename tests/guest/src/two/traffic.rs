//! TPM commands from both vCPUs, each answer of which its caller knows beforehand, and pages that come and go.

use super::sha256::sha256;
use super::{BUFFERS, COUNT, let_do, pass, task, wrong_of_second};
use crate::hostile::Report;
use crate::vtpm;
use core::sync::atomic::Ordering;

/// What each has of its own: the PCR 8 and 9, the NV Indices from here on, which count.
const PCR: u8 = 8;
const INDEX: u32 = 0x0150_0000;

/// Owner, and a password session with an empty password.
const OWNER: [u8; 4] = [0x40, 0, 0, 1];
const PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];

/// Every third command of a user's extends its PCR.
const EACH_EXTENDS: u64 = 3;

mod code {
    pub(super) const NV_DEFINE_SPACE: u32 = 0x12A;
    pub(super) const NV_INCREMENT: u32 = 0x134;
    pub(super) const CREATE_PRIMARY: u32 = 0x131;
    pub(super) const STARTUP: u32 = 0x144;
    pub(super) const NV_READ: u32 = 0x14E;
    pub(super) const FLUSH_CONTEXT: u32 = 0x165;
    pub(super) const HASH: u32 = 0x17D;
    pub(super) const PCR_READ: u32 = 0x17E;
    pub(super) const PCR_EXTEND: u32 = 0x182;
}

/// The longest command that is sent here.
const LONGEST: usize = 160;

/// A vCPU as the TPM's user.
struct User {
    vcpu: u8,
    /// What is in its PCR.
    chain: [u8; 32],
    /// What its Index has counted to.
    count: u64,
    /// Rounds, for values that come once.
    round: u64,
}

/// A command is refused, its answer is another than it must be, or the call is not taken.
struct Wrong;

impl User {
    fn new(vcpu: u8) -> Result<Self, Wrong> {
        let mut user = Self { vcpu, chain: [0; 32], count: 0, round: 0 };
        // It may be there.
        let _ = user.define();
        user.increment()?;
        (user.count, user.chain) = (user.counted()?, user.pcr()?.1);
        Ok(user)
    }

    /// Sends a command and gives the response behind the code of success; its length must be `length`.
    fn send<const N: usize>(&self, code: u32, parts: &[&[u8]], sessions: bool) -> Result<[u8; N], Wrong> {
        let mut command = [0; LONGEST];
        let mut length = 10;
        for part in parts {
            command[length..length + part.len()].copy_from_slice(part);
            length += part.len();
        }
        command[..2].copy_from_slice(&[0x80, 1 + u8::from(sessions)]);
        command[2..6].copy_from_slice(&u32::try_from(length).unwrap_or(0).to_be_bytes());
        command[6..10].copy_from_slice(&code.to_be_bytes());
        let buffer = &BUFFERS[usize::from(self.vcpu)];
        let (size, _) = vtpm::command(buffer, &command[..length]).map_err(|_| Wrong)?;
        let (mut head, mut rest) = ([0; 10], [0; N]);
        buffer.copy_out(4, &mut head);
        buffer.copy_out(14, &mut rest);
        let mut good = [0x80, 1 + u8::from(sessions), 0, 0, 0, 0, 0, 0, 0, 0];
        good[2..6].copy_from_slice(&u32::try_from(size).unwrap_or(0).to_be_bytes());
        // A length of 0 takes any.
        if head == good && (N == 0 || size == 10 + N) { Ok(rest) } else { Err(Wrong) }
    }

    fn index(&self) -> [u8; 4] {
        (INDEX + u32::from(self.vcpu)).to_be_bytes()
    }

    fn define(&self) -> Result<(), Wrong> {
        // TPMS_NV_PUBLIC: SHA-256, a counter that its authValue or the owner reads and writes, 8 octets.
        const REST: [u8; 10] = [0, 0xB, 2, 6, 0, 0x16, 0, 0, 0, 8];
        let parts: [&[u8]; 5] = [&OWNER, &PASSWORD, &[0, 0, 0, 14], &self.index(), &REST];
        self.send::<9>(code::NV_DEFINE_SPACE, &parts, true).map(drop)
    }

    fn increment(&mut self) -> Result<(), Wrong> {
        let acknowledged: [u8; 9] = self.send(code::NV_INCREMENT, &[&self.index(), &self.index(), &PASSWORD], true)?;
        self.count += 1;
        if acknowledged[..4] == [0; 4] { Ok(()) } else { Err(Wrong) }
    }

    fn counted(&self) -> Result<u64, Wrong> {
        let parts: [&[u8]; 4] = [&self.index(), &self.index(), &PASSWORD, &[0, 8, 0, 0]];
        let answer: [u8; 19] = self.send(code::NV_READ, &parts, true)?;
        let [_, _, _, size, 0, 8, counted @ .., _, _, _, _, _] = answer else { return Err(Wrong) };
        if size == 10 { Ok(u64::from_be_bytes(counted)) } else { Err(Wrong) }
    }

    /// pcrUpdateCounter and the PCR.
    fn pcr(&self) -> Result<(u32, [u8; 32]), Wrong> {
        let bits = [0, 1 << self.vcpu, 0];
        let answer: [u8; 52] = self.send(code::PCR_READ, &[&[0, 0, 0, 1, 0, 0xB, 3], &bits], false)?;
        let [a, b, c, d, rest @ ..] = answer;
        let (head, digest) = (&rest[..16], rest.last_chunk().ok_or(Wrong)?);
        let good = head[..7] == [0, 0, 0, 1, 0, 0xB, 3] && head[7..10] == bits && head[10..] == [0, 0, 0, 1, 0, 32];
        if good { Ok((u32::from_be_bytes([a, b, c, d]), *digest)) } else { Err(Wrong) }
    }

    /// 32 octets that nobody else has.
    fn value(&self) -> [u8; 32] {
        let mut value = [self.vcpu + 1; 32];
        value[24..].copy_from_slice(&self.round.to_be_bytes());
        value
    }

    fn extend(&mut self) -> Result<(), Wrong> {
        let (pcr, value) = ([0, 0, 0, PCR + self.vcpu], self.value());
        let acknowledged: [u8; 9] =
            self.send(code::PCR_EXTEND, &[&pcr, &PASSWORD, &[0, 0, 0, 1, 0, 0xB], &value], true)?;
        let mut both = [0; 64];
        both[..32].copy_from_slice(&self.chain);
        both[32..].copy_from_slice(&value);
        self.chain = sha256(&both);
        if acknowledged[..4] == [0; 4] { Ok(()) } else { Err(Wrong) }
    }

    /// TPM2_Hash; the ticket is an empty one.
    fn hash(&self) -> Result<(), Wrong> {
        let value = self.value();
        let parts: [&[u8]; 3] = [&[0, 32], &value, &[0, 0xB, 0x40, 0, 0, 7]];
        let answer: [u8; 42] = self.send(code::HASH, &parts, false)?;
        let good = answer[..2] == [0, 32]
            && answer[2..34] == sha256(&value)
            && answer[34..] == [0x80, 0x24, 0x40, 0, 0, 7, 0, 0];
        if good { Ok(()) } else { Err(Wrong) }
    }

    /// One command, whose answer is as it must be.
    fn command(&mut self) -> Result<(), Wrong> {
        self.round += 1;
        match self.round % 6 {
            0 | EACH_EXTENDS => self.extend(),
            1 => self.increment(),
            2 => self.hash(),
            4 if self.pcr()?.1 == self.chain => Ok(()),
            5 if self.counted()? == self.count => Ok(()),
            _ => Err(Wrong),
        }
    }
}

/// How often it was other than it must be; with pages that come and go beside it.
fn use_tpm(vcpu: u8, count: u64) -> u64 {
    let Ok(mut user) = User::new(vcpu) else { return count };
    let mut wrong = 0;
    for round in 0..count {
        wrong += u64::from(user.command().is_err());
        wrong += u64::from(round % 8 == 0 && !pass(vcpu.into()));
    }
    let right = user.pcr().is_ok_and(|(_, pcr)| pcr == user.chain) && user.counted().is_ok_and(|at| at == user.count);
    wrong + u64::from(!right)
}

/// The second vCPU's part of [`run`].
pub(super) fn second() -> u64 {
    use_tpm(1, COUNT.load(Ordering::SeqCst))
}

/// Starts the TPM, if it was not.
pub(super) fn start_tpm() {
    let anybody = User { vcpu: 0, chain: [0; 32], count: 0, round: 0 };
    let _ = anybody.send::<0>(code::STARTUP, &[&[0, 0]], false);
}

/// Both send TPM commands, and pages come and go beside them: every command is executed, once, and each answer is its
/// own.
pub(super) fn run<const N: usize>(report: &mut Report<N>, count: u64) {
    start_tpm();
    let reader = User { vcpu: 0, chain: [0; 32], count: 0, round: 0 };
    let updates = || reader.pcr().map_or(0, |(counter, _)| u64::from(counter));
    let before = updates();
    let_do(task::USE_TPM, count);
    let wrong = use_tpm(0, count) + wrong_of_second();
    let lost = (2 * (count / EACH_EXTENDS)).abs_diff(updates() - before);
    let name = format_args!("{count} TPM commands from each, pages passed to and fro by each: wrong or lost");
    report.attempt(name, 0, wrong + lost);
    let_do(task::TAKE_AND_GIVE, count / 4);
    let wrong = (0..count / 4).filter(|_| !pass(0)).count() as u64 + wrong_of_second();
    report.attempt(format_args!("{} pages passed to and fro by each at once: wrong", count / 4), 0, wrong);
}

/// The second vCPU makes an RSA key, for whose primes is searched; whether it was made.
pub(super) fn make_key(number: u64) -> bool {
    // TPMT_PUBLIC: RSA, SHA-256, fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, sign; no policy, no
    // symmetric, no scheme, 2048 bits, the usual exponent.
    const PUBLIC: [u8; 20] = [0, 1, 0, 0xB, 0, 4, 0, 0x72, 0, 0, 0, 0x10, 0, 0x10, 8, 0, 0, 0, 0, 0];
    let user = User { vcpu: 1, chain: [0; 32], count: 0, round: 0 };
    let parts: [&[u8]; 7] = [
        &OWNER,
        &PASSWORD,
        // inSensitive, without anything; the size of inPublic.
        &[0, 4, 0, 0, 0, 0, 0, 30],
        &PUBLIC,
        &[0, 8],
        &number.to_be_bytes(),
        // outsideInfo, creationPCR.
        &[0; 6],
    ];
    if user.send::<0>(code::CREATE_PRIMARY, &parts, true).is_err() {
        return false;
    }
    let mut handle = [0; 4];
    BUFFERS[1].copy_out(14, &mut handle);
    user.send::<0>(code::FLUSH_CONTEXT, &[&handle], false).is_ok()
}
