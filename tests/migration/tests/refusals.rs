//! Each refusal by its name, one test for each threat. Who refuses is part of it: a source that refuses has shown no
//! secret, a destination that refuses has taken none.

use migration::Wiped;
use migration::chain::Generation;
use migration::destination::Destination;
use migration::message::{self, Kind, MAX_MESSAGE};
use migration::source::{self, Bearer, Source};
use migration::{Grant, Measurement, Pending, Receipt, Refusal, Terms};
use moves::Seeded;
use moves::authority::Authority;
use moves::chip::{Boot, Chip, POLICY, TCB};
use moves::scene::{
    BOOT_NONCE, CHIP_A, CHIP_B, EPOCH, IDENTITY, Letter, MILAN, MOST, NEW, OLD, OTHER, Owner, Scene, To, terms,
};
use tpm_crypto::hash::{HashAlg, digest};

/// What neither lists.
const STRANGER: Measurement = [0x66; 48];

/// How a run between these boots ends, by these terms.
fn run(terms: &[Terms; 2], grant: Option<&Grant>, a: Boot<'_>, b: Boot<'_>) -> Result<(), (To, Refusal)> {
    let (mut scene, first) = Scene::between(terms, grant, a, b).map_err(|refusal| (To::Source, refusal))?;
    let outcome = scene.play(first).map(|_| ());
    match &outcome {
        Ok(()) => assert!(scene.source.has_moved() && scene.destination.answers()),
        Err(_) => assert!(scene.source.answers() && !scene.destination.answers(), "nothing has moved"),
    }
    outcome
}

fn a() -> Boot<'static> {
    Boot::new(&CHIP_A, OLD)
}

fn b() -> Boot<'static> {
    Boot::new(&CHIP_B, NEW)
}

/// The source's refusal of a destination.
fn to(b: Boot<'_>) -> Refusal {
    refused(&terms(), None, a(), b, To::Source)
}

/// The destination's refusal of a source.
fn from(a: Boot<'_>) -> Refusal {
    refused(&terms(), None, a, b(), To::Destination)
}

fn refused(terms: &[Terms; 2], grant: Option<&Grant>, a: Boot<'_>, b: Boot<'_>, by: To) -> Refusal {
    let (who, refusal) = run(terms, grant, a, b).expect_err("it is refused");
    assert_eq!(who, by, "{refusal}");
    refusal
}

#[test]
fn a_successor_that_is_not_listed() {
    assert_eq!(to(Boot::new(&CHIP_B, STRANGER)), Refusal::Successor);
}

/// Whoever makes a firmware of his own could otherwise give a TPM with keys that he knows to one that is trusted.
#[test]
fn a_predecessor_that_is_not_listed() {
    assert_eq!(from(Boot::new(&CHIP_A, STRANGER)), Refusal::Predecessor);
}

#[test]
fn the_same_image_on_another_chip_only_if_the_setting_says_so() {
    let mut terms = terms();
    let same = || Boot::new(&CHIP_B, OLD);
    assert_eq!(refused(&terms, None, a(), same(), To::Source), Refusal::Successor);
    terms[0].itself = true;
    assert_eq!(refused(&terms, None, Boot::new(&CHIP_A, NEW), b(), To::Destination), Refusal::Predecessor);
    terms[1].itself = true;
    terms[1].predecessors.clear();
    assert_eq!(run(&terms, None, Boot::new(&CHIP_A, NEW), b()), Ok(()));
}

#[test]
fn a_tcb_below_the_floor() {
    let mut floor = TCB;
    floor[6] += 1;
    for (side, by) in [(0, To::Source), (1, To::Destination)] {
        let mut terms = terms();
        terms[side].floors = [floor, [0; 8], [0; 8]];
        assert_eq!(refused(&terms, None, a(), b(), by), Refusal::Tcb);
        // Of another generation it says nothing.
        terms[side].floors = [TCB, [255; 8], [255; 8]];
        assert_eq!(run(&terms, None, a(), b()), Ok(()));
    }
}

#[test]
fn a_reported_tcb_above_the_committed_one_or_that_above_the_current_one() {
    for boot in [
        |boot: Boot<'static>| boot.with(|report| report.committed_tcb.0[7] -= 1),
        |boot: Boot<'static>| boot.with(|report| report.current_tcb.0[7] -= 1),
    ] {
        assert_eq!((to(boot(b())), from(boot(a()))), (Refusal::TcbOrder, Refusal::TcbOrder));
    }
}

#[test]
fn a_policy_that_allows_debugging() {
    let debug = |mut boot: Boot<'static>| {
        boot.policy |= 1 << 19;
        boot
    };
    assert_eq!((to(debug(b())), from(debug(a()))), (Refusal::Debug, Refusal::Debug));
}

