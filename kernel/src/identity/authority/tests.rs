use std::string::ToString;
use std::vec::Vec;

use tpm_crypto::ecc::Curve;
use tpm_crypto::hash::HashAlg;

use super::testing::{Ca, Says, extension, name};
use super::*;

/// The operator's root, an authority below it, and the firmware's issuer.
struct Scene {
    root: Ca,
    middle: Ca,
    issuer: Ca,
    need: u8,
}

/// What makes an answer's certificates: the issuer's, and the middle's.
type Change<'a> = &'a dyn Fn(&mut Says, &mut Says);

impl Scene {
    fn new() -> Scene {
        Scene {
            root: Ca::elliptic("root", Curve::NistP384),
            middle: Ca::elliptic("middle", Curve::NistP256),
            issuer: Ca::elliptic("issuer", Curve::NistP384),
            need: 1,
        }
    }

    fn setting(&mut self) -> Vec<u8> {
        [&[self.need, 0, 5, 0][..], &self.root.own(&Says::default())].concat()
    }

    fn authorities(&mut self) -> Authorities {
        Authorities::parse(&self.setting()).unwrap()
    }

    /// Issuer ← middle ← root, with changes.
    fn chain(&mut self, change: Change<'_>) -> Vec<Vec<u8>> {
        let (mut of_issuer, mut of_middle) = (Says::default(), Says::default());
        of_issuer.constraints = Some((true, Some(0)));
        change(&mut of_issuer, &mut of_middle);
        let issuer = self.middle.certify(&self.issuer.name, &self.issuer.key_info, &of_issuer);
        let middle = self.root.certify(&self.middle.name, &self.middle.key_info, &of_middle);
        [issuer, middle].to_vec()
    }

    fn accept(&mut self, chain: &[Vec<u8>]) -> Result<Certified, NotIssued> {
        let authorities = self.authorities();
        accept(&answer(chain), &authorities, &self.issuer.key_info)
    }

    fn why(&mut self, change: Change<'_>) -> Uncertified {
        let chain = self.chain(change);
        match self.accept(&chain).err().unwrap() {
            NotIssued::Uncertified(why) => why,
            other => panic!("{other}"),
        }
    }
}

/// Version 1, certificates.
fn answer(chain: &[Vec<u8>]) -> Vec<u8> {
    [&[1, 0, 0, 0, 0, 0, 0, 0][..], &chain.concat()].concat()
}

#[test]
fn a_chain_leads_to_the_authority_with_or_without_its_own_certificate() {
    let mut scene = Scene::new();
    let root = scene.root.own(&Says::default());
    let mut chain = scene.chain(&|issuer, _| issuer.key_id = Some([5; 20].to_vec()));
    let without = scene.accept(&chain).ok().unwrap();
    chain.push(root.clone());
    let with = scene.accept(&chain).ok().unwrap();
    for found in [without, with] {
        assert_eq!((found.chain.last(), found.chain.len()), (Some(&root), 3));
        assert_eq!((found.name, found.key_id), (name("issuer"), Some([5; 20].to_vec())));
    }
}

#[test]
fn an_authority_certifies_the_issuer_itself() {
    let mut scene = Scene::new();
    let direct = scene.root.certify(&scene.issuer.name, &scene.issuer.key_info, &Says::default());
    let found = scene.accept(&[direct]).ok().unwrap();
    assert_eq!((found.chain.len(), found.key_id), (2, None));
}

/// RSA with 2,048 to 4,096 bits, P-256 and P-384, each with SHA-256, SHA-384 and SHA-512.
#[test]
fn every_kind_of_key_and_hash_is_verified() {
    let kinds = [
        Ca::rsa("root", 2048),
        Ca::rsa("root", 3072),
        Ca::rsa("root", 4096),
        Ca::elliptic("root", Curve::NistP256),
        Ca::elliptic("root", Curve::NistP384),
    ];
    for root in kinds {
        let mut scene = Scene { root, ..Scene::new() };
        for hash in [HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512] {
            let chain = scene.chain(&|issuer, middle| (issuer.hash, middle.hash) = (hash, hash));
            assert_eq!(scene.accept(&chain).map(|found| found.chain.len()).ok(), Some(3));
        }
    }
}

