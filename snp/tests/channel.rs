//! The guest-message channel against a host that lies.

mod common {
    pub(crate) mod bytes;
    pub(crate) mod psp;
}

use std::collections::BTreeMap;

use common::bytes::{put, u64_at};
use common::psp::{KEY, MockPsp, hash};
use proptest::prelude::*;
use snp::message::channel::{BUSY_LIMIT, CertificateResult, DOUBT_LIMIT};
use snp::message::header::{MAX_PAYLOAD, RequestType};
use snp::message::key::{KeyRequest, RootKey, field};
use snp::message::report::KeySelect;
use snp::message::{Channel, Exit, MessageError, Transport, Vmpck};
use snp::rmp::Vmpl;
use snp::{PAGE_SIZE, Page};

fn channel_at(last: u32) -> Channel {
    Channel::new(Vmpck::take(&mut KEY.clone(), 0).expect("the test's key is not zero"), last)
}

fn channel() -> Channel {
    channel_at(0)
}

/// What every host sees: for each sequence number, one ciphertext. This is the property that keeps GCM safe.
#[derive(Default)]
struct Seen(BTreeMap<u64, Vec<u8>>);

impl Seen {
    fn note(&mut self, request: &[u8]) {
        let seqno = u64_at(request, 0x20);
        let first = self.0.entry(seqno).or_insert_with(|| request.to_vec());
        assert_eq!(first, request, "IV {seqno} encrypts two plaintexts");
    }
}

/// A host that is a function of how often it was asked.
struct Host<F> {
    psp: MockPsp,
    seen: Seen,
    calls: u32,
    act: F,
}

impl<F> Host<F>
where
    F: FnMut(u32, &mut MockPsp, &[u8], bool, &mut Page) -> Exit,
{
    fn new(act: F) -> Self {
        Self { psp: MockPsp::new(0), seen: Seen::default(), calls: 0, act }
    }
}

impl<F> Transport for Host<F>
where
    F: FnMut(u32, &mut MockPsp, &[u8], bool, &mut Page) -> Exit,
{
    fn exchange(&mut self, request: &[u8], certificates: bool, answer: &mut Page) -> Exit {
        self.seen.note(request);
        self.calls += 1;
        *answer = [0; PAGE_SIZE];
        (self.act)(self.calls, &mut self.psp, request, certificates, answer)
    }
}

/// The honest way: the PSP is asked, its answer delivered.
fn deliver(psp: &mut MockPsp, request: &[u8], answer: &mut Page) -> Exit {
    match psp.serve(request) {
        Some(page) => {
            *answer = page;
            Exit::Completed
        }
        None => Exit::Failed,
    }
}

fn honest() -> Host<impl FnMut(u32, &mut MockPsp, &[u8], bool, &mut Page) -> Exit> {
    Host::new(|_, psp, request, _, answer| deliver(psp, request, answer))
}

fn ask(channel: &mut Channel, host: &mut impl Transport, payload: &[u8]) -> Result<Vec<u8>, MessageError> {
    let mut answer = [0; MAX_PAYLOAD];
    let len = channel.request(host, RequestType::TscInfo, payload, &mut answer)?;
    Ok(answer[..len].to_vec())
}

/// There is no way to a next request, nor to the end of one.
fn is_burned(channel: &mut Channel) -> bool {
    channel.idle().is_none() && channel.sent().is_none()
}

#[test]
fn an_honest_host_carries_requests_of_every_length() {
    let mut channel = channel();
    let mut host = honest();
    for len in [0, 1, 15, 16, 17, 0x60, 128, MAX_PAYLOAD - 1, MAX_PAYLOAD] {
        let payload = vec![0x5A; len];
        assert_eq!(ask(&mut channel, &mut host, &payload), Ok(hash(&payload)));
    }
    assert_eq!(host.psp.last, 18, "two numbers for each of nine requests");
}

#[test]
fn ciphertext_is_not_plaintext_and_has_the_header_of_the_specification() {
    let mut channel = channel();
    let sent = channel.idle().expect("new").seal(RequestType::Report, &[0x33; 0x60]).expect("fits");
    let request = sent.ciphertext();
    assert_eq!(request.len(), 0xC0);
    assert!(!request.windows(4).any(|window| window == [0x33; 4]));
    assert_eq!(request[0x10..0x20], [0; 16]);
    assert_eq!(
        request[0x20..0x3D],
        [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0x60, 0, 5, 1, 0x60, 0, 0, 0, 0, 0, 0]
    );
    assert!(request[0x3D..0x60].iter().all(|byte| *byte == 0));
}

