//! What the facts mean for the verbs: a pure function, so that computers that nobody here has can be judged, too.

use super::facts::{Facts, PORTS, Qemu, SUITES};
use super::mirror::Reach;
use crate::{capi, package};
use host::debian::{Installer, Wanted};
use host::guest::module::BUILT_WITH;
use host::qemu;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// `image`, `measure`, `verify`, `tpm`.
    Build,
    /// `run`.
    Run,
    /// `test`, `ci`.
    Ci,
    /// `demo`, `guest`, `image --debian`.
    Guest,
}

/// All, and the verbs that they are.
pub const USES: [(Use, &str); 4] = [
    (Use::Run, "run"),
    (Use::Ci, "test, ci"),
    (Use::Guest, "demo, guest, image --debian"),
    (Use::Build, "image, measure, verify, tpm"),
];

const ALL: &[Use] = &[Use::Build, Use::Run, Use::Ci, Use::Guest];
const BOOTS: &[Use] = &[Use::Run, Use::Ci, Use::Guest];
const GUESTS: &[Use] = &[Use::Ci, Use::Guest];
const CI: &[Use] = &[Use::Ci];

/// What guests are fetched, unpacked and built with.
const FETCH: [Wanted; 3] = [("apt-get", "apt"), ("dpkg-deb", "dpkg"), ("xz", "xz-utils")];
/// What the suites call besides those of [`booted::tools`].
const SUITES_CALL: [Wanted; 2] = [("git", "git"), ("bash", "bash")];

/// MiB of memory that a build of the firmware takes at most, with a machine of 512 MiB beside it.
const MEMORY: u64 = 2048;
/// MiB that a clean checkout's target directory grows to by `demo`, doubled; and by `ci`, which a checkout where it has
/// run before has no longer to find.
const DISK: u64 = 2 * 1024;
const DISK_CI: u64 = 16 * 1024;

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As it should be.
    Fine,
    /// Not there, and the verb that needs it brings it.
    Comes,
    /// Worth knowing.
    Note,
    /// Not there.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it is.
    pub status: Status,
    /// What it is.
    pub subject: &'static str,
    /// In words.
    pub text: String,
    /// Who needs it.
    pub needed_by: &'static [Use],
}

/// Every program that any of these verbs calls, and who calls it.
pub fn programs() -> Vec<(Wanted, &'static [Use])> {
    let mut programs = vec![(qemu::PROGRAM, BOOTS)];
    let suites = booted::tools::PROGRAMS.iter().chain(&SUITES_CALL).chain(&package::PROGRAMS).chain(&capi::PROGRAMS);
    programs.extend(suites.map(|wanted| (*wanted, CI)));
    programs.extend(FETCH.iter().chain(&BUILT_WITH).map(|wanted| (*wanted, GUESTS)));
    programs
}

/// What is to be said of the facts.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = rust(facts);
    findings.extend(facts.qemu.as_ref().map(emulator));
    findings.extend(packages(facts));
    findings.push(enough("memory", facts.memory, MEMORY, BOOTS, &format!(", {} cores", facts.cores)));
    findings.push(enough("disk", facts.disk, DISK, ALL, ""));
    if facts.disk.is_some_and(|free| (DISK..DISK_CI).contains(&free)) {
        let text = format!("the first `ci` of a checkout takes {}", gib(DISK_CI));
        findings.push(Finding { status: Status::Note, subject: "disk", text, needed_by: CI });
    }
    findings.push(ports(&facts.taken));
    findings.extend(suites(facts));
    findings
}

/// What keeps a use from working; nothing if it works.
pub fn against(findings: &[Finding], what: Use) -> Vec<&Finding> {
    let is_against = |finding: &&Finding| finding.status == Status::Missing && finding.needed_by.contains(&what);
    findings.iter().filter(is_against).collect()
}

