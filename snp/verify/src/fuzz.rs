//! What the fuzz target does with an input (`cargo xtask fuzz verify`): its first octet says as which format the rest
//! is read. Nothing may panic, and nothing may run for long.

use crate::evidence::boot_log::{self, BootLog};
use crate::evidence::claims::Claims;
use crate::evidence::event_log::{EventLog, initial_pcrs};
use crate::evidence::folder::{Evidence, FILES, Field, Kind, OPTIONAL};
use crate::evidence::ima::{Measurements, signature};
use crate::evidence::manifest::{self, Kept, flag};
use crate::evidence::services;
use crate::evidence::userspace::UserspaceLog;
use crate::evidence::wire::{Attest, Public, QuoteInfo, Signature, certified_name};
use crate::input::{self, certificates, tsm};
use crate::judge::{Expectations, Step, each_alone};
use crate::memory::Memory;
use crate::policy::{Policy, Rules};
use crate::roots::AMD;
use crate::{digest, events, pem};
use std::sync::LazyLock;
use std::time::SystemTime;

/// A format: its name, and what reads it.
pub type Format = (&'static str, fn(&[u8]));

/// Every format that comes from outside; the place in this list is the first octet.
pub const FORMATS: [Format; 18] = [
    ("policy file", policy),
    ("evidence in one file", of_file),
    ("certificate table", table),
    ("PEM", |bytes| drop(pem::all(bytes))),
    ("certificates", certificates_of),
    ("revocation list", list),
    ("boot log", boot_log_of),
    ("event log", |bytes| drop(EventLog::parse(bytes).and_then(|log| log.replay()))),
    ("IMA list", ima_list),
    ("TPM structures", structures),
    ("claims", claims),
    ("IGVM file", igvm),
    ("all parts", |bytes| alone(bytes, |step| !COSTLY.contains(&step))),
    ("all signatures", |bytes| alone(bytes, |step| COSTLY.contains(&step))),
    ("systemd's log", userspace_log),
    ("manifest", manifest_of),
    ("memory", memory_of),
    ("file signature", file_signature),
];

/// Steps whose cryptography takes most of the time.
const COSTLY: [Step; 5] =
    [Step::Chain, Step::ReportSignature, Step::Credential, Step::QuoteSignature, Step::EkCertificate];

/// Runs an input.
pub fn run(input: &[u8]) {
    let Some((which, bytes)) = input.split_first() else { return };
    if let Some((_, read)) = FORMATS.get(usize::from(*which)) {
        read(bytes);
    }
}

fn policy(bytes: &[u8]) {
    if let Ok(text) = core::str::from_utf8(bytes) {
        let _ = Policy::parse(text);
    }
}

fn of_file(bytes: &[u8]) {
    if let Ok(mut found) = input::of_file(bytes) {
        let _ = certificates::complete(&mut found.evidence, &found.certificates);
    }
}

fn table(bytes: &[u8]) {
    let _ = tsm::evidence(Vec::new(), bytes, Vec::new(), Vec::new());
    let evidence = Evidence { certificates: bytes.to_vec(), ..Evidence::default() };
    each_alone(&evidence, &expectations(), |step| step == Step::Chain);
}

fn certificates_of(bytes: &[u8]) {
    let mut evidence = Evidence { kind: Kind::Report, ..Evidence::default() };
    let _ = certificates::complete(&mut evidence, &[bytes.to_vec()]);
    let vcek = bytes.to_vec();
    let evidence = Evidence { report: vec![0; 0x4A0], ark: vcek.clone(), ask: vcek.clone(), vcek, ..evidence };
    each_alone(&evidence, &expectations(), |step| !COSTLY.contains(&step));
}

fn list(bytes: &[u8]) {
    let mut expected = expectations();
    expected.rules.crls = vec![bytes.to_vec()];
    let Some(ark) = AMD.first().map(|amd| amd.ark.clone()) else { return };
    let evidence = Evidence { ark: ark.clone(), ask: ark.clone(), vcek: ark, ..Evidence::default() };
    each_alone(&evidence, &expected, |step| step == Step::Revocation);
}

fn boot_log_of(bytes: &[u8]) {
    let Ok(log) = BootLog::parse(bytes) else { return };
    let _ = (log.check_data(), log.banks(), log.command_line(), log.replay(&mut initial_pcrs()));
    assert_eq!(log.in_order().len(), log.events.len() + log.notes.len(), "every event has its place");
    drop(events::of_log(&log));
}

fn ima_list(bytes: &[u8]) {
    let Ok(list) = Measurements::parse(bytes) else { return };
    let _ = (list.replay(&mut initial_pcrs()), list.check_boot(&initial_pcrs()));
    let _ = list.replay_to(&mut initial_pcrs(), |_| Some([0; 32]));
    drop(events::of_list(&list));
}

/// A certificate of a key that signs files, with a length of two octets before it, and a list.
fn file_signature(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk() else { return };
    let (certificate, list) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
    let Ok(key) = signature::Key::of_certificate(certificate) else { return };
    let Ok(list) = Measurements::parse(list) else { return };
    let _ = (signature::count(&list.entries), signature::judge(&list.entries, &[key]));
}

/// Of one service, or of all.
fn manifest_of(bytes: &[u8]) {
    let _ = (manifest::ek(bytes), manifest::kept(bytes), manifest::list(bytes), services::weaknesses(bytes));
    let evidence = Evidence { kind: Kind::Report, manifest: bytes.to_vec(), ..Evidence::default() };
    let mut expected = expectations();
    expected.remembered = Some(Memory::default());
    each_alone(&evidence, &expected, |step| [Step::State, Step::Remembered, Step::Weaknesses].contains(&step));
}

/// What is remembered, compared with a state that it knows or not.
fn memory_of(bytes: &[u8]) {
    let Some(mut memory) = core::str::from_utf8(bytes).ok().and_then(|text| Memory::parse(text).ok()) else { return };
    let said = Kept {
        identity: [0x1d; 32],
        epoch: 7,
        boot_nonce: [0xb0; 32],
        digest: [0xd1; 32],
        flags: flag::KEPT,
        came_from: [0; 32],
    };
    let _ = memory.compare(&said);
    memory.remember(&said);
    assert!(memory.compare(&said).is_ok(), "what was remembered is known");
}

fn userspace_log(bytes: &[u8]) {
    let Ok(log) = UserspaceLog::parse(bytes) else { return };
    let _ = (log.replay(&mut initial_pcrs()), log.replay_to(&mut initial_pcrs(), |_| Some([0; 32])));
    drop(events::of_userspace(&log));
}

fn structures(bytes: &[u8]) {
    if let Ok(public) = Public::parse(bytes) {
        assert_eq!(public.to_bytes(), bytes, "one form");
    }
    let _ = (Public::parse_tpm2b(bytes), Signature::parse(bytes), QuoteInfo::parse(bytes), certified_name(bytes));
    if let Ok(attest) = Attest::parse(bytes) {
        let _ = (QuoteInfo::parse(&attest.attested), certified_name(&attest.attested));
    }
}

fn claims(bytes: &[u8]) {
    if let Ok(claims) = Claims::parse(bytes) {
        let _ = (claims.ak(), claims.ek(), claims.user_data());
    }
}

/// The file's own checksum is put right, so that what it protects is reached.
fn igvm(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    if file.len() >= 24 {
        let headers = u32::from_le_bytes([file[12], file[13], file[14], file[15]]) as usize;
        file[20..24].fill(0);
        let end = 24_usize.saturating_add(headers).min(file.len());
        let sum = crc32(&file[..end]);
        file[20..24].copy_from_slice(&sum.to_le_bytes());
    }
    let _ = digest::measure(&file);
    let _ = boot_log::expected(&file);
}

/// CRC-32 as of IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// Kind, and all parts of evidence, a length of two octets before each.
fn alone(bytes: &[u8], steps: fn(Step) -> bool) {
    let Some((kind, mut rest)) = bytes.split_first() else { return };
    let kind = [Kind::Quoin, Kind::Report, Kind::Azure, Kind::Tpm, Kind::Certificate][usize::from(*kind % 5)];
    let mut evidence = Evidence { kind, ..Evidence::default() };
    for field in fields() {
        let Some((length, tail)) = rest.split_first_chunk() else { break };
        let (part, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)).min(tail.len()));
        *field(&mut evidence) = part.to_vec();
        rest = tail;
    }
    each_alone(&evidence, &expectations(), steps);
}