/// An answer that fills its page, each of its 8 × 4096 bits flipped alone. The genuine answer is
/// accepted after each.
#[test]
fn each_of_32768_bit_flips_of_a_full_answer_page_is_refused() {
    const PAYLOAD: [u8; MAX_PAYLOAD] = [0xC3; MAX_PAYLOAD];
    let psp = MockPsp::new(0);
    let genuine = psp.seal(18, 2, &PAYLOAD);
    let mut refused = 0;
    for bit in 0..8 * PAGE_SIZE {
        let mut flipped = genuine;
        flipped[bit / 8] ^= 1 << (bit % 8);
        let mut host = Host::new(|calls, _, _, _, answer| {
            *answer = if calls == 1 { flipped } else { genuine };
            Exit::Completed
        });
        let got = ask(&mut channel(), &mut host, b"tsc");
        assert_eq!(got.as_deref(), Ok(&PAYLOAD[..]), "bit {bit}");
        assert_eq!(host.calls, 2, "flipped bit {bit} was accepted");
        refused += 1;
    }
    assert_eq!(refused, 32_768);
}

/// The same for a report's answer, which is shorter than the page: flips in the message are refused, flips behind it
/// change nothing that is believed. (A host's page may well hold leftovers behind the message: KVM's answer buffer is
/// not cleared between requests.)
#[test]
fn bit_flips_of_a_report_answer_are_refused_or_without_effect() {
    const MESSAGE: usize = 0x60 + 0x20 + 0x4A0;
    let report_data = [0x77; 64];
    let genuine = channel().report(&mut honest(), &report_data, Vmpl::Vmpl0, KeySelect::VlekElseVcek);
    let genuine = genuine.expect("an honest host");
    for bit in 0..8 * PAGE_SIZE {
        let mut stored = None;
        let mut host = Host::new(|calls, psp, request, _, answer| {
            *answer = *stored.get_or_insert_with(|| psp.serve(request).expect("in sequence"));
            if calls == 1 {
                answer[bit / 8] ^= 1 << (bit % 8);
            }
            Exit::Completed
        });
        let report = channel().report(&mut host, &report_data, Vmpl::Vmpl0, KeySelect::VlekElseVcek);
        assert!(report == Ok(genuine), "bit {bit}");
        assert_eq!(host.calls, if bit / 8 < MESSAGE { 2 } else { 1 }, "bit {bit}");
    }
}

/// An authentic answer, tag and all, is still refused if its header is not the one expected.
#[test]
fn authentic_answers_with_a_wrong_header_are_refused() {
    type Change = fn(&mut Page);
    let psp = MockPsp::new(0);
    let payload = [1; 64];
    let changes: [(&str, Change); 12] = [
        ("AUTHTAG beyond 16 bytes", |page| page[0x10] = 1),
        ("AUTHTAG's last byte", |page| page[0x1F] = 1),
        ("reserved at 0x28", |page| page[0x28] = 1),
        ("ALGO", |page| page[0x30] = 2),
        ("HDR_VERSION", |page| page[0x31] = 2),
        ("HDR_SIZE", |page| page[0x32] = 0x61),
        ("MSG_TYPE of the request itself", |page| page[0x34] = 17),
        ("MSG_TYPE of another answer", |page| page[0x34] = 6),
        ("MSG_VERSION", |page| page[0x35] = 2),
        ("reserved at 0x38", |page| page[0x38] = 1),
        ("MSG_VMPCK", |page| page[0x3C] = 1),
        ("reserved at 0x5F", |page| page[0x5F] = 1),
    ];
    for (name, change) in changes {
        let wrong = psp.seal_with(18, 2, &payload, change);
        let mut channel = channel();
        let mut host = Host::new(|_, _, _, _, answer| {
            *answer = wrong;
            Exit::Completed
        });
        assert_eq!(ask(&mut channel, &mut host, b"tsc"), Err(MessageError::Burned), "{name}");
    }
}

#[test]
fn wrong_sequence_numbers_are_refused() {
    let psp = MockPsp::new(0);
    for seqno in (0..1000).chain([u64::from(u32::MAX), 1 << 32 | 2, u64::MAX]).filter(|seqno| *seqno != 2) {
        let wrong = psp.seal(18, seqno, &[1; 64]);
        let mut host = Host::new(|_, _, _, _, answer| {
            *answer = wrong;
            Exit::Completed
        });
        assert_eq!(ask(&mut channel(), &mut host, b"tsc"), Err(MessageError::Burned), "sequence number {seqno}");
    }
}

