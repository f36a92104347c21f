//! The operator's authority: its program behind the firmware's serial port or console, and a host that has none, is
//! silent, or lies.
//!
//! The chain is made by OpenSSL, by `quoin-authority`, and by the firmware; OpenSSL and `quoin-verify` judge it.

use super::lies::{self, SET};
use super::tools::{self, Serve};
use super::{Totals, case};
use anyhow::{Result, ensure};
use core::time::Duration;
use fs_err as fs;
use host::boot::{self, Built};
use host::build;
use host::debian;
use host::devices::{self, Programs};
use host::qemu::{End, Folder};
use quoin_image::settings::{Setting, Settings, authorities};
use quoin_verify::pem;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Seconds that the firmware waits where nobody answers, and where somebody does, on however busy a computer.
const SHORT_S: u16 = 3;
const LONG_S: u16 = 280;
/// The firmware's code for this end.
const AUTHORITY: u8 = 28;
/// How long the program may take to listen.
const PATIENCE: Duration = Duration::from_secs(120);

/// As those of [`tools`], with `root.pem`, the image as `image.igvm`, and the name of this program in `verify-program`.
const CASES: &[(&str, &str)] = &[
    (
        "openssl: each certificate leads by the issuer's to the operator's root",
        "tpm2_startup -c
         for i in 0 1; do tpm2_nvread -C o 0x1c0010$i -o $i.der; openssl x509 -inform DER -in $i.der -out $i.pem; done
         openssl x509 -in 0.pem -noout -subject | grep -q 'key of this boot'; cmp root.der 1.der
         for i in 1c00002 1c0000a 1c00016 1c10000 1c10002; do
             tpm2_nvread -C o 0x$i -o $i.der; openssl x509 -inform DER -in $i.der -out $i.pem
             openssl verify -x509_strict -CAfile root.pem -untrusted 0.pem $i.pem; not openssl verify -CAfile root.pem $i.pem
         done",
    ),
    (
        "tpm2_getekcertificate: certificates that OpenSSL verifies",
        "tpm2_getekcertificate -o rsa.der -o ecc.der
         for i in rsa ecc; do openssl x509 -inform DER -in $i.der -out $i.pem; openssl verify -CAfile root.pem -untrusted 0.pem $i.pem; done",
    ),
    (
        "quoin-verify cert: report and root, both",
        "verify() { \"$(cat verify-program)\" verify --development-root --igvm image.igvm \"$@\"; }
         for i in 1c00002 1c0000a 1c10000; do
             tpm2_nvread -C o 0x1c00102 -o above.der
             verify $i.der --certificates above.der --certificates 0.der --ek-root root.der | grep -q 'a root of the verifier'
             not verify $i.der --certificates above.der --certificates 0.der --ek-root other.der
         done",
    ),
    (
        "quoin-verify cert: the issuer's own certificate, which the operator has issued",
        "verify() { \"$(cat verify-program)\" verify --development-root --igvm image.igvm 0.der --certificates above.der \"$@\"; }
         verify --ek-root root.der > verdict; tr -s '\\n ' ' ' < verdict | grep -q 'of the issuer itself.*a root of the verifier'
         status=0; verify > verdict || status=$?; test $status = 3; tr -s '\\n ' ' ' < verdict | grep -q 'nobody vouches for the authority'
         status=0; verify --ek-root other.der > verdict || status=$?; test $status = 30; grep -q FAILED.*EK.certificate verdict",
    ),
];

/// The operator's CA, made by OpenSSL.
const CA: &str = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -noenc -keyout key.pem -out root.pem \
                  -days 30 -subj '/O=Operator/CN=Root' -addext keyUsage=critical,keyCertSign
                  openssl req -x509 -newkey rsa:2048 -noenc -keyout other.key -out other.pem -days 30 -subj '/O=Operator/CN=Root'
                  for i in root other; do openssl x509 -in $i.pem -outform DER -out $i.der; done";

/// Boots with the operator's program, and then without, each time as the setting says.
pub fn run(serve: Serve) -> Result<Totals> {
    debian::ensure(&tools::PROGRAMS)?;
    let folder = Folder::new()?;
    let made = Command::new("bash").args(["-euc", CA]).current_dir(folder.path()).stderr(Stdio::null()).status()?;
    ensure!(made.success(), "OpenSSL makes no CA");
    let root = pem::der(&fs::read(folder.path().join("root.pem"))?)?;
    let settings = |preferred, wait_s| {
        let octets = authorities(core::slice::from_ref(&root), preferred, wait_s);
        Settings::default().with(Setting::Authorities, &octets)
    };
    let image = |name: &str, preferred, wait_s| boot::build_with_settings(name, settings(preferred, wait_s));
    let patient = image("quoin-authority-patient.igvm", false, LONG_S)?;
    let required = image("quoin-authority.igvm", false, SHORT_S)?;
    let preferred = image("quoin-authority-preferred.igvm", true, SHORT_S)?;
    let by_console = settings(false, LONG_S).with(Setting::State, &devices::console().octets());
    let by_console = boot::build_with_settings("quoin-authority-console.igvm", by_console)?;
    let mut totals = certified(&patient, folder.path(), serve)?;
    totals += case("over the relay's console: certificates are the operator's", over_console(&by_console, &folder));
    for (name, built, host, then) in [
        ("required, and no way: the launch ends", &required, Host::None, Then::Ends("there is no way")),
        ("required, and silence: the launch ends", &required, Host::Silent, Then::Ends("no answer came in time")),
        (
            "required, and a firmware that the operator does not want: the launch ends",
            &patient,
            Host::Program(&preferred),
            Then::Ends("the operator refuses: measurement"),
        ),
        (
            "required, and the authority's own certificate for an answer: the launch ends",
            &patient,
            Host::Answers([&[1, 0, 0, 0, 0, 0, 0, 0], &root[..]].concat()),
            Then::Ends("the first certificate is of another key"),
        ),
        (
            "required, and octets: the launch ends",
            &patient,
            Host::Answers(vec![7; 40]),
            Then::Ends("the answer is none"),
        ),
        ("preferred, and no way: the firmware's own", &preferred, Host::None, Then::Starts("there is no way")),
        (
            "preferred, and silence: the firmware's own",
            &preferred,
            Host::Silent,
            Then::Starts("no answer came in time"),
        ),
    ] {
        totals += case(name, ended(built, &host, then, folder.path()));
    }
    Ok(totals)
}

