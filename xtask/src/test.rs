//! `cargo xtask test`: everything, and one line at the end.

mod lanes;

use crate::tools::Tool;
use crate::{capi, clients, embedding, needs, package, pictures, proofs, served};
use anyhow::{Context, Result, ensure};
use booted::Totals;
use host::boot::{self, Built};
use host::figures::{self, Figure};
use host::{debian, qemu};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

/// Options of `cargo xtask test`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Only what needs no QEMU: under two minutes once compiled.
    #[arg(long)]
    fast: bool,
    /// Only the suites whose names contain this, such as `hostile`. Some run only so, most with an operating system
    /// (`guest: …`) among them: `--list` says which.
    #[arg(long, value_name = "TEXT", value_parser = part_of_a_name, default_value = "", hide_default_value = true)]
    suite: String,
    /// Runs the suites in QEMU one after another; else there are two at once, where there are two cores.
    #[arg(long)]
    one_at_a_time: bool,
    /// One suite in QEMU by its whole name, for the process that runs several.
    #[arg(long, hide = true, value_name = "NAME", conflicts_with_all = ["fast", "suite", "list"])]
    only: Option<String>,
    /// Prints the names of all suites, and which run only when they are named.
    #[arg(long, conflicts_with_all = ["fast", "suite"])]
    list: bool,
}