#[test]
fn sizes_beyond_the_page_are_refused() {
    let psp = MockPsp::new(0);
    for size in u16::try_from(MAX_PAYLOAD + 1).unwrap()..=u16::MAX {
        let wrong = psp.seal_with(18, 2, &[1; 64], |page| put(page, 0x36, &size.to_le_bytes()));
        let mut host = Host::new(|_, _, _, _, answer| {
            *answer = wrong;
            Exit::Completed
        });
        assert_eq!(ask(&mut channel(), &mut host, b"tsc"), Err(MessageError::Burned), "MSG_SIZE {size}");
    }
}

/// The answer of an earlier request comes again.
#[test]
fn a_stale_answer_is_refused() {
    let mut first = None;
    let mut host = Host::new(|calls, psp, request, _, answer| {
        if calls == 1 {
            let page = psp.serve(request).expect("in sequence");
            first = Some(page);
        }
        *answer = first.expect("set at the first call");
        Exit::Completed
    });
    let mut channel = channel();
    assert_eq!(ask(&mut channel, &mut host, b"one"), Ok(hash(b"one")));
    assert_eq!(ask(&mut channel, &mut host, b"two"), Err(MessageError::Burned));
    assert_eq!(host.calls, 1 + DOUBT_LIMIT);
}

/// "success" without the PSP having been asked, then the truth.
#[test]
fn an_empty_answer_is_refused_and_the_request_repeated() {
    let mut host = Host::new(|calls, psp, request, _, answer| match calls {
        1 => Exit::Completed,
        2 => Exit::Failed,
        _ => deliver(psp, request, answer),
    });
    assert_eq!(ask(&mut channel(), &mut host, b"tsc"), Ok(hash(b"tsc")));
    assert_eq!(host.calls, 3);
}

#[test]
fn busy_for_1_to_1000_times_and_then_done_succeeds() {
    for busy in 1..=1000 {
        let mut host = Host::new(|calls, psp, request, _, answer| match calls {
            n if n <= busy => Exit::Busy,
            _ => deliver(psp, request, answer),
        });
        assert_eq!(ask(&mut channel(), &mut host, b"tsc"), Ok(hash(b"tsc")));
        assert_eq!((host.calls, host.seen.0.len()), (busy + 1, 1));
    }
}

/// Busy for ever costs no key: the request is put off, and is brought to its end before the next.
#[test]
fn a_request_that_was_put_off_is_finished_before_the_next() {
    let mut channel = channel();
    let mut host = Host::new(|calls, psp, request, _, answer| match calls {
        n if n <= BUSY_LIMIT + 1 => Exit::Busy,
        _ => deliver(psp, request, answer),
    });
    assert_eq!(ask(&mut channel, &mut host, b"one"), Err(MessageError::Busy));
    assert!(channel.idle().is_none(), "a new request could be sealed while the old one is open");
    assert_eq!(ask(&mut channel, &mut host, b"two"), Ok(hash(b"two")));
    assert_eq!((host.psp.last, host.psp.served), (4, 2));
}

/// The same bytes again, as a plain request; the report arrives, and the size that the certificates need.
#[test]
fn a_certificate_buffer_that_is_too_small_costs_no_sequence_number() {
    let mut channel = channel();
    let mut host = Host::new(|_, psp, request, certificates, answer| match certificates {
        true => Exit::CertificatesTooSmall { pages: 7 },
        false => deliver(psp, request, answer),
    });
    let got = channel.report_with_certificates(&mut host, &[9; 64], Vmpl::Vmpl0, KeySelect::Vcek);
    let (report, certificates) = got.expect("the report comes without certificates");
    assert_eq!(certificates, CertificateResult::TooSmall { pages: 7 });
    assert_eq!((report.report_data, host.calls, host.seen.0.len()), ([9; 64], 2, 1));
    assert_eq!(host.psp.last, 2);
}

/// A host that always says "too small", also to a plain request, is treated like any other failure.
#[test]
fn too_small_for_ever_burns_the_key() {
    let mut channel = channel();
    let mut host = Host::new(|_, _, _, _, _| Exit::CertificatesTooSmall { pages: u64::MAX });
    let got = channel.report_with_certificates(&mut host, &[9; 64], Vmpl::Vmpl0, KeySelect::Vcek);
    assert_eq!(got.map(drop), Err(MessageError::Burned));
    assert_eq!(host.calls, 1 + DOUBT_LIMIT);
}