#[test]
fn a_key_that_is_too_weak_or_unknown_is_no_authoritys() {
    let mut scene = Scene { root: Ca::rsa("root", 1024), ..Scene::new() };
    assert_eq!(Authorities::parse(&scene.setting()).err(), Some(SettingError::Key));
    let mut scene = Scene::new();
    // The curve's identifier.
    let at = scene.root.key_info.len() - 97 - 4;
    scene.root.key_info[at] ^= 1;
    assert_eq!(Authorities::parse(&scene.setting()).err(), Some(SettingError::Key));
    let mut scene = Scene::new();
    let last = scene.root.key_info.len() - 1;
    scene.root.key_info[last] ^= 1;
    assert_eq!(Authorities::parse(&scene.setting()).err(), Some(SettingError::Key), "no point of the curve");
}

#[test]
fn the_first_certificate_is_of_the_issuer_of_this_boot() {
    let mut scene = Scene::new();
    let other = Ca::elliptic("another boot", Curve::NistP384);
    let chain = [scene.root.certify(&scene.issuer.name, &other.key_info, &Says::default())];
    assert_eq!(scene.accept(&chain).err(), Some(NotIssued::Uncertified(Uncertified::Key)));
    let mut turned = scene.chain(&|_, _| ());
    turned.reverse();
    assert_eq!(scene.accept(&turned).err(), Some(NotIssued::Uncertified(Uncertified::Key)));
    let nameless = [scene.root.certify(&[0x30, 0], &scene.issuer.key_info, &Says::default())];
    assert_eq!(scene.accept(&nameless).err(), Some(NotIssued::Uncertified(Uncertified::Subject)));
}

#[test]
fn each_certificate_is_an_authoritys() {
    let mut scene = Scene::new();
    for none in [None, Some((false, None))] {
        assert_eq!(scene.why(&|issuer, _| issuer.constraints = none), Uncertified::NotAuthority);
        assert_eq!(scene.why(&|_, middle| middle.constraints = none), Uncertified::NotAuthority);
    }
    // digitalSignature, and all but keyCertSign.
    for usage in [[7, 0x80], [0, 0xfb]] {
        assert_eq!(scene.why(&|issuer, _| issuer.usage = Some(usage)), Uncertified::KeyUsage);
        assert_eq!(scene.why(&|_, middle| middle.usage = Some(usage)), Uncertified::KeyUsage);
    }
    assert_eq!(scene.why(&|_, middle| middle.constraints = Some((true, Some(0)))), Uncertified::PathLength);
    let chain = scene.chain(&|issuer, middle| (issuer.usage, middle.usage) = (None, None));
    assert!(scene.accept(&chain).is_ok(), "an extension that RFC 5280 leaves to the authority");
    let chain = scene.chain(&|_, middle| middle.constraints = Some((true, Some(1))));
    assert!(scene.accept(&chain).is_ok());
}