fn fields() -> impl Iterator<Item = Field> {
    let others: [Field; 2] = [|evidence| &mut evidence.claims, |evidence| &mut evidence.statement];
    FILES.into_iter().chain(OPTIONAL).map(|(_, field)| field).chain(others)
}

/// Rules of every kind.
static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::parse(RULES).unwrap_or_default());

fn expectations() -> Expectations {
    // As one of no use: what is fuzzed is what comes with the evidence.
    let rules =
        Rules { policy: POLICY.clone(), ek_roots: AMD.iter().map(|amd| amd.ark.clone()).collect(), ..Rules::default() };
    Expectations { rules, nonce: Some(vec![0; 64]), now: SystemTime::UNIX_EPOCH, ..Expectations::default() }
}

const RULES: &str = "version = 1
require = ['report', 'ek-certificate', 'ek', 'ak', 'credential', 'quote', 'event-log']
endorsement.providers = ['a']
revocation.required = true
report.versions = [2, 3, 4, 5]
guest-policy.smt = true
tcb = { milan.snp = 1, genoa.snp = 1, turin.fmc = 1 }
platform-info = { smt = false, no-other = true }
mitigations = { launch = 1, current = 1 }
launch.guest-svn = 1
ek.algorithms = ['rsa-2048', 'ecc-p521']
state = { kept = true, least-epoch = 1 }
firmware.weaknesses = ['tcb']
ak.algorithms = ['ecc-p256', 'rsa-2048']
pcrs.7 = '0000000000000000000000000000000000000000000000000000000000000000'
events = [{ pcr = 8, index = 1, contains = ['a'], lacks = ['b'] }, { pcr = 9, count = 'any', lacks = ['b'] }]
";