#[test]
fn a_burned_channel_stays_burned() {
    let mut channel = channel();
    assert!(ask(&mut channel, &mut honest(), b"zero").is_ok() && !is_burned(&mut channel));
    let mut liar = Host::new(|_, _, _, _, _| Exit::Failed);
    assert_eq!(ask(&mut channel, &mut liar, b"one"), Err(MessageError::Burned));
    assert!(is_burned(&mut channel));
    let mut honest = honest();
    assert_eq!(ask(&mut channel, &mut honest, b"two"), Err(MessageError::Burned));
    assert_eq!(honest.calls, 0, "a burned channel still talks");
}

/// The last pair of numbers that 32 bits hold is used, none after it.
#[test]
fn sequence_numbers_do_not_wrap() {
    for (last, works) in [(u32::MAX - 3, true), (u32::MAX - 2, true), (u32::MAX - 1, false), (u32::MAX, false)] {
        let mut channel = channel_at(last);
        let mut host = honest();
        host.psp.last = last.into();
        let expected = if works { Ok(hash(b"tsc")) } else { Err(MessageError::Exhausted) };
        assert_eq!(ask(&mut channel, &mut host, b"tsc"), expected, "last number {last}");
    }
    let mut channel = channel_at(u32::MAX - 2);
    let mut host = honest();
    host.psp.last = u64::from(u32::MAX - 2);
    assert!(ask(&mut channel, &mut host, b"last").is_ok());
    assert_eq!(ask(&mut channel, &mut host, b"beyond"), Err(MessageError::Exhausted));
    assert_eq!(host.calls, 1);
}

#[test]
fn a_request_that_is_too_long_sends_nothing_and_harms_nothing() {
    let mut channel = channel();
    let mut host = honest();
    assert_eq!(ask(&mut channel, &mut host, &[0; MAX_PAYLOAD + 1]), Err(MessageError::TooLong));
    assert_eq!((host.calls, host.psp.last), (0, 0));
    assert!(ask(&mut channel, &mut host, b"tsc").is_ok());
}

#[test]
fn an_answer_that_does_not_fit_is_an_error_and_the_channel_goes_on() {
    let mut channel = channel();
    let mut host = honest();
    let mut small = [0; 63];
    let got = channel.request(&mut host, RequestType::TscInfo, b"tsc", &mut small);
    assert_eq!((got, small), (Err(MessageError::AnswerSize(64)), [0; 63]));
    assert!(ask(&mut channel, &mut host, b"tsc").is_ok());
}

#[test]
fn a_key_is_moved_out_of_its_place_and_a_zero_key_is_none() {
    let mut place = KEY;
    assert!(Vmpck::take(&mut place, 0).is_some());
    assert_eq!(place, [0; 32]);
    assert!(Vmpck::take(&mut place, 0).is_none());
}

#[test]
fn derived_keys_come_from_the_request() {
    let mut channel = channel();
    let mut host = honest();
    let measured = KeyRequest::new(RootKey::Vcek, field::MEASUREMENT | field::POLICY, Vmpl::Vmpl0);
    let bare = KeyRequest::new(RootKey::Vcek, 0, Vmpl::Vmpl0);
    let keys =
        [measured, bare, measured].map(|request| *channel.derived_key(&mut host, &request).expect("honest").as_bytes());
    assert_eq!(keys[0], keys[2]);
    assert_ne!(keys[0], keys[1]);
    let mut expected = [0; 32];
    expected[8] = 0b1001;
    assert_eq!(keys[0], hash(&expected)[..32], "MSG_KEY_REQ has another layout");
}

/// What a lying host can do with one exit: what it says, and what it puts into the answer page.
#[derive(Clone, Copy, Debug)]
struct Behaviour {
    exit: Exit,
    contents: Contents,
}

#[derive(Clone, Copy, Debug)]
enum Contents {
    /// The PSP is asked; its answer, or the kept one if it refuses the repetition.
    Genuine,
    /// Not asked; the page stays zero.
    Zero,
    /// Not asked; the newest answer to an earlier request.
    Stale,
    /// The PSP is asked; its answer with a bit flipped.
    Flipped,
}

/// Bytes of the script's answers: header and a hash. The rest of their pages is zero.
const MESSAGE: usize = 0x60 + 64;

/// A host that follows a script, then fails for ever. Keeps the PSP's answers by sequence number.
struct Script<'s> {
    script: &'s [Behaviour],
    used: usize,
    psp: MockPsp,
    seen: Seen,
    answers: BTreeMap<u64, Vec<u8>>,
}