#[test]
fn each_is_signed_by_the_next() {
    let mut scene = Scene::new();
    let mut chain = scene.chain(&|_, _| ());
    let whole = chain.clone();
    chain.remove(1);
    assert_eq!(scene.accept(&chain).err(), Some(NotIssued::Uncertified(Uncertified::Name)), "one is missing");
    for at in [0, 1] {
        let mut chain = whole.clone();
        *chain[at].last_mut().unwrap() ^= 1;
        assert_eq!(scene.accept(&chain).err(), Some(NotIssued::Uncertified(Uncertified::Signature)), "{at}");
    }
    let other = Some(name("somebody else"));
    assert_eq!(scene.why(&|issuer, _| issuer.issuer.clone_from(&other)), Uncertified::Name);
    assert_eq!(scene.why(&|_, middle| middle.issuer.clone_from(&other)), Uncertified::Name);
    let chain = Scene { root: Ca::elliptic("root ", Curve::NistP384), ..Scene::new() }.chain(&|_, _| ());
    assert_eq!(scene.accept(&chain).err(), Some(NotIssued::Uncertified(Uncertified::Name)));
    // The same name, and another key.
    let mut root = Ca::elliptic("a key of its own", Curve::NistP384);
    root.name = name("root");
    let chain = Scene { root, ..Scene::new() }.chain(&|_, _| ());
    assert_eq!(scene.accept(&chain).err(), Some(NotIssued::Uncertified(Uncertified::Signature)));
}

#[test]
fn of_two_authorities_with_one_name_the_right_one_is_found() {
    let mut scene = Scene::new();
    let mut other = Ca::elliptic("another root", Curve::NistP256);
    other.name = name("root");
    let setting = [&scene.setting()[..], &other.own(&Says::default())].concat();
    for setting in [setting, [&[1, 0, 5, 0], &other.own(&Says::default())[..], &scene.setting()[4..]].concat()] {
        let authorities = Authorities::parse(&setting).unwrap();
        assert_eq!(authorities.count(), 2);
        let chain = scene.chain(&|_, _| ());
        assert!(accept(&answer(&chain), &authorities, &scene.issuer.key_info).is_ok());
    }
}

#[test]
fn what_a_certificate_says_that_is_not_known_here_is_refused_if_it_is_critical() {
    let mut scene = Scene::new();
    // nameConstraints
    let constraints = |is_critical| extension(&[0x55, 0x1d, 0x1e], is_critical, &[0x30, 0]);
    let why = scene.why(&|issuer, _| issuer.more = constraints(true));
    assert_eq!(why, Uncertified::Unreadable(Unreadable::Extension));
    let chain = scene.chain(&|issuer, _| issuer.more = constraints(false));
    assert!(scene.accept(&chain).is_ok());
    let twice = [constraints(false), constraints(false)].concat();
    let why = scene.why(&|issuer, _| issuer.more.clone_from(&twice));
    assert_eq!(why, Uncertified::Unreadable(Unreadable::Twice));
}

#[test]
fn a_certificate_is_of_version_3_and_names_one_algorithm() {
    let mut scene = Scene::new();
    for version in [std::vec![], std::vec![0xa0, 3, 2, 1, 1], std::vec![0xa0, 3, 2, 1, 3]] {
        let why = scene.why(&|issuer, _| issuer.version.clone_from(&version));
        assert_eq!(why, Uncertified::Unreadable(Unreadable::Version));
    }
    let other = scene.root.algorithm(HashAlg::Sha256);
    let why = scene.why(&|issuer, _| issuer.algorithm = Some(other.clone()));
    assert_eq!(why, Uncertified::Unreadable(Unreadable::Algorithm));
    // ecdsa-with-SHA1
    let mut chain = scene.chain(&|_, _| ());
    let sha384 = scene.root.algorithm(HashAlg::Sha384);
    while let Some(at) = chain[0].windows(sha384.len()).position(|window| window == sha384) {
        chain[0][at + sha384.len() - 2..at + sha384.len()].copy_from_slice(&[1, 1]);
    }
    assert_eq!(
        scene.accept(&chain).err(),
        Some(NotIssued::Uncertified(Uncertified::Unreadable(Unreadable::Algorithm)))
    );
}

#[test]
fn an_answer_has_one_to_four_certificates_that_fit_into_an_nv_index() {
    let mut scene = Scene::new();
    assert_eq!(scene.accept(&[]).err(), Some(NotIssued::Uncertified(Uncertified::None)));
    let chain = scene.chain(&|_, _| ());
    let five = [&chain[..], &chain, &chain].concat();
    assert_eq!(scene.accept(&five).err(), Some(NotIssued::Uncertified(Uncertified::TooMany)));
    let padding = extension(&[1, 2, 3], false, &[0; 4096]);
    assert_eq!(scene.why(&|issuer, _| issuer.more.clone_from(&padding)), Uncertified::TooLong);
}

