//! What the program does: `quoin-verify`, and `cargo xtask verify`.

use crate::corim;
use crate::digest::{self, LaunchDigest, hex};
use crate::eat;
use crate::events::{self, Named};
use crate::evidence::boot_log::{self, BootLog};
use crate::evidence::event_log::initial_pcrs;
use crate::evidence::folder::{Evidence, Kind, read_file};
use crate::evidence::ima::{Measurements, signature};
use crate::evidence::manifest::flag;
use crate::evidence::userspace::UserspaceLog;
use crate::evidence::wire::Algorithm;
use crate::input::{self, MOST, certificates};
use crate::judge::{self, Expectations, Finding, State};
use crate::memory::{self, Memory};
use crate::page;
use crate::policy::{Hex, Policy, Rules, hex_bytes};
use crate::predict::Prediction;
use crate::signing::Key;
use crate::tcti::gather::{Request, gather};
use crate::verdict::{Outcome, Verdict};
use crate::{screen, tcti};
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use std::{path::PathBuf, process::ExitCode, time::SystemTime};
use x509_cert::der::DateTime;

/// The program's options.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 when every step is ok and --igvm, --measurement or a policy file said which launch \
                  digest is right; 3 when every step is ok but none did, or a nonce is missing; otherwise 10 for the \
                  first step of the list that is printed, 11 for the second and so on, 50 and up for the rules of a \
                  policy file (docs/policy.md); 1 when a file cannot be read; 2 when the arguments are wrong; 141 \
                  when nobody reads the output any more."
)]
pub struct Args {
    /// The evidence: a folder of ours; a folder with the files of configfs-tsm (outblob, auxblob, manifestblob); a
    /// folder or file with Azure's attestation report; a certificate that carries a report; a file with a verifier
    /// service's evidence in JSON (docs/policy.md says what is in each).
    ///
    /// With --tcti, it is where the report over the TPM's EK is, if there is one.
    #[arg(required_unless_present = "tcti")]
    evidence: Option<PathBuf>,
    /// Ask a running TPM: swtpm:host=…,port=…, mssim:…, device:/dev/tpmrm0, or cmd:… with a program such as
    /// "ssh guest tpm2_send".
    ///
    /// An AK is made in it, or --ak-handle names one; it quotes all PCRs for a nonce of this call's. Where the TPM has
    /// Azure's attestation report, that is read.
    #[arg(long, value_name = "TCTI")]
    tcti: Option<String>,
    /// The handle of the AK, such as 0x81010002.
    #[arg(long, value_name = "HANDLE", value_parser = handle, requires = "tcti")]
    ak_handle: Option<u32>,
    /// The EK's algorithm; by default the first that the TPM has a certificate for, or RSA-2048. Beside a report it is
    /// RSA-2048, which manifests name.
    #[arg(long, value_name = "KIND", requires = "tcti", conflicts_with = "evidence")]
    ek: Option<Algorithm>,
    /// The log of the TPM's boot; of a device, the kernel's own by default.
    #[arg(long, value_name = "FILE", requires = "tcti")]
    boot_log: Option<PathBuf>,
    /// IMA's list; of a device, the kernel's own by default.
    #[arg(long, value_name = "FILE", requires = "tcti")]
    ima: Option<PathBuf>,
    /// systemd's log of what it has measured after the boot; of a device, systemd's own by default.
    #[arg(long, value_name = "FILE", requires = "tcti")]
    userspace_log: Option<PathBuf>,
    /// Write what the TPM has answered, as a folder that can be judged later.
    #[arg(long, value_name = "FOLDER", requires = "tcti")]
    save: Option<PathBuf>,
    /// An authority that may be above the EK's certificate, in DER or PEM; may be given several times.
    #[arg(long, value_name = "FILE")]
    ek_root: Vec<PathBuf>,
    /// The certificate of a key that signs files, in DER or PEM; may be given several times. Signatures in IMA's list
    /// are judged by them: one that is wrong is refused, one by another key is counted. Without any none is judged.
    #[arg(long, value_name = "FILE")]
    ima_key: Vec<PathBuf>,
    /// The IGVM file whose launch digest the report must show.
    #[arg(long, value_name = "FILE", conflicts_with = "measurement")]
    igvm: Option<PathBuf>,
    /// The launch digest that the report must show, 96 hexadecimal digits.
    ///
    /// Without it, --igvm and a policy file's `launch`, the digest that the collector expected is taken from the
    /// folder: what comes out is "consistent, not verified".
    #[arg(long, value_name = "HEX", value_parser = launch_digest)]
    measurement: Option<LaunchDigest>,
    /// Accept the committed mock root, whose chip key is public. For development and tests: it proves nothing.
    #[arg(long)]
    development_root: bool,
    /// The guest policy that the report must show, such as 0x30000; by default any without DEBUG and without a
    /// migration agent.
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    policy: Option<u64>,
    /// A policy file (docs/policy.md).
    #[arg(long, value_name = "FILE")]
    policy_file: Option<PathBuf>,
    /// A certificate revocation list, in DER or PEM; may be given several times.
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// Certificates that are not with the evidence, such as the ASVK of a VLEK, or an issuer above an EK's: one in DER,
    /// or any number in PEM; may be given several times.
    #[arg(long, value_name = "FILE")]
    certificates: Vec<PathBuf>,
    /// Judge certificates and revocation lists as of then and not of now, such as 2026-11-29T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<SystemTime>,
    /// The nonce that the report must answer.
    #[arg(long, value_name = "HEX", value_parser = octets)]
    nonce: Option<Octets>,
    /// The nonce that the quote must answer.
    #[arg(long, value_name = "HEX", value_parser = octets)]
    quote_nonce: Option<Octets>,
    /// Compare the TPM's state with what FILE remembers of it, and remember it there if all is verified.
    ///
    /// Of each TPM identity: the highest epoch, its boots, the state digest. A state that was put back and a copy that
    /// lives beside another are refused. The file is made where there is none.
    #[arg(long, value_name = "FILE")]
    remember: Option<PathBuf>,
    /// Print the verdict as JSON.
    #[arg(long)]
    json: bool,
    /// Print a line for each event of the logs, too; --json and --html have them anyway.
    #[arg(long, conflicts_with = "json")]
    events: bool,
    /// Write the verdict as a page, with the chain drawn; it needs nothing else and runs nothing.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the verdict as a signed token, an EAT attestation result (draft-ietf-rats-ear-04) in a JSON Web Token.
    #[arg(long, value_name = "FILE", requires = "key")]
    eat: Option<PathBuf>,
    /// The key that signs it: P-256 or P-384, PKCS#8 in PEM or DER.
    #[arg(long, value_name = "FILE", requires = "eat")]
    key: Option<PathBuf>,
}