fn rust(facts: &Facts) -> Vec<Finding> {
    let rust = &facts.rust;
    let finding = |status, text, needed_by| Finding { status, subject: "Rust", text, needed_by };
    let mut findings = vec![match &rust.version {
        Some(version) if version.contains(&rust.wanted) => finding(Status::Fine, version.clone(), ALL),
        Some(version) => finding(Status::Missing, format!("{version}, but {} is wanted", rust.wanted), ALL),
        None => {
            finding(Status::Missing, format!("{} is wanted: `rustup toolchain install` brings it", rust.wanted), ALL)
        }
    }];
    for part in &rust.missing {
        let needed_by = if *part == "rust-lld" { ALL } else { CI };
        findings.push(finding(
            Status::Missing,
            format!("its part {part}: `rustup component add` brings it"),
            needed_by,
        ));
    }
    for (subject, there) in &rust.tools {
        let (status, text) = if *there {
            (Status::Fine, "is built".to_owned())
        } else {
            (Status::Comes, "`ci` builds it, once (some minutes)".to_owned())
        };
        findings.push(Finding { status, subject, text, needed_by: CI });
    }
    findings
}

fn emulator(found: &Qemu) -> Finding {
    let mut lacks = Vec::new();
    if !found.tcg {
        lacks.push("TCG");
    }
    if !found.model {
        lacks.push(qemu::CPU_MODEL);
    }
    let (status, rest) = if lacks.is_empty() {
        (Status::Fine, format!("with TCG and {}", qemu::CPU_MODEL))
    } else {
        (Status::Missing, format!("without {}", lacks.join(" and ")))
    };
    Finding { status, subject: "QEMU", text: format!("{}, {rest}", found.version), needed_by: BOOTS }
}

fn packages(facts: &Facts) -> Vec<Finding> {
    let needed_by = |wanted: &Wanted| programs().into_iter().find(|(known, _)| known == wanted).map(|(_, uses)| uses);
    let mut findings = Vec::new();
    for uses in [BOOTS, CI, GUESTS] {
        let mut absent: Vec<&str> =
            facts.absent.iter().filter(|wanted| needed_by(wanted) == Some(uses)).map(|(_, package)| *package).collect();
        absent.dedup();
        if !absent.is_empty() {
            findings.push(to_install(facts, &absent, uses));
        }
    }
    if findings.is_empty() {
        let text = "all programs that are called are there".to_owned();
        findings.push(Finding { status: Status::Fine, subject: "packages", text, needed_by: BOOTS });
    }
    findings
}

fn to_install(facts: &Facts, absent: &[&str], needed_by: &'static [Use]) -> Finding {
    let named = absent.join(" ");
    let silent = facts.suites.iter().any(|(_, reach)| matches!(reach, Reach::Silent(_)));
    let (status, text) = match facts.installer {
        Installer::Root | Installer::Sudo if silent => {
            (Status::Missing, format!("{named}: apt-get would install it, but the mirror does not answer"))
        }
        Installer::Root => (Status::Comes, format!("{named}: apt-get installs it when it is needed")),
        Installer::Sudo => (Status::Comes, format!("{named}: sudo apt-get installs it when it is needed")),
        Installer::Other => (Status::Missing, format!("{named}: sudo apt-get install --no-install-recommends {named}")),
        Installer::None => {
            (Status::Missing, format!("{named} (of Debian), or what this system calls it; there is no apt-get"))
        }
    };
    Finding { status, subject: "packages", text, needed_by }
}

fn enough(subject: &'static str, free: Option<u64>, wanted: u64, needed_by: &'static [Use], more: &str) -> Finding {
    let (status, text) = match free {
        None => (Status::Note, "how much is free cannot be seen".to_owned()),
        Some(free) if free < wanted => (Status::Missing, format!("{} free, {} are wanted", gib(free), gib(wanted))),
        Some(free) => (Status::Fine, format!("{} free{more}", gib(free))),
    };
    Finding { status, subject, text, needed_by }
}

fn gib(mib: u64) -> String {
    format!("{}.{} GiB", mib / 1024, mib % 1024 * 10 / 1024)
}

fn ports(taken: &[u16]) -> Finding {
    let [first, second] = PORTS;
    let (status, text) = if taken.is_empty() {
        (Status::Fine, format!("{first} and {second} are free"))
    } else {
        let taken: Vec<String> = taken.iter().map(u16::to_string).collect();
        (Status::Note, format!("{} taken: `run` wants --once, or --port with another", taken.join(", ")))
    };
    Finding { status, subject: "ports", text, needed_by: &[Use::Run] }
}