#[test]
fn a_policy_that_allows_a_migration_agent() {
    let agent = |mut boot: Boot<'static>| {
        boot.policy |= 1 << 18;
        boot
    };
    assert_eq!((to(agent(b())), from(agent(a()))), (Refusal::MigrationAgent, Refusal::MigrationAgent));
}

#[test]
fn a_policy_that_is_none() {
    let none = |mut boot: Boot<'static>| {
        boot.policy &= !(1 << 17);
        boot
    };
    assert_eq!((to(none(b())), from(none(a()))), (Refusal::Policy, Refusal::Policy));
}

/// Bits 16 and 21 allow, 20 and 22 to 25 forbid, and the low half is the least version of the PSP's firmware.
#[test]
fn a_destination_whose_policy_is_weaker_than_the_sources() {
    let with = |boot: Boot<'static>, policy| boot.under(policy);
    for bit in [20, 22, 23, 24, 25] {
        let strict = POLICY | 1 << bit;
        assert_eq!(refused(&terms(), None, with(a(), strict), b(), To::Source), Refusal::Weaker, "bit {bit}");
        assert_eq!(run(&terms(), None, a(), with(b(), strict)), Ok(()));
    }
    for bit in [16, 21] {
        let (lax, strict) = (POLICY | 1 << bit, POLICY & !(1 << bit));
        assert_eq!(refused(&terms(), None, with(a(), strict), with(b(), lax), To::Source), Refusal::Weaker);
        assert_eq!(run(&terms(), None, with(a(), lax), with(b(), strict)), Ok(()));
    }
    assert_eq!(refused(&terms(), None, with(a(), POLICY | 0x0137), b(), To::Source), Refusal::Weaker);
    assert_eq!(run(&terms(), None, with(a(), POLICY | 0x0137), with(b(), POLICY | 0x0200)), Ok(()));
}

/// A guest at VMPL 2 has reports of its own, over whatever it likes.
#[test]
fn another_vmpl() {
    for vmpl in [1, 2, 3] {
        let other = |boot: Boot<'static>| boot.with(move |report| report.vmpl = vmpl.into());
        assert_eq!((to(other(b())), from(other(a()))), (Refusal::Vmpl, Refusal::Vmpl));
    }
}

#[test]
fn another_root() {
    let chip = Chip::new(&OTHER, "A", TCB);
    assert_eq!(to(Boot::new(&chip, NEW)), Refusal::Root);
    assert_eq!(from(Boot::new(&chip, OLD)), Refusal::Root);
}

#[test]
fn a_certificate_that_another_authority_has_signed() {
    let chip = Chip::new(&OTHER, "A", TCB).with_certificates(|[_, _, ark]| ark.clone_from(&MILAN.ark));
    assert_eq!(to(Boot::new(&chip, NEW)), Refusal::Chain);
    let chip = Chip::new(&OTHER, "A", TCB).with_certificates(|[_, ask, ark]| {
        ask.clone_from(&MILAN.ask);
        ark.clone_from(&MILAN.ark);
    });
    assert_eq!(from(Boot::new(&chip, OLD)), Refusal::Chain);
    // The root signs authorities, not chips: the issuer's name is not its.
    let chip = Chip::new(&MILAN, "B", TCB).vcek_by_root(&MILAN);
    assert_eq!(to(Boot::new(&chip, NEW)), Refusal::Chain);
    let chip = Chip::new(&MILAN, "B", TCB).vcek_by_root(&MILAN).with_certificates(|[_, ask, ark]| ask.clone_from(ark));
    assert_eq!(to(Boot::new(&chip, NEW)), Refusal::Chain);
}

#[test]
fn a_certificate_that_is_none() {
    for at in 0..3 {
        let chip = |name| {
            Chip::new(&MILAN, name, TCB).with_certificates(|all| {
                let [vcek, ask, ark] = all;
                [vcek, ask, ark][at].push(0);
            })
        };
        assert_eq!(to(Boot::new(&chip("B"), NEW)), Refusal::Certificate);
        assert_eq!(from(Boot::new(&chip("A"), OLD)), Refusal::Certificate);
    }
}

#[test]
fn a_report_of_another_chip_than_the_certificate() {
    let chip = Chip::claiming(&MILAN, "B", TCB, |claims| claims.id[0] ^= 1);
    assert_eq!(to(Boot::new(&chip, NEW)), Refusal::Chip);
    let chip = Chip::claiming(&MILAN, "B", TCB, |claims| claims.id.clear());
    assert_eq!(to(Boot::new(&chip, NEW)), Refusal::Chip);
    let masked = b().with(|report| report.chip_id = [0; 64]);
    assert_eq!(to(masked), Refusal::Chip);
}