/// Options of `predict`.
#[derive(Debug, clap::Args)]
pub struct PredictArgs {
    /// The IGVM file.
    image: PathBuf,
    /// Print what is known as JSON.
    #[arg(long)]
    json: bool,
    /// Write reference values, a CoRIM (draft-ietf-rats-corim).
    #[arg(long, value_name = "FILE")]
    corim: Option<PathBuf>,
    /// The key that signs it: P-256 or P-384, PKCS#8 in PEM or DER. Without it the CoRIM is not signed.
    #[arg(long, value_name = "FILE", requires = "corim")]
    key: Option<PathBuf>,
    /// Who signs, in words.
    #[arg(long, value_name = "NAME", default_value = "quoin-verify", requires = "key")]
    signer: String,
}

/// Options of `log`.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// The log of a boot, such as /sys/kernel/security/tpm0/binary_bios_measurements.
    #[arg(required_unless_present_any = ["ima", "userspace"])]
    log: Option<PathBuf>,
    /// A list of IMA, such as /sys/kernel/security/ima/binary_runtime_measurements or ascii_runtime_measurements.
    #[arg(long, value_name = "FILE")]
    ima: Option<PathBuf>,
    /// systemd's own log, /run/log/systemd/tpm2-measure.log.
    #[arg(long, value_name = "FILE")]
    userspace: Option<PathBuf>,
    /// Print events and PCRs as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what an image's boot will show.