#[test]
fn an_answer_is_of_version_1_and_of_a_known_kind() {
    let mut scene = Scene::new();
    let good = answer(&scene.chain(&|_, _| ()));
    let authorities = scene.authorities();
    let why = |message: &[u8]| accept(message, &authorities, &scene.issuer.key_info).err();
    for length in 0..8 {
        assert_eq!(why(&good[..length]), Some(NotIssued::Malformed(Malformed::Short)), "{length}");
    }
    let with = |at: usize, octet: u8| {
        let mut message = good.clone();
        message[at] = octet;
        message
    };
    assert_eq!(why(&with(0, 2)), Some(NotIssued::Malformed(Malformed::Version)));
    assert_eq!(why(&with(3, 1)), Some(NotIssued::Malformed(Malformed::Version)));
    assert_eq!(why(&with(4, 2)), Some(NotIssued::Malformed(Malformed::Kind)));
    assert_eq!(why(&[&good[..], &[0x30]].concat()), Some(NotIssued::Malformed(Malformed::Certificates)));
    assert_eq!(why(&good[..good.len() - 1]), Some(NotIssued::Malformed(Malformed::Certificates)));
    assert!(why(&good).is_none());
}

#[test]
fn a_refusal_is_told_in_the_operators_words() {
    let mut scene = Scene::new();
    let authorities = scene.authorities();
    let words = [b"the launch digest is none of ours\n\x1b[2J".as_slice(), &[b'x'; 200]].concat();
    let message = [&[1, 0, 0, 0, 1, 0, 0, 0][..], &words].concat();
    let why = accept(&message, &authorities, &scene.issuer.key_info).err().unwrap().to_string();
    assert!(why.starts_with("the operator refuses: the launch digest is none of ours??[2Jxx"), "{why}");
    assert_eq!(why.len(), "the operator refuses: ".len() + 80);
}

/// However an answer is changed, nothing is accepted but what says the same: octets of a signature have more than one
/// form in no encoding that is read here, and what is not signed is the algorithm, which stands in the body, too.
#[test]
fn every_bit_of_an_answer_counts() {
    let mut scene = Scene::new();
    let good = answer(&scene.chain(&|_, _| ()));
    let authorities = scene.authorities();
    for bit in 0..good.len() * 8 {
        let mut message = good.clone();
        message[bit / 8] ^= 1 << (bit % 8);
        assert!(accept(&message, &authorities, &scene.issuer.key_info).is_err(), "bit {bit}");
    }
    for length in 0..good.len() {
        let cut = accept(&good[..length], &authorities, &scene.issuer.key_info);
        assert!(cut.is_err(), "{length} octets");
    }
}

/// Octets that are changed anywhere, several at once: no panic, and nothing accepted.
#[test]
fn no_made_up_answer_is_accepted() {
    let mut scene = Scene::new();
    let good = answer(&scene.chain(&|_, _| ()));
    let authorities = scene.authorities();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    for _ in 0..20_000 {
        let mut message = good.clone();
        for _ in 0..=random(4) {
            let at = random(message.len());
            match random(4) {
                0 => message.iter_mut().skip(at).take(1).for_each(|octet| *octet = u8::try_from(random(256)).unwrap()),
                1 => drop(message.drain(at..(at + random(9)).min(message.len()))),
                2 => {
                    let (from, len) = (random(message.len()), random(40));
                    let part = message[from..(from + len).min(message.len())].to_vec();
                    message.splice(at..at, part);
                }
                _ => message.truncate(at.max(1)),
            }
        }
        if message != good {
            assert!(accept(&message, &authorities, &scene.issuer.key_info).is_err(), "{message:02x?}");
        }
    }
}