/// What is behind the serial port.
enum Host<'a> {
    None,
    /// Takes what comes.
    Silent,
    /// Answers this, whatever is asked.
    Answers(Vec<u8>),
    /// The operator's program, which wants this image.
    Program(&'a Built),
}

/// What the firmware does, and says.
#[derive(Clone, Copy)]
enum Then {
    Ends(&'static str),
    Starts(&'static str),
}

/// A running `quoin-authority`.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Serves at `socket`, in a folder with the CA's files.
fn operator(folder: &Path, image: &Path, socket: &Path) -> Result<Program> {
    let child = Command::new(build::operator()?)
        .args(["serve", "--development-root", "--ca-key", "key.pem", "--ca-certificate", "root.pem", "--igvm"])
        .arg(image)
        .arg("--socket")
        .arg(socket)
        .current_dir(folder)
        .stdout(Stdio::null())
        .spawn()?;
    let mut program = Program(child);
    let started = Instant::now();
    while !socket.exists() {
        ensure!(program.0.try_wait()?.is_none(), "quoin-authority has ended");
        ensure!(started.elapsed() < PATIENCE, "quoin-authority does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(program)
}

/// The third serial port of QEMU's, at a socket.
fn serial(socket: &Path) -> Vec<String> {
    let chardev = format!("socket,id=operator,path={}", socket.display());
    ["-chardev", &chardev, "-serial", "chardev:operator"].map(String::from).into()
}

fn certified(built: &Built, folder: &Path, serve: Serve) -> Result<Totals> {
    let place = Folder::new()?;
    let socket = place.path().join("operator");
    let _program = operator(folder, &built.path, &socket)?;
    let mut qemu = boot::start_with(built, "", boot::MEMORY_MIB, &serial(&socket))?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    fs::write(folder.join("image.igvm"), &built.image.bytes)?;
    let program = std::env::current_exe()?;
    // Scripts are run in that folder, with the environment of this process.
    fs::write(folder.join("verify-program"), program.as_os_str().as_encoded_bytes())?;
    serve(qemu.relay()?, &mut |tcti| Ok(tools::run_all(tcti, folder, CASES)))
}

fn over_console(built: &Built, folder: &Folder) -> Result<()> {
    let socket = folder.path().join("programs");
    let _program = operator(folder.path(), &built.path, &socket)?;
    let options = [devices::memory(), devices::console_at(&socket)].concat();
    let mut qemu = boot::start_with(built, &format!("ram=32\n{}", devices::CONFIG), boot::MEMORY_MIB, &options)?;
    let mut said = String::new();
    boot::hear_until_guest(&mut qemu, &built.image, |event, _| said.push_str(&event.line))?;
    for line in ["leads to them", "certificates are the operator's"] {
        ensure!(said.contains(line), "expected `{line}`: {said}");
    }
    Ok(())
}

fn ended(built: &Built, host: &Host<'_>, then: Then, folder: &Path) -> Result<()> {
    let place = Folder::new()?;
    let socket = place.path().join("operator");
    let mut program = None;
    let options = match host {
        Host::None => Vec::new(),
        Host::Program(wanted) => {
            program = Some(operator(folder, &wanted.path, &socket)?);
            serial(&socket)
        }
        Host::Silent | Host::Answers(_) => {
            let programs = Programs::new()?;
            let options = programs.serial();
            let answer = if let Host::Answers(answer) = host { Some(answer.clone()) } else { None };
            programs.answer(move |_| answer.clone().into_iter().collect());
            options
        }
    };
    // Little memory: what is validated at boot is what takes the time.
    let mut qemu = boot::start_with(built, "ram=32", boot::MEMORY_MIB, &options)?;
    match then {
        Then::Ends(why) => {
            lies::ends(&mut qemu, End::Terminated, &format!("machine: TERMINATED set={SET} code={AUTHORITY} "), why)?;
        }
        Then::Starts(why) => {
            let mut said = String::new();
            boot::hear_until_guest(&mut qemu, &built.image, |event, _| said.push_str(&event.line))?;
            ensure!(said.contains(why) && said.contains("the firmware's own"), "expected `{why}`: {said}");
        }
    }
    drop(program);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::CASES;

    #[test]
    fn every_script_is_a_script() {
        crate::tools::tests::are_scripts(CASES);
    }
}