#[cfg(test)]
mod tests {
    use super::{FORMATS, RULES, fields, run};
    use crate::evidence::boot_log::tests::log;
    use crate::evidence::folder::{Evidence, Kind};
    use crate::evidence::ima::signature::tests::signed_file;
    use crate::evidence::ima::tests::{list, text};
    use crate::evidence::{credential, services, template};
    use crate::input::azure::tests::blob;
    use crate::judge::tests::authority::Crl;
    use crate::judge::tests::issuer;
    use crate::judge::tests::twin::Twin;
    use crate::policy::Policy;
    use crate::testing::{Header, igvm};
    use std::fs;
    use std::path::Path;

    const MEMORY: &str = concat!(
        r#"{"version":1,"tpms":{"1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d":{"epoch":6,"digest":"#,
        r#""d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1","boots":["#,
        r#""b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1"]}}}"#
    );

    fn parts(evidence: &Evidence) -> Vec<u8> {
        let kind = match evidence.kind {
            Kind::Quoin => 0,
            Kind::Report => 1,
            Kind::Azure => 2,
            Kind::Tpm => 3,
            Kind::Certificate => 4,
        };
        let mut bytes = vec![kind];
        for field in fields() {
            let part = field(&mut evidence.clone()).clone();
            bytes.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
            bytes.extend(part);
        }
        bytes
    }