/// Whoever has the key of an old TCB of a chip can have a report say that it is the newest.
#[test]
fn a_report_of_another_tcb_than_the_certificate() {
    for level in [0, 1, 6, 7] {
        let chip = Chip::claiming(&MILAN, "A", TCB, |claims| claims.tcb[level] = claims.tcb[level].wrapping_sub(1));
        assert_eq!(from(Boot::new(&chip, OLD)), Refusal::Levels, "level {level}");
    }
    for level in [0, 1, 2, 3, 7] {
        let turin = &*TURIN;
        let mut terms = terms();
        terms[0].roots = vec![turin.pinned()];
        let chip = Chip::claiming(turin, "T", [9; 8], |claims| claims.tcb[level] -= 1);
        assert_eq!(refused(&terms, None, a(), Boot::new(&chip, NEW), To::Source), Refusal::Levels, "level {level}");
    }
}

static TURIN: std::sync::LazyLock<Authority> = std::sync::LazyLock::new(|| Authority::new("Turin", Generation::Turin));

#[test]
fn a_turin_is_judged_by_its_own_layout() {
    let turin = &*TURIN;
    let chip = Chip::new(turin, "T", [1, 2, 3, 4, 0, 0, 0, 5]);
    let mut terms = terms();
    terms[0].roots.push(turin.pinned());
    terms[0].floors = [[255; 8], [255; 8], [1, 2, 3, 4, 0, 0, 0, 5]];
    assert_eq!(run(&terms, None, a(), Boot::new(&chip, NEW)), Ok(()));
    terms[0].floors[2][0] = 2;
    assert_eq!(refused(&terms, None, a(), Boot::new(&chip, NEW), To::Source), Refusal::Tcb);
}

#[test]
fn a_report_that_no_vcek_has_signed() {
    for key_info in [0b0_0100, 0b1_1100, 0b0_0010] {
        let boot = b().with(move |report| report.key_info = key_info.into());
        assert_eq!(to(boot), Refusal::Signer);
    }
    let provider = Chip::claiming(&MILAN, "B", TCB, |claims| claims.provider = true);
    assert_eq!(to(Boot::new(&provider, NEW)), Refusal::Signer);
    // AUTHOR_KEY_EN says nothing of the signer.
    assert_eq!(run(&terms(), None, a(), b().with(|report| report.key_info = 1.into())), Ok(()));
}

#[test]
fn a_report_of_a_version_or_an_algorithm_that_is_unknown() {
    for version in [0, 1, 6] {
        assert_eq!(to(b().with(move |report| report.version = version.into())), Refusal::ReportVersion);
    }
    assert_eq!(from(a().with(|report| report.signature_algo = 2.into())), Refusal::ReportVersion);
    for version in [2, 3, 4, 5] {
        assert_eq!(run(&terms(), None, a(), b().with(move |report| report.version = version.into())), Ok(()));
    }
}

/// Letters of a run that comes to its end.
fn recorded() -> (Scene<'static>, Vec<Letter>) {
    static TERMS: std::sync::LazyLock<[Terms; 2]> = std::sync::LazyLock::new(terms);
    let (mut scene, first) = Scene::new(&TERMS, None);
    let letters = scene.play(first).unwrap();
    (scene, letters)
}

/// Another run, with other random numbers, up to where the source waits for an answer.
fn fresh(terms: &[Terms; 2]) -> (Scene<'_>, Letter) {
    let (mut scene, _) = Scene::new(terms, None);
    scene.rng = Seeded::new("another run");
    let bearer = Bearer { identity: IDENTITY, epoch: EPOCH, kept: true, grant: None };
    let (source, offer) = Source::offer(&terms[0], &bearer, &mut scene.rng).unwrap();
    scene.source = source;
    (scene, (To::Destination, offer))
}

#[test]
fn a_replayed_channel() {
    let (_, recorded) = recorded();
    let terms = terms();
    // Every message of the old run to either side of a new one, at each of its steps.
    let all = {
        let (mut scene, first) = fresh(&terms);
        scene.play(first).unwrap().len()
    };
    for step in 0..all {
        for replay in &recorded {
            let (mut scene, first) = fresh(&terms);
            let mut waiting = std::collections::VecDeque::from([first]);
            for _ in 0..step {
                let letter = waiting.pop_front().unwrap();
                waiting.extend(scene.deliver(&letter).unwrap());
            }
            let (source, destination) = (scene.source.has_moved(), scene.destination.answers());
            let waits_for_kept = !scene.source.answers() && !source;
            let outcome = scene.deliver(replay);
            let kind = Kind::of(&replay.1).unwrap().0;
            match kind {
                // It may be made again and again; whoever has made it cannot go on from the answer.
                Kind::Offer => {}
                // A destination says it as long as it waits; of another run it is nothing to one that does not.
                Kind::Kept if !waits_for_kept => assert_eq!(outcome, Ok(vec![]), "at step {step}"),
                _ => assert!(outcome.is_err(), "{kind:?} at step {step}"),
            }
            assert_eq!((source, destination), (scene.source.has_moved(), scene.destination.answers()));
            assert!(scene.alive() <= 1);
        }
    }
    let (mut scene, offer) = fresh(&terms);
    assert_eq!(scene.deliver(&recorded[1]).unwrap_err(), Refusal::ReportData, "the old answer to a new offer");
    let (mut scene, _) = (fresh(&terms).0, offer);
    scene.deliver(&recorded[0]).unwrap();
    assert_eq!(scene.deliver(&recorded[2]).unwrap_err(), Refusal::ReportData, "the old offer and proof");
}