pub fn predict(args: &PredictArgs) -> Result<ExitCode> {
    let image = fs::read(&args.image)?;
    let prediction = Prediction::of(&image).with_context(|| args.image.display().to_string())?;
    if let Some(path) = &args.corim {
        let name = args.image.file_name().unwrap_or_default().to_string_lossy();
        let mut manifest = corim::unsigned(&prediction, &name)?;
        if let Some(key) = &args.key {
            let key = Key::parse(&fs::read(key)?).with_context(|| key.display().to_string())?;
            manifest = corim::signed(manifest, &key, &args.signer)?;
        }
        fs::write(path, manifest)?;
    }
    if args.json {
        println!("{:#}", prediction.to_json());
    } else {
        prediction.lines().iter().for_each(|(head, text)| screen::say(&format!("{head:<16} "), text));
    }
    Ok(ExitCode::SUCCESS)
}

/// A value of any length. It is a type of its own, since to clap a vector is an option that may be given again.
#[derive(Debug, Clone)]
struct Octets(Vec<u8>);

fn octets(text: &str) -> Result<Octets> {
    hex_bytes(text).map(Octets)
}

fn time(text: &str) -> Result<SystemTime> {
    let time: DateTime = text.parse().ok().context("a time in UTC, such as 2026-11-29T12:00:00Z")?;
    Ok(time.to_system_time())
}

fn number(text: &str) -> Result<u64> {
    let value = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    value.context("a number, such as 0x30000")
}

fn handle(text: &str) -> Result<u32> {
    number(text)?.try_into().context("a handle, such as 0x81010002")
}

fn launch_digest(text: &str) -> Result<LaunchDigest> {
    let digest = Hex::<48>::parse(text).context("a launch digest has 96 hexadecimal digits")?;
    Ok(digest.0)
}

/// Judges a certificate, and nothing else.
pub fn certificate(args: &Args) -> Result<ExitCode> {
    conclude(args, &carrier(args)?)
}

/// The certificate, and what it carries.
fn carrier(args: &Args) -> Result<Evidence> {
    let evidence = evidence(args)?;
    ensure!(evidence.kind == Kind::Certificate, "this is no certificate that carries a report");
    Ok(evidence)
}

/// Runs the program.
pub fn run(args: &Args) -> Result<ExitCode> {
    conclude(args, &evidence(args)?)
}

/// What the options bring: evidence, and what is expected of it.
pub fn brought(args: &Args) -> Result<(Evidence, Expectations)> {
    Ok((evidence(args)?, expectations(args)?))
}

fn conclude(args: &Args, evidence: &Evidence) -> Result<ExitCode> {
    let verdict = verdict(args, evidence)?;
    if args.json {
        println!("{:#}", verdict.to_json());
    } else {
        print_steps(&verdict);
        if args.events {
            print_events(&verdict.events);
        }
        print_conclusion(&verdict);
    }
    Ok(ExitCode::from(verdict.status()))
}

/// Judges, and writes what is to be written.
fn verdict(args: &Args, evidence: &Evidence) -> Result<Verdict> {
    let mut expectations = expectations(args)?;
    // Before anything is remembered.
    let key = signing_key(args)?;
    let file = args.remember.as_ref().map(|path| memory::File::open(path)).transpose()?;
    let file = file.map(|(file, memory)| {
        expectations.remembered = Some(memory);
        file
    });
    let verdict = Verdict::of(evidence, &expectations);
    if let (Some(file), Some(memory)) = (file, &mut expectations.remembered) {
        remember(&file, memory, evidence, &verdict)?;
    }
    if let (Some(path), Some(key)) = (&args.eat, &key) {
        let nonces: Vec<&[u8]> = args.nonces().map(|(_, nonce)| nonce).collect();
        let claims = eat::claims(&verdict, &nonces, SystemTime::now())?;
        fs::write(path, eat::token(&claims, key)?)?;
    }
    if let Some(path) = &args.html {
        fs::write(path, page::html(evidence, &verdict))?;
    }
    Ok(verdict)
}