#[test]
fn a_setting_is_as_documented_or_ends_the_boot() {
    let mut scene = Scene::new();
    let good = scene.setting();
    let parsed = Authorities::parse(&good).unwrap();
    assert_eq!((parsed.need, parsed.wait_s, parsed.count()), (Need::Required, 5, 1));
    let with = |at: usize, octet: u8| {
        let mut setting = good.clone();
        setting[at] = octet;
        Authorities::parse(&setting)
    };
    assert_eq!(with(0, 2).unwrap().need, Need::Preferred);
    for (at, octet) in [(0, 0), (0, 3), (1, 1), (2, 0)] {
        assert_eq!(with(at, octet).err(), Some(SettingError::Value), "{at}");
    }
    for length in 0..4 {
        assert_eq!(Authorities::parse(&good[..length]).err(), Some(SettingError::Short));
    }
    assert_eq!(Authorities::parse(&good[..4]).err(), Some(SettingError::Certificates));
    assert_eq!(Authorities::parse(&good[..good.len() - 1]).err(), Some(SettingError::Certificates));
    let five = [&good[..4], &[&good[4..]; 5].concat()].concat();
    assert_eq!(Authorities::parse(&five).err(), Some(SettingError::Certificates));
    let own = |says: Says| Authorities::parse(&[&[1, 0, 5, 0], &scene.root.own(&says)[..]].concat()).err();
    let none = SettingError::Authority(Uncertified::NotAuthority);
    assert_eq!(own(Says { constraints: None, ..Says::default() }), Some(none));
    // The issuer is an authority, too.
    let short = SettingError::Authority(Uncertified::PathLength);
    assert_eq!(own(Says { constraints: Some((true, Some(0))), ..Says::default() }), Some(short));
    let usage = SettingError::Authority(Uncertified::KeyUsage);
    assert_eq!(own(Says { usage: Some([7, 0x80]), ..Says::default() }), Some(usage));
}

/// The development authority of the machine's processor, by another program (RSA-4096 with RSASSA-PSS is none of ours).
#[test]
fn certificates_of_others_are_read_or_refused_by_name() {
    let ark = include_bytes!("../../../../tests/machine/psp/ark.der");
    match Certificate::parse(ark) {
        Ok(ark) => assert!(ark.is_signed_by(ark.key_info) && ark.says.is_authority),
        Err(why) => assert_eq!(why, Unreadable::Algorithm),
    }
}

/// What a host does with messages.
#[derive(Default)]
struct Host {
    sent: Vec<Vec<u8>>,
    answers: Vec<Option<Vec<u8>>>,
    gone: bool,
}

impl Channel for Host {
    fn send(&mut self, message: &[u8]) -> Result<(), Unreachable> {
        self.sent.push(message.to_vec());
        if self.gone { Err(Unreachable) } else { Ok(()) }
    }

    fn receive(&mut self) -> Result<Option<Vec<u8>>, Unreachable> {
        if self.answers.is_empty() { Ok(None) } else { Ok(self.answers.remove(0)) }
    }
}

#[test]
fn an_answer_is_waited_for_until_its_time_is_over() {
    let mut now = 7;
    let mut clock = || {
        now += 100;
        now
    };
    let mut host = Host { answers: [None, None, Some(b"yes".to_vec())].to_vec(), ..Host::default() };
    assert_eq!(ask(&mut host, b"please", 5, &mut clock), Ok(b"yes".to_vec()));
    assert_eq!(host.sent, [b"please"]);
    let mut asked = 0;
    let mut clock = || {
        asked += 1;
        asked * 100
    };
    assert_eq!(ask(&mut Host::default(), b"", 5, &mut clock), Err(NotIssued::Late));
    assert_eq!(asked, 51);
    let mut host = Host { gone: true, ..Host::default() };
    assert_eq!(ask(&mut host, b"", 5, &mut || 0), Err(NotIssued::Unreachable));
}