#[test]
fn a_reflected_message() {
    let terms = terms();
    let (mut scene, (_, offer)) = Scene::new(&terms, None);
    assert_eq!(scene.deliver(&(To::Source, offer.clone())).unwrap_err(), Refusal::Unexpected);
    // The source's own key as the other's, in an answer that is right otherwise.
    let (mut scene, first) = Scene::new(&terms, None);
    let answer = scene.deliver(&first).unwrap().remove(0).1;
    let reflected = [&answer[..8], &offer[8..104], &answer[104..]].concat();
    assert_eq!(scene.deliver(&(To::Source, reflected)).unwrap_err(), Refusal::Reflection);
    // The destination's sealed words come back to it.
    let (mut scene, first) = Scene::new(&terms, None);
    let answer = scene.deliver(&first).unwrap().remove(0);
    let proof = scene.deliver(&answer).unwrap().remove(0);
    let (_, mut ready) = scene.deliver(&proof).unwrap().remove(0);
    assert_eq!(scene.deliver(&(To::Destination, ready.clone())).unwrap_err(), Refusal::Unexpected);
    let (mut scene, first) = Scene::new(&terms, None);
    let answer = scene.deliver(&first).unwrap().remove(0);
    let proof = scene.deliver(&answer).unwrap().remove(0);
    scene.deliver(&proof).unwrap();
    ready[1] = Kind::Head as u8;
    assert_eq!(scene.deliver(&(To::Destination, ready)).unwrap_err(), Refusal::Seal);
}

/// REPORT_DATA as docs/migration.md has it: SHA-512 of a label and SHA-384 of what was said, each part behind its
/// length.
fn report_data(label: &str, said: &[&[u8]]) -> [u8; 64] {
    let lengths: Vec<[u8; 4]> = said.iter().map(|part| u32::try_from(part.len()).unwrap().to_le_bytes()).collect();
    let parts: Vec<&[u8]> = lengths.iter().zip(said).flat_map(|(len, part)| [&len[..], part]).collect();
    let transcript = digest(HashAlg::Sha384, &parts);
    let label = format!("{label:<95}\n");
    digest(HashAlg::Sha512, &[label.as_bytes(), transcript.as_slice()]).as_slice().try_into().unwrap()
}

const SOURCE: &str = "Quoin firmware: the channel by which the state of a vTPM moves, version 1; this is the source";
const TARGET: &str = "Quoin firmware: the channel by which the state of a vTPM moves, version 1; this is the target";

#[test]
fn reports_are_over_what_the_papers_say() {
    let (scene, letters) = recorded();
    let [offer, answer, proof, ..] = &letters[..] else { panic!("three messages") };
    assert_eq!(scene.b.asked, [report_data(TARGET, &[&offer.1, &answer.1[..104]])]);
    assert_eq!(scene.a.asked, [report_data(SOURCE, &[&offer.1, &answer.1, &proof.1[..6]])]);
}

/// A firmware that is trusted as the one side is not believed as the other.
#[test]
fn swapped_roles() {
    let terms = terms();
    let (mut scene, first) = Scene::new(&terms, None);
    let answer = scene.deliver(&first).unwrap().remove(0).1;
    let label = report_data(SOURCE, &[&first.1, &answer[..104]]);
    let report = b().report(&label);
    let swapped = [&answer[..answer.len() - 1184], zerocopy::IntoBytes::as_bytes(&report)].concat();
    assert_eq!(scene.deliver(&(To::Source, swapped)).unwrap_err(), Refusal::ReportData);
}

#[test]
fn a_man_in_the_middle() {
    let terms = terms();
    // With a firmware of his own on a true chip he can only be himself.
    assert_eq!(to(Boot::new(&CHIP_B, STRANGER)), Refusal::Successor);
    // With his own key in the offer, the report is over another offer than was made.
    let (mut scene, first) = Scene::new(&terms, None);
    let (_, other) = fresh(&terms);
    let answer = scene.deliver(&other).unwrap().remove(0);
    assert_eq!(scene.deliver(&answer).unwrap_err(), Refusal::ReportData);
    // With his own key in the answer, it is over another answer.
    let (mut scene, _) = Scene::new(&terms, None);
    let mut answer = scene.deliver(&first).unwrap().remove(0);
    answer.1[8..104].copy_from_slice(&other.1[8..104]);
    assert_eq!(scene.deliver(&answer).unwrap_err(), Refusal::ReportData);
    // With what he likes of the proof's grant, it is over another proof.
    let (mut scene, _) = Scene::new(&terms, None);
    let answer = scene.deliver(&first).unwrap().remove(0);
    let (_, proof) = scene.deliver(&answer).unwrap().remove(0);
    let grant = Owner::new("somebody").grant(|_| ()).octets();
    let more = [&proof[..4], &u16::try_from(grant.len()).unwrap().to_le_bytes(), &grant, &proof[6..]].concat();
    assert_eq!(scene.deliver(&(To::Destination, more)).unwrap_err(), Refusal::ReportData);
}