    /// What is right, in each format.
    fn seeds() -> Vec<(&'static str, Vec<u8>)> {
        let twin = Twin { boot_events: log("quiet"), ..Twin::new() };
        let (folder, alone, azure) = (twin.evidence(), twin.report_alone(), twin.azure());
        let pem = |der: &[u8]| {
            use base64::Engine;
            let text = base64::engine::general_purpose::STANDARD.encode(der);
            let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| core::str::from_utf8(line).unwrap()).collect();
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n")).into_bytes()
        };
        let (certificate, (_, signer)) = (twin.certificate(), issuer::file_signer(1));
        let signed = [list(&[[3; 32]; 24]), signed_file(&[7; 32])].concat();
        let image = igvm(&[
            Header::Required { gpa: 0x1000, bytes: 0x1000 },
            Header::Page { gpa: 0, kind: 0, flags: 0, data: Some(&[1; 4096]) },
            Header::Area { bytes: 0x1000 },
            Header::Insert { gpa: 0x2000 },
            Header::Vmsa,
        ]);
        vec![
            ("policy file", RULES.into()),
            ("evidence in one file", blob(&azure)),
            ("evidence in one file", alone.report.clone()),
            ("certificate table", folder.certificates.clone()),
            ("PEM", pem(&folder.vcek)),
            ("certificates", folder.vcek.clone()),
            ("certificates", folder.ark.clone()),
            ("revocation list", Crl { root: "CN=ARK-Milan", ..Crl::revoking_the_intermediate() }.der()),
            ("boot log", folder.boot_events.clone()),
            ("boot log", crate::evidence::boot_log::tests::of_ovmf()),
            ("event log", folder.events.clone()),
            ("IMA list", list(&[[3; 32]; 24])),
            ("IMA list", text(&[[3; 32]; 24])),
            ("systemd's log", crate::evidence::userspace::tests::log()),
            ("TPM structures", folder.manifest.clone()),
            ("TPM structures", folder.ak.clone()),
            ("TPM structures", folder.quote.clone()),
            ("TPM structures", folder.quote_signature.clone()),
            ("TPM structures", credential::tests::eks().pop().unwrap().to_bytes()),
            ("TPM structures", template::EKS.iter().find(|ek| ek.number == "H-4").unwrap().public().to_bytes()),
            ("manifest", twin.listed().manifest),
            ("manifest", twin.stateful().manifest),
            ("manifest", services::tests::with_weaknesses(&folder.manifest, &[("tcb.milan.snp", "it is 7")])),
            ("memory", MEMORY.into()),
            ("file signature", [&u16::try_from(signer.len()).unwrap().to_be_bytes()[..], &signer, &signed].concat()),
            ("claims", azure.claims.clone()),
            ("IGVM file", image),
            ("all parts", parts(&folder)),
            ("all parts", parts(&alone)),
            ("all parts", parts(&azure)),
            ("all parts", parts(&twin.tpm())),
            ("all parts", parts(&certificate)),
            ("all signatures", parts(&certificate)),
            ("all signatures", parts(&twin.of_the_operator())),
            ("all signatures", parts(&folder)),
            ("all signatures", parts(&azure)),
            ("all signatures", parts(&twin.tpm())),
        ]
    }

    fn input(format: &str, bytes: &[u8]) -> Vec<u8> {
        let which = FORMATS.iter().position(|(name, _)| *name == format).unwrap();
        [&[u8::try_from(which).unwrap()], bytes].concat()
    }

    /// With `QUOIN_RECORD=DIR` they are written there, for the fuzz target to begin with.
    #[test]
    fn what_is_right_what_is_cut_off_and_what_is_nothing_is_read_in_every_format_without_a_panic() {
        Policy::parse(RULES).unwrap();
        for (number, (format, bytes)) in seeds().iter().enumerate() {
            let whole = input(format, bytes);
            if let Some(folder) = std::env::var_os("QUOIN_RECORD") {
                let folder = Path::new(&folder).join("verify");
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join(format!("seed-{number}")), &whole).unwrap();
            }
            run(&whole);
            (0..whole.len()).step_by(1 + whole.len() / 97).for_each(|length| run(&whole[..length]));
        }
        for which in 0..=u8::MAX {
            run(&[which]);
        }
        run(&[]);
        assert!(FORMATS.iter().all(|(name, _)| seeds().iter().any(|(format, _)| format == name)));
    }
}
