//! libvirt 9, whose domains have TPMs of ours: by its backend `external`, with a server that is there already, and by
//! its backend `emulator`, for which it calls swtpm_setup, `swtpm socket` and swtpm_ioctl.
//!
//! A libvirtd of its own (`qemu:///session`) in a folder of its own; root gives it to `nobody`, since libvirt has one
//! daemon alone for root. A domain is QEMU without KVM, and its guest Debian's kernel with tpm2-tools.

use super::{Bench, Tested, Verdict, measured, tested};
use anyhow::{Context, Result, ensure};
use core::time::Duration;
use fs_err as fs;
use host::debian::{self, Installer};
use host::fetch::{ensure_packages, must};
use host::qemu::Folder;
use host::shell::NOT;
use std::path::Path;
use std::process::Command;

/// Debian packages.
const PACKAGES: &[&str] = &[
    "busybox-static",
    "cpio",
    "libtss2-tcti-device0",
    "libvirt-clients",
    "libvirt-daemon",
    "openssl",
    "qemu-system-x86",
    "tpm2-tools",
    "xxd",
];
/// How long a case may take: three boots without virtualization.
const TIMEOUT: Duration = Duration::from_secs(900);
/// The guest's first process.
const INIT: &str = include_str!("libvirt_guest.sh");
/// What the cases call.
const FUNCTIONS: &str = include_str!("libvirt_host.sh");
/// The user that root gives a libvirtd to.
const NOBODY: &str = "nobody";