fn suites(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !facts.keys && SUITES.iter().any(|(_, folder)| !facts.fetched.contains(folder)) {
        let text = "the keys of Debian's archive: they are in the package debian-archive-keyring".to_owned();
        findings.push(Finding { status: Status::Missing, subject: "guests", text, needed_by: GUESTS });
    }
    for (suite, folder) in SUITES {
        let needed_by = if folder == "ovmf" { CI } else { GUESTS };
        let reach = facts.suites.iter().find(|(asked, _)| *asked == suite).map(|(_, reach)| reach);
        let (status, text) = match reach {
            _ if facts.fetched.contains(&folder) => (Status::Fine, "packages are in target/guest".to_owned()),
            Some(Reach::Yes) => (Status::Comes, "apt-get fetches packages, once".to_owned()),
            Some(Reach::Unknown(why)) => (Status::Note, format!("whether packages can be had is not known: {why}")),
            Some(Reach::Absent(why) | Reach::Silent(why)) => {
                (Status::Missing, format!("packages cannot be had: {why}"))
            }
            None => (Status::Missing, "packages cannot be had: apt's sources name no mirror".to_owned()),
        };
        findings.push(Finding { status, subject: suite, text, needed_by });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{Status, USES, Use, against, findings, programs};
    use crate::doctor::facts::{Facts, Qemu, Rust, SUITES};
    use crate::doctor::hardware::Host;
    use crate::doctor::mirror::Reach;
    use host::debian::Installer;

    /// A computer where all is there, but what a first run fetches.
    fn computer() -> Facts {
        Facts {
            qemu: Some(Qemu { version: "7.2.22".into(), tcg: true, model: true, ..Qemu::default() }),
            memory: Some(8192),
            cores: 2,
            disk: Some(100 * 1024),
            taken: Vec::new(),
            absent: Vec::new(),
            installer: Installer::Other,
            rust: Rust {
                version: Some("rustc 1.95.0 (x)".into()),
                wanted: "1.95.0".into(),
                missing: Vec::new(),
                tools: vec![("cargo-deny", false), ("cargo-deb", true)],
            },
            suites: SUITES.map(|(suite, _)| (suite, Reach::Yes)).into(),
            fetched: Vec::new(),
            keys: true,
            host: Host::default(),
        }
    }

    /// The verbs that do not work, and why.
    fn broken(change: impl FnOnce(&mut Facts)) -> Vec<(Use, String)> {
        let mut facts = computer();
        change(&mut facts);
        let findings = findings(&facts);
        let broken = USES.iter().filter_map(|(what, _)| Some((*what, against(&findings, *what).first()?.text.clone())));
        broken.collect()
    }

    fn uses(change: impl FnOnce(&mut Facts)) -> Vec<Use> {
        broken(change).into_iter().map(|(what, _)| what).collect()
    }

    fn without_qemu(facts: &mut Facts) {
        facts.qemu = None;
        facts.absent = vec![host::qemu::PROGRAM];
    }

    #[test]
    fn where_all_is_there_all_works() {
        assert_eq!(uses(|_| ()), []);
        assert!(findings(&computer()).iter().any(|finding| finding.status == Status::Comes), "what comes is no fault");
    }

    #[test]
    fn without_qemu_nothing_boots_but_where_it_can_be_installed() {
        let others = broken(without_qemu);
        assert_eq!(others.iter().map(|(what, _)| *what).collect::<Vec<_>>(), [Use::Run, Use::Ci, Use::Guest]);
        assert!(others[0].1.contains("sudo apt-get install --no-install-recommends qemu-system-x86"), "{others:?}");
        for installer in [Installer::Root, Installer::Sudo] {
            let can = |facts: &mut Facts| {
                without_qemu(facts);
                facts.installer = installer;
            };
            assert_eq!(uses(can), []);
            let offline = |facts: &mut Facts| {
                can(facts);
                facts.suites = vec![("trixie", Reach::Silent("no answer".into()))];
            };
            assert!(broken(offline)[0].1.contains("the mirror does not answer"));
        }
        let elsewhere = |facts: &mut Facts| {
            without_qemu(facts);
            facts.installer = Installer::None;
        };
        assert!(broken(elsewhere)[0].1.contains("there is no apt-get"));
    }

    #[test]
    fn a_qemu_that_cannot_emulate_is_none() {
        let without = |change: fn(&mut Qemu)| broken(|facts| facts.qemu.iter_mut().for_each(change));
        assert_eq!(without(|qemu| qemu.tcg = false)[0], (Use::Run, "7.2.22, without TCG".into()));
        assert_eq!(without(|qemu| qemu.model = false)[0], (Use::Run, "7.2.22, without EPYC-Milan".into()));
        assert_eq!(without(|qemu| qemu.kvm = false), [], "nor is KVM needed");
    }

    #[test]
    fn what_only_suites_call_keeps_nobody_else_from_working() {
        assert_eq!(uses(|facts| facts.absent = vec![("tpm2_getcap", "tpm2-tools")]), [Use::Ci]);
        assert_eq!(uses(|facts| facts.absent = vec![("make", "make")]), [Use::Ci, Use::Guest]);
        assert_eq!(uses(|facts| facts.rust.missing = vec!["clippy"]), [Use::Ci]);
        let all = [Use::Run, Use::Ci, Use::Guest, Use::Build];
        assert_eq!(uses(|facts| facts.rust.missing = vec!["rust-lld"]), all);
        assert_eq!(uses(|facts| facts.rust.version = Some("rustc 1.80.0".into())), all);
        assert_eq!(uses(|facts| facts.rust.version = None), all);
    }

    #[test]
    fn memory_and_disk_are_enough_or_not() {
        assert_eq!(uses(|facts| facts.memory = Some(1000)), [Use::Run, Use::Ci, Use::Guest]);
        assert_eq!(broken(|facts| facts.memory = Some(1500))[0].1, "1.4 GiB free, 2.0 GiB are wanted");
        assert_eq!(uses(|facts| facts.memory = None), [], "what cannot be seen is no fault");
        assert_eq!(uses(|facts| facts.disk = Some(1000)).len(), 4);
        let mut facts = computer();
        facts.disk = Some(6000);
        let said: Vec<_> = findings(&facts).into_iter().filter(|finding| finding.subject == "disk").collect();
        assert_eq!((said[0].status, said[1].status), (Status::Fine, Status::Note), "{said:?}");
    }

    #[test]
    fn a_port_that_is_taken_has_a_way_around() {
        assert_eq!(uses(|facts| facts.taken = vec![2321]), []);
        let mut facts = computer();
        facts.taken = vec![2321];
        assert!(
            findings(&facts).iter().any(|finding| finding.text.contains("2321 taken: `run` wants --once, or --port"))
        );
    }

    #[test]
    fn suites_are_there_or_fetched_or_missing() {
        let absent = |suite: &'static str| {
            move |facts: &mut Facts| {
                facts.suites = SUITES
                    .map(|(one, _)| (one, if one == suite { Reach::Absent("404".into()) } else { Reach::Yes }))
                    .into();
            }
        };
        assert_eq!(uses(absent("trixie-backports")), [Use::Ci, Use::Guest]);
        assert_eq!(uses(absent("forky")), [Use::Ci]);
        let kept = |facts: &mut Facts| {
            absent("trixie")(facts);
            facts.fetched = vec!["debian"];
        };
        assert_eq!(uses(kept), []);
        assert_eq!(uses(|facts| facts.suites = Vec::new()), [Use::Ci, Use::Guest]);
        assert_eq!(
            uses(|facts| facts.suites = vec![("trixie", Reach::Unknown("https".into()))]),
            [Use::Ci, Use::Guest]
        );
        assert_eq!(uses(|facts| facts.keys = false), [Use::Ci, Use::Guest]);
    }

    #[test]
    fn every_program_has_a_package_and_somebody_who_calls_it() {
        for ((program, package), uses) in programs() {
            assert!(!program.is_empty() && !package.is_empty() && uses.contains(&Use::Ci), "{program}");
        }
    }
}