/// The key that signs a token, if one is to be written, and all nonces can be in it.
fn signing_key(args: &Args) -> Result<Option<Key>> {
    let Some(path) = &args.key else { return Ok(None) };
    for (option, nonce) in args.nonces() {
        eat::ensure_nonce(nonce).with_context(|| format!("--eat, {option}"))?;
    }
    Key::parse(&fs::read(path)?).map(Some).with_context(|| path.display().to_string())
}

impl Args {
    /// The nonces that the verifier brings, and by which option.
    fn nonces(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let brought = [("--nonce", &self.nonce), ("--quote-nonce", &self.quote_nonce)];
        brought.into_iter().filter_map(|(option, nonce)| Some((option, nonce.as_ref()?.0.as_slice())))
    }
}

/// Remembers what is verified: anything else could be anybody's word.
fn remember(file: &memory::File, memory: &mut Memory, evidence: &Evidence, verdict: &Verdict) -> Result<()> {
    let said = judge::kept(evidence)?.filter(|said| said.has(flag::KEPT));
    let Some(said) = said.filter(|_| verdict.outcome() == Outcome::Verified) else { return Ok(()) };
    memory.remember(&said);
    file.write(memory)
}

/// Prints the events of logs, and the PCRs that they lead to.
pub fn log(args: &LogArgs) -> Result<ExitCode> {
    let read = |path: &Option<PathBuf>| path.as_ref().map(|path| read_file(path, MOST)).transpose();
    let boot = BootLog::parse(&read(&args.log)?.unwrap_or_default())?;
    boot.check_data()?;
    let list = Measurements::parse(&read(&args.ima)?.unwrap_or_default())?;
    let mut pcrs = initial_pcrs();
    boot.replay(&mut pcrs)?;
    list.replay(&mut pcrs)?;
    let userspace = UserspaceLog::parse(&read(&args.userspace)?.unwrap_or_default())?;
    userspace.replay(&mut pcrs)?;
    let named = [events::of_log(&boot), events::of_userspace(&userspace), events::of_list(&list)].concat();
    let touched = |pcr: &usize| named.iter().any(|event| !event.sha256.is_empty() && event.pcr as usize == *pcr);
    let values: Vec<(usize, String)> =
        pcrs.iter().enumerate().filter(|(pcr, _)| touched(pcr)).map(|(pcr, value)| (pcr, hex(value))).collect();
    if args.json {
        let values: serde_json::Map<_, _> =
            values.into_iter().map(|(pcr, value)| (pcr.to_string(), value.into())).collect();
        println!("{:#}", serde_json::json!({ "events": named, "pcrs": values }));
    } else {
        print_events(&named);
        values.iter().for_each(|(pcr, value)| screen::say(&format!("PCR {pcr:<2}  leads to "), value));
    }
    Ok(ExitCode::SUCCESS)
}

fn print_events(events: &[Named]) {
    for Named { pcr, kind, says, standing, .. } in events {
        screen::say(&format!("PCR {pcr:<2}  {kind:<32} "), &format!("{says} ({})", standing.name()));
    }
}

/// What lies in files, or what a TPM answers.
fn evidence(args: &Args) -> Result<Evidence> {
    let certificates = args
        .certificates
        .iter()
        .map(|path| certificates::of_file(&fs::read(path)?).with_context(|| path.display().to_string()));
    let certificates = certificates.collect::<Result<Vec<_>>>()?.concat();
    let files = args.evidence.as_ref().map(|path| input::read(path, &certificates)).transpose()?;
    let Some(tcti) = &args.tcti else {
        let mut evidence = files.context("no evidence")?;
        add_issuers(&mut evidence, &certificates);
        return Ok(evidence);
    };
    let quote_nonce = args.quote_nonce.clone().map(|nonce| nonce.0);
    let request = Request { ak: args.ak_handle, quote_nonce, report: files, ek: args.ek };
    let mut transport = tcti::open(tcti)?;
    let mut evidence = gather(&mut *transport, request).with_context(|| format!("TPM at {tcti}"))?;
    if evidence.kind == Kind::Tpm {
        input::carry(&mut evidence, &certificates).context("the report that the EK's certificate carries")?;
    } else if evidence.kind == Kind::Azure {
        certificates::complete(&mut evidence, &certificates).context("--certificates")?;
    }
    add_issuers(&mut evidence, &certificates);
    // After the quote: a list that goes on leads to it by its first entries.
    let [boot_log, ima, userspace] = tcti::logs(tcti);
    evidence.boot_events = log_file(args.boot_log.as_ref(), boot_log)?;
    evidence.ima = log_file(args.ima.as_ref(), ima)?;
    evidence.userspace = log_file(args.userspace_log.as_ref(), userspace)?;
    if let Some(folder) = &args.save {
        ensure!(evidence.kind == Kind::Tpm, "--save: what Azure's TPM answers is not written");
        evidence.write(folder)?;
    }
    Ok(evidence)
}