/// Of the same chip and firmware: its key is gone with that boot.
#[test]
fn a_report_of_another_boot() {
    let terms = terms();
    let (_, recorded) = recorded();
    let report = |letter: &Letter| letter.1[letter.1.len() - 1184..].to_vec();
    let (mut scene, first) = fresh(&terms);
    let mut answer = scene.deliver(&first).unwrap().remove(0);
    let at = answer.1.len() - 1184;
    answer.1[at..].copy_from_slice(&report(&recorded[1]));
    assert_eq!(scene.deliver(&answer).unwrap_err(), Refusal::ReportData);
    let (mut scene, first) = fresh(&terms);
    let answer = scene.deliver(&first).unwrap().remove(0);
    let mut proof = scene.deliver(&answer).unwrap().remove(0);
    // Behind the proof's report are 40 sealed octets and their tag.
    let at = proof.1.len() - 1184 - 56;
    proof.1[at..at + 1184].copy_from_slice(&recorded[2].1[at..at + 1184]);
    assert_eq!(scene.deliver(&proof).unwrap_err(), Refusal::ReportData);
}

#[test]
fn an_ephemeral_key_that_is_no_point() {
    let terms = terms();
    let (mut scene, mut first) = Scene::new(&terms, None);
    let mut answer = scene.deliver(&first).unwrap().remove(0);
    answer.1[8..104].fill(0);
    assert_eq!(scene.deliver(&answer).unwrap_err(), Refusal::Key);
    first.1[8] ^= 1;
    let (mut scene, good) = Scene::new(&terms, None);
    let answer = scene.deliver(&good).unwrap().remove(0);
    let proof = scene.deliver(&answer).unwrap().remove(0);
    scene.deliver(&first).unwrap();
    // Another offer than the proof's: its report is looked at before its key is used.
    assert_eq!(scene.deliver(&proof).unwrap_err(), Refusal::ReportData);
}

#[test]
fn a_secure_processor_that_gives_no_report() {
    let silent = |mut boot: Boot<'static>| {
        boot.silent = true;
        boot
    };
    assert_eq!(refused(&terms(), None, silent(a()), b(), To::Source), Refusal::NoReport);
    assert_eq!(refused(&terms(), None, a(), silent(b()), To::Destination), Refusal::NoReport);
}

/// Terms of an old firmware that cannot list the new one, since that was built later and lists it.
fn owned(owner: &Owner) -> [Terms; 2] {
    let [mut old, new] = terms();
    old.successors.clear();
    old.owner = Some(owner.public);
    [old, new]
}

#[test]
fn the_owner_lets_a_firmware_follow_that_is_built_later() {
    let owner = Owner::new("owner");
    let terms = owned(&owner);
    assert_eq!(refused(&terms, None, a(), b(), To::Source), Refusal::Successor);
    let grant = owner.grant(|_| ());
    assert_eq!(run(&terms, Some(&grant), a(), b()), Ok(()));
    // For any TPM of a firmware that names the owner.
    let any = owner.grant(|grant| grant.identity = [0; 32]);
    assert_eq!(run(&terms, Some(&any), a(), b()), Ok(()));
}

/// A new firmware that is older than the one in use, as after a step back, is listed there and cannot list it.
#[test]
fn the_owner_lets_a_firmware_come_before_that_is_built_later() {
    let owner = Owner::new("owner");
    let [old, mut new] = terms();
    new.predecessors.clear();
    new.owner = Some(owner.public);
    let terms = [old, new];
    assert_eq!(refused(&terms, None, a(), b(), To::Destination), Refusal::Predecessor);
    assert_eq!(run(&terms, Some(&owner.grant(|_| ())), a(), b()), Ok(()));
    let other = Owner::new("somebody").grant(|_| ());
    assert_eq!(refused(&terms, Some(&other), a(), b(), To::Destination), Refusal::GrantSignature);
}

#[test]
fn a_grant_that_the_owner_has_not_signed() {
    let owner = Owner::new("owner");
    let terms = owned(&owner);
    let other = Owner::new("somebody").grant(|_| ());
    assert_eq!(refused(&terms, Some(&other), a(), b(), To::Source), Refusal::GrantSignature);
    let good = owner.grant(|_| ()).octets();
    for at in 0..good.len() {
        let mut octets = good;
        octets[at] ^= 0x10;
        let grant = Grant::parse(&octets).unwrap();
        assert_eq!(refused(&terms, Some(&grant), a(), b(), To::Source), Refusal::GrantSignature, "octet {at}");
    }
}