/// A name, and a script that must end with 0 under `set -eu`, in a folder with our program as `bin/quoin-tpm` and a
/// libvirtd that finds it as swtpm, swtpm_setup and swtpm_ioctl.
const CASES: &[(&str, &str)] = &[
    (
        "external: a guest reads its EK's certificate and quotes; reset, shut-off and a second start keep the TPM",
        "bin/quoin-tpm setup --tpm2 --tpm-state tpm --createek --create-ek-cert --development-ca ca
         bin/quoin-tpm --daemon --port 0 --state tpm --unix socket --pid tpm.pid
         define \"<backend type='external'><source type='unix' mode='connect' path='$PWD/socket.ctrl'/></backend>\"
         three_boots ca/ca.pem
         kill -0 $(cat tpm.pid); kill $(cat tpm.pid); while test -e tpm.pid; do sleep 0.1; done
         not v start machine; v domstate machine | grep -q 'shut off'",
    ),
    (
        "emulator: a TPM is manufactured with certificates, used by the guest, and kept until the domain is undefined",
        "define \"<backend type='emulator' version='2.0'/>\"
         three_boots home/.config/quoin-tpm/development-ca/ca.pem
         tpm=$(echo home/.config/libvirt/qemu/swtpm/*/tpm2); test -s $tpm/state
         grep -q 'EK RSA 2048' home/.cache/libvirt/qemu/log/machine-swtpm.log
         v undefine machine; not test -e $tpm",
    ),
    (
        "emulator: a TPM goes with a domain that is saved and restored, its PCRs included",
        "define \"<backend type='emulator' version='2.0'/>\"
         v start machine; boots 1; v managedsave machine; v domstate machine | grep -q 'shut off'; served_by_none
         keep_console; v start machine; v resume machine || true; told alive; v destroy machine; served_by_none
         fact first pcr > first; fact alive pcr > then; cmp first then; not grep -q '^00*$' then",
    ),
    (
        "emulator: QEMU is killed, and neither a server nor a lock stays",
        "define \"<backend type='emulator' version='2.0'/>\"
         v start machine; boots 1; kill -9 $(cat run/libvirt/qemu/run/machine.pid)
         until v domstate machine | grep -q 'shut off'; do sleep 0.2; done; served_by_none
         v start machine; boots 2; test \"$(fact end counter)\" = 0000000000000002
         until v domstate machine | grep -q 'shut off'; do sleep 0.2; done; served_by_none",
    ),
    (
        "emulator: PCR banks that the domain names are allocated, and others are refused by name",
        "define \"<backend type='emulator' version='2.0'><active_pcr_banks><sha384/></active_pcr_banks></backend>\"
         v start machine; boots 1; test \"$(fact end banks)\" = sha384; v destroy machine; served_by_none",
    ),
    (
        "emulator: what is not there is refused before a TPM is made: encryption, TPM 1.2",
        "printf '<secret private=\"yes\"><uuid>%s</uuid><usage type=\"vtpm\"><name>x</name></usage></secret>' $UUID > secret
         v secret-define secret; v secret-set-value $UUID --base64 $(echo -n secret | base64)
         define \"<backend type='emulator' version='2.0'><encryption secret='$UUID'/></backend>\"
         not v start machine 2> said; grep -q 'passphrase' said; v undefine machine
         if define \"<backend type='emulator' version='1.2'/>\" 2> said && v start machine 2> said; then false; fi
         grep -i -q 'tpm.*1.2' said; test -z \"$(find home/.config/libvirt -name state)\"",
    ),
];

/// Installs libvirt, and makes the guest.
pub fn prepare(bench: &Bench) -> Result<()> {
    ensure_packages(PACKAGES)?;
    measured::prepare(bench).context("the kernel")?;
    let folder = bench.folder("libvirt")?;
    fs::write(folder.join("init"), INIT)?;
    let script = "rm -rf root; mkdir -p root/bin root/proc root/sys root/dev root/tmp
         cp $(command -v busybox) root/bin/busybox; cp $(command -v tpm2) root/bin/tpm2; cp init root/init
         tcti=$(ldconfig -p | sed -n 's/.*libtss2-tcti-device.so.0 .*=> //p' | head -n 1); test -n \"$tcti\"
         for library in $tcti $(ldd root/bin/tpm2 $tcti | grep -o '/[^ :]*' | grep '\\.so' | sort -u); do
             mkdir -p root$(dirname $library); cp -L $library root$library
         done
         chmod 755 root/init; (cd root && find . | cpio -o -H newc --quiet) > initrd";
    let mut bash = Command::new("bash");
    must(bash.current_dir(&folder).args(["-c", &format!("set -eux\n{script}")]), &folder.join("prepare.log"))
}

/// Runs each case with a libvirtd of its own.
pub fn run(bench: &Bench) -> Result<Vec<Tested>> {
    let mut results = Vec::new();
    for (name, script) in CASES.iter().filter(|(name, _)| bench.wants(name)) {
        results.push(tested(name, one(bench, name, script)?));
    }
    Ok(results)
}

fn one(bench: &Bench, name: &str, script: &str) -> Result<Verdict> {
    let folder = Folder::new()?;
    let place = folder.path();
    for made in ["bin", "home", "run"] {
        fs::create_dir(place.join(made))?;
    }
    fs::copy(bench.servers.program(), place.join("bin/quoin-tpm"))?;
    for link in ["swtpm", "swtpm_setup", "swtpm_ioctl"] {
        fs::os::unix::fs::symlink("quoin-tpm", place.join("bin").join(link))?;
    }
    for (from, file) in [("measured-boot", "vmlinuz"), ("libvirt", "initrd")] {
        fs::copy(bench.folder(from)?.join(file), place.join(file))?;
    }
    let mut bash = as_user(place)?;
    bash.args(["-c", &format!("set -eu\n{NOT}{FUNCTIONS}\nset -x\nserve\n{script}")]).current_dir(place);
    let verdict = bench.judge_script(name, &mut bash, TIMEOUT);
    for (log, file) in [("console", "console"), ("libvirtd", "libvirtd.log"), ("qemu", QEMUS), ("swtpm", SWTPMS)] {
        let said = fs::read(place.join(file)).unwrap_or_default();
        bench.keep_log(&format!("{name}.{log}"), &said)?;
    }
    end_all(place);
    verdict
}

/// Logs of libvirt's.
const QEMUS: &str = "home/.cache/libvirt/qemu/log/machine.log";
const SWTPMS: &str = "home/.cache/libvirt/qemu/log/machine-swtpm.log";

/// A shell for the folder, as a user for whom libvirt has daemons of its own.
fn as_user(place: &Path) -> Result<Command> {
    let mut command = if debian::installer() == Installer::Root {
        let given = Command::new("chown").args(["-R", NOBODY]).arg(place).status()?;
        ensure!(given.success(), "cannot give the folder to {NOBODY}");
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={NOBODY}"), "--regid=nogroup", "--clear-groups", "bash"]);
        command
    } else {
        Command::new("bash")
    };
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}:/usr/sbin:/sbin", place.join("bin").display()));
    command.env("HOME", place.join("home")).env("XDG_RUNTIME_DIR", place.join("run"));
    command.env("XDG_CONFIG_HOME", place.join("home/.config")).env("XDG_CACHE_HOME", place.join("home/.cache"));
    command.env_remove("XDG_DATA_HOME").env_remove("LIBVIRT_DEFAULT_URI").env("TMPDIR", place);
    Ok(command)
}

/// Ends whatever has left a file with its process id: nothing does, if the case has come to its end.
fn end_all(place: &Path) {
    // libvirt's files have no end of line.
    let script = "find . -name '*.pid' | while read -r file; do kill -9 $(cat \"$file\"); done";
    let _ = Command::new("bash").args(["-c", script]).current_dir(place).output();
}

#[cfg(test)]
mod tests {
    use super::{CASES, FUNCTIONS, INIT};
    use host::shell::negates;
    use std::process::Command;

    #[test]
    fn every_script_is_a_script() {
        let scripts = CASES.iter().map(|(name, script)| (*name, format!("{FUNCTIONS}\n{script}")));
        for (name, script) in scripts.chain([("guest", INIT.to_owned())]) {
            let checked = Command::new("bash").args(["-n", "-c", &script]).status().unwrap();
            assert!(checked.success(), "{name}");
        }
        assert!(CASES.iter().all(|(_, script)| !negates(script)));
    }
}