/// Certificates that the verifier brings may be of those above the EK's: nothing rests on them but by their signatures.
fn add_issuers(evidence: &mut Evidence, certificates: &[Vec<u8>]) {
    if matches!(evidence.kind, Kind::Quoin | Kind::Tpm | Kind::Certificate) {
        evidence.ek_chain.extend(certificates.concat());
    }
}

/// The file that was named, or the kernel's, if it is there.
fn log_file(named: Option<&PathBuf>, own: Option<PathBuf>) -> Result<Vec<u8>> {
    let path = named.cloned().or_else(|| own.filter(|path| path.exists()));
    path.map_or_else(|| Ok(Vec::new()), |path| read_file(&path, MOST))
}

/// Judges and prints a line a step; gives the exit status of the program.
pub fn judge(evidence: &Evidence, expectations: &Expectations) -> ExitCode {
    let verdict = Verdict::of(evidence, expectations);
    print_steps(&verdict);
    print_conclusion(&verdict);
    ExitCode::from(verdict.status())
}

fn print_steps(verdict: &Verdict) {
    for Finding { step, state } in &verdict.findings {
        let (word, text) = match state {
            State::Ok(seen) => ("ok", seen.clone()),
            State::Failed(why) => ("FAILED", format!("{why:#}")),
            State::Absent(why) => ("absent", (*why).to_owned()),
            State::Unasked | State::Unjudged => continue,
        };
        screen::say(&format!("{word:<7} {:<22} ", step.name()), &text);
    }
}

fn print_conclusion(verdict: &Verdict) {
    let (head, text) = verdict.conclusion();
    screen::say(head, &text);
}

fn expectations(args: &Args) -> Result<Expectations> {
    let image = args.igvm.as_ref().map(fs::read).transpose()?;
    let mut rules = args.policy_file.as_ref().map_or_else(|| Ok(Rules::default()), |path| Rules::read(path))?;
    for path in &args.crl {
        let list = crate::pem::der(&fs::read(path)?).with_context(|| path.display().to_string())?;
        rules.crls.push(list);
    }
    for path in &args.ek_root {
        let roots = certificates::of_file(&fs::read(path)?).with_context(|| path.display().to_string())?;
        rules.ek_roots.extend(roots);
    }
    for path in &args.ima_key {
        let keys = certificates::of_file(&fs::read(path)?).with_context(|| path.display().to_string())?;
        keys.iter()
            .try_for_each(|der| signature::Key::of_certificate(der).map(drop))
            .with_context(|| path.display().to_string())?;
        rules.ima_keys.extend(keys);
    }
    Ok(Expectations {
        development_root: args.development_root,
        measurement: expected_measurement(args, image.as_deref())?,
        policy: args.policy,
        boot_events: image.as_deref().map(boot_log::expected).transpose()?,
        nonce: args.nonce.clone().map(|nonce| nonce.0),
        quote_nonce: args.quote_nonce.clone().map(|nonce| nonce.0),
        rules,
        remembered: None,
        now: args.at.unwrap_or_else(SystemTime::now),
    })
}

fn expected_measurement(args: &Args, image: Option<&[u8]>) -> Result<Option<LaunchDigest>> {
    match image {
        Some(image) => Ok(Some(digest::measure(image).context("the IGVM file cannot be measured")?.digest)),
        None => Ok(args.measurement),
    }
}

/// Prints the JSON schema of policy files.
pub fn schema() -> ExitCode {
    println!("{:#}", Policy::schema());
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests;