#[test]
fn a_grant_for_other_measurements() {
    let owner = Owner::new("owner");
    let terms = owned(&owner);
    let to = owner.grant(|grant| grant.to = STRANGER);
    assert_eq!(refused(&terms, Some(&to), a(), b(), To::Source), Refusal::GrantMeasurement);
    let from = owner.grant(|grant| grant.from = STRANGER);
    assert_eq!(refused(&terms, Some(&from), a(), b(), To::Source), Refusal::GrantMeasurement);
    // The way back wants a grant of its own.
    let back = owner.grant(|grant| (grant.from, grant.to) = (NEW, OLD));
    assert_eq!(refused(&terms, Some(&back), a(), b(), To::Source), Refusal::GrantMeasurement);
}

#[test]
fn a_grant_for_another_tpm() {
    let owner = Owner::new("owner");
    let grant = owner.grant(|grant| grant.identity[31] ^= 1);
    assert_eq!(refused(&owned(&owner), Some(&grant), a(), b(), To::Source), Refusal::GrantIdentity);
}

#[test]
fn a_grant_whose_last_epoch_is_past() {
    let owner = Owner::new("owner");
    let grant = owner.grant(|grant| grant.until = EPOCH - 1);
    let terms = owned(&owner);
    assert_eq!(refused(&terms, Some(&grant), a(), b(), To::Source), Refusal::GrantExpired);
    // Past since the handshake: commands are answered until the state is handed over.
    let grant = owner.grant(|_| ());
    let (mut scene, first) = Scene::new(&terms, Some(&grant));
    let answer = scene.deliver(&first).unwrap().remove(0);
    let proof = scene.deliver(&answer).unwrap().remove(0);
    let (_, ready) = scene.deliver(&proof).unwrap().remove(0);
    assert!(matches!(scene.source.receive(&ready, &mut scene.a), Ok(source::Next::HandOver)));
    let late = scene.source.hand_over(Wiped::of(vec![1]), EPOCH + 1, BOOT_NONCE, &mut scene.rng);
    assert_eq!(late.err(), Some(Refusal::GrantExpired));
    assert!(scene.source.answers() && scene.source.is_over());
}

#[test]
fn a_firmware_without_terms_neither_lets_go_nor_takes_in() {
    let bearer = Bearer { identity: IDENTITY, epoch: EPOCH, kept: true, grant: None };
    let none = Terms::default();
    assert_eq!(Source::offer(&none, &bearer, &mut Seeded::new("")).err(), Some(Refusal::NoTerms));
    assert_eq!(Destination::new(&none, true, MOST, None).err(), Some(Refusal::NoTerms));
    // One that may come before and after others, and makes TPMs of its own.
    let own = Terms { predecessors: vec![OLD], successors: vec![NEW], itself: true, ..none };
    assert_eq!(Destination::new(&own, true, MOST, None).err(), Some(Refusal::NoTerms));
    assert!(Source::offer(&own, &bearer, &mut Seeded::new("")).is_ok());
}

#[test]
fn a_kept_state_for_a_destination_that_keeps_nothing() {
    let terms = terms();
    let (mut scene, first) = Scene::new(&terms, None);
    scene.destination = Destination::new(&terms[1], false, MOST, None).unwrap();
    assert_eq!(scene.play(first).unwrap_err(), (To::Source, Refusal::NotKept));
    // Not kept there either: it lives as long as both virtual machines.
    let (mut scene, _) = Scene::new(&terms, None);
    let bearer = Bearer { identity: IDENTITY, epoch: EPOCH, kept: false, grant: None };
    let (source, offer) = Source::offer(&terms[0], &bearer, &mut scene.rng).unwrap();
    scene.source = source;
    scene.destination = Destination::new(&terms[1], false, MOST, None).unwrap();
    assert!(scene.play((To::Destination, offer)).is_ok());
    assert!(scene.destination.answers());
}

fn waiting(change: impl FnOnce(&mut Pending)) -> Pending {
    let promise = Receipt([7; 32]).promise();
    let mut pending = Pending { identity: IDENTITY, epoch: EPOCH, boot_nonce: BOOT_NONCE, from: OLD, promise };
    change(&mut pending);
    pending
}

fn to_one_that_waits(pending: Pending) -> Result<(), (To, Refusal)> {
    let terms = terms();
    let (mut scene, first) = Scene::new(&terms, None);
    scene.destination = Destination::new(&terms[1], true, MOST, Some(pending)).unwrap();
    let outcome = scene.play(first).map(|_| ());
    assert!(scene.destination.waits().is_some(), "what waits is not forgotten");
    outcome
}

#[test]
fn a_destination_with_the_state_of_another_tpm() {
    let other = waiting(|pending| pending.identity[0] ^= 1);
    assert_eq!(to_one_that_waits(other), Err((To::Destination, Refusal::Occupied)));
}