impl Transport for Script<'_> {
    fn exchange(&mut self, request: &[u8], _certificates: bool, answer: &mut Page) -> Exit {
        self.seen.note(request);
        let Some(behaviour) = self.script.get(self.used) else {
            return Exit::Failed;
        };
        self.used += 1;
        let seqno = u64_at(request, 0x20) + 1;
        let asked = matches!(behaviour.contents, Contents::Genuine | Contents::Flipped);
        if let Some(page) = asked.then(|| self.psp.serve(request)).flatten() {
            self.answers.insert(seqno, page[..MESSAGE].to_vec());
        }
        let kept = match behaviour.contents {
            Contents::Genuine | Contents::Flipped => self.answers.get(&seqno),
            Contents::Stale => self.answers.range(..seqno).next_back().map(|(_, page)| page),
            Contents::Zero => None,
        };
        answer[..MESSAGE].copy_from_slice(kept.map_or(&[0; MESSAGE], Vec::as_slice));
        if matches!(behaviour.contents, Contents::Flipped) {
            answer[0x70] ^= 1;
        }
        behaviour.exit
    }
}

/// Runs requests until the script is used up; checks both properties; returns how many of the script's steps were used.
fn run_script(script: &[Behaviour]) -> (usize, usize) {
    let mut channel = channel();
    let mut host = Script { script, used: 0, psp: MockPsp::new(0), seen: Seen::default(), answers: BTreeMap::new() };
    let mut accepted = 0;
    while host.used < script.len() && !is_burned(&mut channel) {
        let payload = [u8::try_from(accepted).unwrap() + 1; 8];
        if let Ok(answer) = ask(&mut channel, &mut host, &payload) {
            assert_eq!(answer, hash(&payload), "the answer is not to the last request");
            accepted += 1;
        }
    }
    (host.used, accepted)
}

/// All scripts of `rest` steps after `first`; how many, and how many answers were accepted. A script whose end is never
/// reached stands for all scripts with its beginning.
fn run_scripts(all: &[Behaviour; 12], first: usize) -> (u32, usize) {
    const DEPTH: usize = 6;
    let mut digits = [0; DEPTH];
    digits[0] = first;
    let (mut runs, mut accepted) = (0, 0);
    loop {
        let (used, answers) = run_script(&digits.map(|digit| all[digit]));
        runs += 1;
        accepted += answers;
        // The next script: count up at the last step that was used.
        let Some(at) = (1..used).rev().find(|at| digits[*at] + 1 < all.len()) else {
            return (runs, accepted);
        };
        digits[at] += 1;
        digits[at + 1..].fill(0);
    }
}

/// 3 exits × 4 contents, 6 steps deep, all of them.
#[test]
fn no_behaviour_of_the_host_makes_an_iv_encrypt_twice_or_a_wrong_answer_accepted() {
    let exits = [Exit::Completed, Exit::Busy, Exit::Failed];
    let contents = [Contents::Genuine, Contents::Zero, Contents::Stale, Contents::Flipped];
    let all: [Behaviour; 12] =
        core::array::from_fn(|index| Behaviour { exit: exits[index / 4], contents: contents[index % 4] });
    let totals = std::thread::scope(|scope| {
        let halves = [0..6, 6..12].map(|half| {
            let all = &all;
            scope.spawn(move || half.map(|first| run_scripts(all, first)).collect::<Vec<_>>())
        });
        halves.map(|half| half.join().expect("a property does not hold")).concat()
    });
    let runs: u32 = totals.iter().map(|(runs, _)| runs).sum();
    let accepted: usize = totals.iter().map(|(_, accepted)| accepted).sum();
    println!("{runs} scripts, {accepted} answers accepted");
    assert!(
        runs > 2_000_000 && accepted > 1_000_000,
        "{runs} scripts, {accepted} accepted: the enumeration has a hole"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// Whatever stands in the answer page is no answer, and nothing panics.
    #[test]
    fn random_pages_are_refused(header in prop::collection::vec(any::<u8>(), 0x60), fix in any::<[bool; 8]>()) {
        let mut page = MockPsp::new(0).seal(18, 2, &[7; 64]);
        // Some fields right, so that the later checks are reached.
        let fields = [0..0x10, 0x10..0x20, 0x20..0x28, 0x28..0x30, 0x30..0x34, 0x34..0x36, 0x36..0x38, 0x38..0x60];
        for (range, keep) in fields.into_iter().zip(fix) {
            if !keep {
                page[range.clone()].copy_from_slice(&header[range]);
            }
        }
        let genuine = page == MockPsp::new(0).seal(18, 2, &[7; 64]);
        let mut host = Host::new(|_, _, _, _, answer| { *answer = page; Exit::Completed });
        let got = ask(&mut channel(), &mut host, b"tsc");
        prop_assert_eq!(got.is_ok(), genuine);
    }
}