/// A suite in QEMU: its name and its cases.
type InQemu = (&'static str, fn(&Built) -> Result<Totals>);

/// A suite without QEMU: its name and its cases.
type WithoutQemu = (&'static str, fn() -> Result<Totals>);

/// What is proved about the engine as it is compiled: each as a suite of one case.
const PROOFS: &[WithoutQemu] = &[
    ("engine: every documented response code is seen in its tests", || proofs::as_suite(proofs::codes)),
    ("engine: no panic survives linking", || proofs::as_suite(proofs::panics)),
];

/// Those whose number of cases is a figure.
const FIGURES: [(&str, Figure); 2] =
    [("hostile guest at VMPL2", Figure::Hostile), ("machine: rules and launches", Figure::Machine)];

/// What users install.
const PRODUCTS: &[WithoutQemu] = &[
    ("deb: the server's Debian package", package::deb),
    ("embed: the library for C", capi::suite),
    ("embed: the page, followed in an empty folder", embedding::suite),
    ("embed: stack and memory", needs::suite),
    (INSTALL, package::install),
    (PAGE, pictures::run),
    (REPORTS, ::clients::reports::run),
    (LOGS, ::clients::logs::run),
    (ETCD, booted::etcd::run),
];

/// Compiles all crates of the products anew, from the registry. Only by name.
const INSTALL: &str = "install: the products, where there is only cargo";

/// Fetches a browser, which is 200 MB with its libraries. Only by name.
const PAGE: &str = "page: the verifier's page in a browser";

/// Fetches packages of others, with reports in them. Only by name.
const REPORTS: &str = "evidence: reports of real processors";

/// Fetches Debian's Go, with other projects' logs. Only by name.
const LOGS: &str = "evidence: logs of real machines";

/// Installs etcd, which Debian starts as a service of the system's, too. Only by name.
const ETCD: &str = "anchors: etcd";

/// Compiles virtee's program and what it needs, from the registry. Only by name.
const SNPGUEST_SUITE: &str = "evidence: before virtee's snpguest";

/// Compiles the crate and what it needs, from the registry. Only by name.
const AZURE_CLIENT: &str = "az-snp-vtpm with a vTPM as Azure's";

/// Every rule of the firmware's policy, by each field. Only by name: a minute and more.
const POLICY: &str = "firmware policy: every field of report and policy";

/// A disk that falls silent at other moments than the suite before. Only by name: each takes 20 seconds and more.
const SILENT: &str = "state: a disk that falls silent at any moment";

/// The program.
pub(crate) const SNPGUEST: Tool = Tool { name: "snpguest", version: "0.11.0" };

/// Its file, built if it is not there.
pub(crate) fn snpguest() -> Result<PathBuf> {
    SNPGUEST.program()
}

/// In the order in which they run.
const IN_QEMU: &[InQemu] = &[
    ("image: what it is made of", booted::firmware::run),
    ("evidence: verified, and refused when a bit is flipped", booted::evidence::run),
    (SNPGUEST_SUITE, |built| booted::others::snpguest(built, snpguest)),
    ("hostile guest at VMPL2", booted::hostile::run),
    ("paravisor: another image with our services, hostile guest", booted::hostile::paravisor),
    ("list of pages: ML-DSA and ML-KEM by the firmware's TPM", booted::lattices::run),
    ("hostile: two vCPUs at once", booted::two::run),
    ("two vCPUs: PVALIDATE beside a key, in instructions", booted::calls::run),
    ("lies of the host to the firmware", booted::lies::run),
    ("lies of the host to a running guest", booted::running::run),
    ("interrupts: restricted injection", booted::interrupts::run),
    ("interrupts: alternate injection", booted::interrupts::alternate),
    ("firmware policy: each rule", booted::policy::run),
    (POLICY, booted::policy::all),
    ("firmware: its stack", booted::stack::run),
    ("firmware: memory for 256 processors", booted::many::run),
    ("firmware: memory from the guest", booted::deposits::run),
    ("tpm2-tools with the firmware's TPM", |built| booted::tools::run(built, served::while_cases_run)),
    ("tpm2-tools with a vTPM as Azure's", |_| booted::azure::run(served::while_cases_run)),
    ("operator's authority: certificates under it", |_| booted::authority::run(served::while_cases_run)),
    (AZURE_CLIENT, |_| booted::azure::client::run(served::while_cases_run)),
    ("clients: what each sends, and docs/clients.md", clients::short),
    ("state: over MMIO", |_| booted::mmio::run()),
    ("state: it outlives the VM", |_| booted::state::run(served::while_cases_run)),
    ("state: anchors", |_| booted::anchors::run()),
    ("state: a disk that is cut after every sector", |_| booted::state::cut()),
    ("state: a disk that fails, lies, falls silent", |_| booted::state::bad_disk()),
    (SILENT, |_| booted::state::silent_disk()),
    ("state: it moves", |_| booted::migration::run()),
    ("state: it moves with anchors, idle, as Azure's", |_| booted::migration::others()),
    ("run: whatever ends it leaves nothing behind", booted::interrupted::run),
    ("machine: rules and launches", |_| booted::cargo::qemu()),
    ("image: reproducible and as committed", |built| booted::reproducible::run(&built.image)),
];

/// With an operating system: they want packages of Debian's newer suites, and take minutes.
const GUESTS: &[InQemu] = &[
    ("guest: Linux at VMPL2", |_| booted::linux::run()),
    ("guest: an encrypted disk", |_| booted::disk::run()),
    ("guest: a vTPM as Azure's", |_| booted::azure::guest::run()),
    ("guest: a TPM that is kept", |_| booted::state::guests()),
    ("guest: an update of the firmware", |_| booted::migration::under_linux()),
    ("guest: beside a disk that is not hidden", |_| booted::state::shown()),
    ("guest: OVMF at VMPL2", |_| booted::ovmf::run()),
    ("guest: Linux on two processors", |_| booted::processors::two()),
    ("guest: Linux on four processors", |_| booted::processors::four()),
    ("guest: OVMF and Linux on two processors", |_| booted::processors::ovmf_two()),
    ("guest: OVMF and Linux on four processors", |_| booted::processors::ovmf_four()),
    ("guest: GRUB", |_| booted::grub::run()),
    ("guest: IMA", |_| booted::ima::run()),
    ("guest: other builds of OVMF", |_| booted::ovmf::run_others()),
    ("guest: the demo, and that it can fail", |_| booted::demo::run()),
    ("guest: boots in a row", |_| booted::boots::suite()),
    ("guest: how it ends", |_| booted::ends::run()),
    ("guest: VMPL0, without our firmware", |_| booted::vmpl0::run()),
    ("guest: Linux at a monitor's CRB", |_| booted::monitored::run()),
];

/// Those of [`GUESTS`] that run without being named: Linux direct, and OVMF, to userland and through all checks there.
/// Two minutes on quiet cores, and not more than ten on busy ones.
const SHORT: [&str; 3] = ["guest: Linux at VMPL2", "guest: OVMF at VMPL2", "guest: Linux on two processors"];

/// The suite that needs neither proof tools nor QEMU.
const HOST: &str = "host: unit tests, properties, examples";

/// Runs the verb; the exit status says whether all cases passed. A run of no case is a failure.
pub fn run(args: &Args) -> Result<ExitCode> {
    run_after(Totals::default(), args)
}

/// As [`run()`], after other checks, whose totals count too.
pub fn run_after(checks: Totals, args: &Args) -> Result<ExitCode> {
    if args.list {
        for name in names() {
            println!("{name}{}", if only_by_name(name) { "  (only by name)" } else { "" });
        }
        return Ok(ExitCode::SUCCESS);
    }
    let tests = suites(args)?;
    let mut totals = checks;
    totals += tests;
    println!("{totals}");
    ensure!(
        tests != Totals::default(),
        "no test was run: --fast leaves out every suite that contains `{}`",
        args.suite
    );
    Ok(if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn suites(args: &Args) -> Result<Totals> {
    if let Some(name) = &args.only {
        return Ok(run_in_qemu(&boot::build_everything()?, in_qemu(name)?));
    }
    let mut totals = Totals::default();
    if HOST.contains(&args.suite) {
        totals += booted::run(HOST, booted::cargo::host);
    }
    let without_qemu = PROOFS.iter().chain(PRODUCTS);
    for (name, cases) in without_qemu.filter(|(name, _)| !args.fast && is_asked_for(name, &args.suite)) {
        totals += booted::run(name, cases);
    }
    let in_qemu: Vec<&InQemu> =
        IN_QEMU.iter().chain(GUESTS).filter(|(name, _)| !args.fast && is_asked_for(name, &args.suite)).collect();
    if in_qemu.is_empty() {
        return Ok(totals);
    }
    debian::ensure(&[qemu::PROGRAM])?;
    let built = boot::build_everything()?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if in_qemu.len() > 1 && cores > 1 && !args.one_at_a_time {
        totals += lanes::run(in_qemu.iter().map(|(name, _)| *name).collect());
    } else {
        in_qemu.iter().for_each(|suite| totals += run_in_qemu(&built, suite));
    }
    Ok(totals)
}

fn run_in_qemu(built: &Built, (name, cases): &InQemu) -> Totals {
    let ran = booted::run(name, || cases(built));
    if let Some((_, figure)) = FIGURES.iter().find(|(suite, _)| suite == name).filter(|_| ran.failed == 0) {
        figures::keep(*figure, &ran.to_string());
    }
    ran
}

/// Runs one of the suites with a machine, by its name.
pub(crate) fn by_name(built: &Built, name: &str) -> Result<Totals> {
    let (_, cases) = in_qemu(name)?;
    cases(built)
}

fn in_qemu(name: &str) -> Result<&'static InQemu> {
    let mut all = IN_QEMU.iter().chain(GUESTS);
    all.find(|(suite, _)| *suite == name).with_context(|| format!("there is no suite `{name}`"))
}

fn is_asked_for(name: &str, suite: &str) -> bool {
    if suite.is_empty() { !only_by_name(name) } else { name.contains(suite) }
}

fn only_by_name(name: &str) -> bool {
    let guests = GUESTS.iter().map(|(guest, _)| *guest).filter(|guest| !SHORT.contains(guest));
    guests
        .chain([INSTALL, PAGE, REPORTS, LOGS, ETCD, POLICY, SNPGUEST_SUITE, AZURE_CLIENT, SILENT])
        .any(|one| one == name)
}

/// The names of all suites, in the order in which they run.
fn names() -> impl Iterator<Item = &'static str> {
    let in_qemu = IN_QEMU.iter().chain(GUESTS).map(|(name, _)| *name);
    let without_qemu = PROOFS.iter().chain(PRODUCTS).map(|(name, _)| *name);
    [HOST].into_iter().chain(without_qemu).chain(in_qemu)
}

/// A value of `--suite`: refuses what is part of no suite's name, before anything is built.
fn part_of_a_name(part: &str) -> Result<String> {
    let list = || names().collect::<Vec<_>>().join("\n  ");
    ensure!(names().any(|name| name.contains(part)), "no suite has this in its name; there are\n  {}", list());
    Ok(part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Args, GUESTS, INSTALL, PRODUCTS, SHORT, is_asked_for, names, part_of_a_name, run};

    #[test]
    fn a_suite_that_does_not_exist_is_an_error_that_lists_those_that_do() {
        let error = part_of_a_name("nosuch").unwrap_err().to_string();
        assert!(error.contains("no suite") && error.contains("hostile guest at VMPL2"), "{error}");
        part_of_a_name("hostile").unwrap();
        part_of_a_name("").unwrap();
    }

    #[test]
    fn a_run_of_no_test_is_a_failure() {
        let args = Args { fast: true, suite: String::from("hostile"), ..Args::default() };
        assert!(run(&args).is_err());
    }

    #[test]
    fn three_suites_with_an_operating_system_run_unnamed_and_all_of_them_by_name() {
        let unnamed: Vec<&str> = names().filter(|name| name.starts_with("guest: ") && is_asked_for(name, "")).collect();
        assert_eq!(unnamed, SHORT);
        assert!(is_asked_for(INSTALL, "install") && !is_asked_for(INSTALL, "") && is_asked_for(PRODUCTS[0].0, ""));
        assert!(GUESTS.len() > SHORT.len() && GUESTS.iter().all(|(name, _)| is_asked_for(name, "guest: ")));
        assert!(is_asked_for("hostile guest at VMPL2", "") && !is_asked_for("hostile guest at VMPL2", "guest: "));
    }
}