#[test]
fn a_state_that_is_older_than_what_waits() {
    let newer = waiting(|pending| pending.epoch += 1);
    assert_eq!(to_one_that_waits(newer), Err((To::Destination, Refusal::Older)));
    assert_eq!(to_one_that_waits(waiting(|_| ())), Ok(()));
}

#[test]
fn a_receipt_for_another_state() {
    let terms = terms();
    let receipt = |receipt: [u8; 32]| [&[1, Kind::Gone as u8, 0, 0][..], &receipt].concat();
    let gone = |waits: Option<Pending>, message: &[u8]| {
        let mut destination = Destination::new(&terms[1], true, MOST, waits).unwrap();
        let next = destination.receive(message, &mut b(), &mut Seeded::new("")).map(|_| ());
        (next, destination.answers())
    };
    assert_eq!(gone(Some(waiting(|_| ())), &receipt([8; 32])), (Err(Refusal::Receipt), false));
    assert_eq!(gone(None, &receipt([7; 32])), (Err(Refusal::Receipt), false));
    assert_eq!(gone(Some(waiting(|_| ())), &receipt([7; 32])), (Ok(()), false), "it is still to be written");
}

#[test]
fn a_state_that_is_longer_than_there_is_room_for() {
    let terms = terms();
    let (mut scene, first) = Scene::new(&terms, None);
    scene.destination = Destination::new(&terms[1], true, 149_999 * 4, None).unwrap();
    scene.state = vec![1; 600_000];
    assert_eq!(scene.play(first).unwrap_err(), (To::Destination, Refusal::Room));
    let (mut scene, first) = Scene::new(&terms, None);
    scene.state.clear();
    assert_eq!(scene.play(first).unwrap_err(), (To::Destination, Refusal::Room), "no state at all");
}

#[test]
fn there_are_no_more_epochs() {
    for (epoch, good) in [(u64::MAX - 5, true), (u64::MAX - 4, false), (u64::MAX, false)] {
        let terms = terms();
        let (mut scene, _) = Scene::new(&terms, None);
        let bearer = Bearer { identity: IDENTITY, epoch, kept: true, grant: None };
        let (source, offer) = Source::offer(&terms[0], &bearer, &mut scene.rng).unwrap();
        scene.source = source;
        let answer = scene.deliver(&(To::Destination, offer)).unwrap().remove(0);
        let proof = scene.deliver(&answer).unwrap().remove(0);
        let (_, ready) = scene.deliver(&proof).unwrap().remove(0);
        scene.source.receive(&ready, &mut scene.a).unwrap();
        let begun = scene.source.hand_over(Wiped::of(vec![1]), epoch, BOOT_NONCE, &mut scene.rng);
        assert_eq!(begun.err(), (!good).then_some(Refusal::Epoch));
    }
}

#[test]
fn what_the_other_side_refuses_ends_a_run_that_has_not_come_to_its_end() {
    let terms = terms();
    for refusal in Refusal::ALL {
        let (mut scene, _) = Scene::new(&terms, None);
        let word = message::refused(*refusal).unwrap();
        assert_eq!(scene.deliver(&(To::Source, word.clone())).unwrap_err(), *refusal);
        assert!(scene.source.is_over() && scene.source.answers());
        assert_eq!(scene.deliver(&(To::Destination, word)).unwrap_err(), *refusal);
    }
    // It is too late for the source that is dead.
    let (mut scene, _) = recorded();
    let word = message::refused(Refusal::GivenUp).unwrap();
    assert!(scene.deliver(&(To::Source, word.clone())).is_err() && scene.source.has_moved());
    assert!(scene.deliver(&(To::Destination, word)).is_err() && scene.destination.answers());
}

#[test]
fn a_message_of_another_version_or_kind_or_shape() {
    let terms = terms();
    let (_, (_, offer)) = Scene::new(&terms, None);
    let with = |at: usize, octet: u8| {
        let mut message = offer.clone();
        message[at] = octet;
        let (mut scene, _) = Scene::new(&terms, None);
        scene.deliver(&(To::Destination, message)).unwrap_err()
    };
    assert_eq!(with(0, 2), Refusal::Version);
    assert_eq!((with(1, 0), with(1, 13), with(2, 1), with(3, 1), with(7, 1)), {
        let shape = Refusal::Shape;
        (shape, shape, shape, shape, shape)
    });
    assert_eq!(with(4, 2), Refusal::Shape, "a flag that is unknown");
    let (mut scene, _) = Scene::new(&terms, None);
    let long = [&offer[..], &[0]].concat();
    assert_eq!(scene.deliver(&(To::Destination, long)).unwrap_err(), Refusal::Shape);
    assert_eq!(scene.deliver(&(To::Destination, vec![1, 2])).unwrap_err(), Refusal::Shape);
}

#[test]
fn messages_fit_into_a_frame_of_the_relay() {
    let (_, letters) = recorded();
    for (_, message) in letters {
        assert!(message.len() <= MAX_MESSAGE);
    }
    const { assert!(4 + message::MAX_CHUNK + 16 <= MAX_MESSAGE) };
}

#[test]
fn a_state_that_the_destination_has_not_kept_as_it_was_sent() {
    let terms = terms();
    let (mut scene, first) = Scene::new(&terms, None);
    let mut waiting = std::collections::VecDeque::from([first]);
    // Up to the last chunk.
    while waiting.len() != 1 || Kind::of(&waiting[0].1).unwrap().0 != Kind::Chunk {
        let letter = waiting.pop_front().unwrap();
        waiting.extend(scene.deliver(&letter).unwrap());
    }
    // The sides have one channel: a destination that has lost its mind could say anything in it.
    assert!(scene.destination.kept().is_err() && scene.destination.live().is_err());
    let mut kept = scene.deliver(&waiting[0]).unwrap().remove(0);
    kept.1[10] ^= 1;
    assert_eq!(scene.deliver(&kept).unwrap_err(), Refusal::Seal);
    assert!(scene.source.answers() && scene.tombstone.is_none());
}

/// A run whose other side is the test's.
fn with_own_channel() -> (Source<'static>, Destination<'static>, migration::Channel, migration::Channel) {
    use migration::channel::{Channel, Side};
    static TERMS: std::sync::LazyLock<[Terms; 2]> = std::sync::LazyLock::new(terms);
    let channel = |side, which: u8| Channel::new(side, &[which; 48], &[0; 48]);
    let [old, new] = [a().report(&[0; 64]), b().report(&[0; 64])];
    let bearer = Bearer { identity: IDENTITY, epoch: EPOCH, kept: true, grant: None };
    let source = Source::proven(&TERMS[0], &bearer, channel(Side::Source, 1), old, new);
    let mut destination = Destination::new(&TERMS[1], true, MOST, None).unwrap();
    destination.proven(IDENTITY, EPOCH, channel(Side::Destination, 2), new, old).unwrap();
    let (mine, mut others) = (channel(Side::Destination, 1), channel(Side::Source, 2));
    // The destination's ready.
    let ready = channel(Side::Destination, 2).seal(Kind::Ready, &[]).unwrap();
    assert!(others.open(&ready).unwrap().is_empty());
    (source, destination, mine, others)
}

#[test]
fn a_destination_that_has_kept_another_state() {
    let (mut source, _, mut mine, _) = with_own_channel();
    let ready = mine.seal(Kind::Ready, &[]).unwrap();
    assert!(matches!(source.receive(&ready, &mut a()), Ok(source::Next::HandOver)));
    source.hand_over(Wiped::of(vec![1, 2, 3]), EPOCH, BOOT_NONCE, &mut Seeded::new("")).unwrap();
    while source.next_chunk().unwrap().is_some() {}
    assert!(!source.answers());
    let other = digest(HashAlg::Sha384, &[&[1, 2, 4]]);
    let kept = mine.seal(Kind::Kept, other.as_slice()).unwrap();
    assert_eq!(source.receive(&kept, &mut a()).err(), Some(Refusal::Digest));
    assert!(source.answers());
}

#[test]
fn more_of_a_state_than_was_said_or_a_part_that_is_empty() {
    // Epoch, boot nonce, promise, and that it has four octets.
    let head = [&EPOCH.to_le_bytes()[..], &BOOT_NONCE, &[9; 48], &4_u64.to_le_bytes()].concat();
    for (chunks, outcome) in [
        (&[&[1, 2, 3, 4, 5][..]][..], Some(Refusal::Length)),
        (&[&[1, 2], &[3, 4, 5]], Some(Refusal::Length)),
        (&[&[]], Some(Refusal::Length)),
        (&[&[1], &[2, 3, 4]], None),
    ] {
        let (_, mut destination, _, mut others) = with_own_channel();
        let mut say = |kind, plain: &[u8]| {
            destination.receive(&others.seal(kind, plain).unwrap(), &mut b(), &mut Seeded::new("")).map(|_| ()).err()
        };
        assert_eq!(say(Kind::Head, &head), None);
        let said: Vec<_> = chunks.iter().map(|chunk| say(Kind::Chunk, chunk)).collect();
        assert_eq!(said.last(), Some(&outcome));
    }
}

/// What was shown in the proof may have been older by the time that the state is handed over, and not newer.
#[test]
fn a_state_that_is_older_than_the_proof_said() {
    let (_, mut destination, _, mut others) = with_own_channel();
    let head = [&(EPOCH - 1).to_le_bytes()[..], &BOOT_NONCE, &[9; 48], &4_u64.to_le_bytes()].concat();
    let message = others.seal(Kind::Head, &head).unwrap();
    let outcome = destination.receive(&message, &mut b(), &mut Seeded::new("")).map(|_| ());
    assert_eq!(outcome, Err(Refusal::Older));
}
