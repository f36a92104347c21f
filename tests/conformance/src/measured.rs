//! A measured boot: QEMU's `-tpmdev emulator` on the server, OVMF measures into the TPM, Debian's kernel finds it, IMA
//! extends PCR 10, and what was logged leads to the values that the PCRs have.

use super::{Bench, Tested, Verdict, tested};
use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use fs_err as fs;
use host::fetch::{ensure_packages, must, within};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian packages: emulator, firmware, what is in the initial file system.
const PACKAGES: &[&str] = &["busybox-static", "cpio", "ovmf", "qemu-system-x86"];
/// The package that depends on the kernel's.
const KERNEL: &str = "linux-image-amd64";
/// The firmware, and its variables.
const OVMF: [&str; 2] = ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"];
/// How long a boot may take without virtualization.
const TIMEOUT: Duration = Duration::from_secs(600);
/// QEMU's devices.
const DEVICES: &[&str] = &["tpm-tis", "tpm-crb"];
/// The first process: tells PCRs and logs in hexadecimal digits, a line each, and ends.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t securityfs securityfs /sys/kernel/security
hex() { /bin/busybox echo \"@$1 $(/bin/busybox od -An -v -tx1 \"$2\" | /bin/busybox tr -d ' \\n')\"; }
/bin/busybox echo
hex log.ima /sys/kernel/security/ima/binary_runtime_measurements
hex log.firmware /sys/kernel/security/tpm0/binary_bios_measurements
for bank in sha1 sha256; do for pcr in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    /bin/busybox echo \"@pcr.$bank.$pcr $(/bin/busybox cat /sys/class/tpm/tpm0/pcr-$bank/$pcr)\"
done; done
/bin/busybox echo @end
/bin/busybox poweroff -f
";

/// Fetches the kernel and makes the initial file system.
pub fn prepare(bench: &Bench) -> Result<()> {
    let folder = bench.folder("measured-boot")?;
    ensure_packages(PACKAGES)?;
    if folder.join("complete").exists() {
        return Ok(());
    }
    let script = format!(
        "package=$(apt-cache depends {KERNEL} | sed -n 's/^ *Depends: *//p' | head -n 1)
         test -n \"$package\"; apt-get download $package
         dpkg-deb --fsys-tarfile linux-image*.deb | tar -xO --wildcards './boot/vmlinuz-*' > vmlinuz
         mkdir -p root/bin root/proc root/sys root/dev; cp \"$(command -v busybox)\" root/bin/busybox
         cp init root/init; chmod +x root/init; mknod root/dev/console c 5 1 || true
         (cd root && find . | cpio -o -H newc --quiet) > initrd; rm linux-image*.deb"
    );
    fs::write(folder.join("init"), INIT)?;
    let mut bash = Command::new("bash");
    must(bash.current_dir(&folder).args(["-c", &format!("set -eux\n{script}")]), &folder.join("prepare.log"))?;
    Ok(fs::write(folder.join("complete"), "")?)
}

/// Boots with each device and judges what the boot tells.
pub fn run(bench: &Bench) -> Result<Vec<Tested>> {
    let mut results = Vec::new();
    for device in DEVICES.iter().filter(|device| bench.wants(device)) {
        let booted = boot(bench, device);
        for (name, check) in CHECKS {
            let outcome = booted.as_ref().map_err(|error| format!("{error:#}"));
            let outcome = outcome.and_then(|report| check(report).map_err(|error| format!("{error:#}")));
            let verdict = outcome.map_or_else(Verdict::Failed, |()| Verdict::Passed);
            results.push(tested(&format!("{device}: {name}"), verdict));
        }
    }
    Ok(results)
}

/// What the first process has reported, by name.
type Report = BTreeMap<String, String>;

type Check = fn(&Report) -> Result<()>;

const CHECKS: &[(&str, Check)] = &[
    ("the firmware measures and the kernel finds the TPM", finds),
    ("the firmware's log leads to the PCRs, SHA-1", |report| replays(report, "sha1")),
    ("the firmware's log leads to the PCRs, SHA-256", |report| replays(report, "sha256")),
    ("IMA's log leads to PCR 10, SHA-1", |report| ima(report, "sha1")),
    ("IMA's log leads to PCR 10, SHA-256", |report| ima(report, "sha256")),
];

fn boot(bench: &Bench, device: &str) -> Result<Report> {
    let folder = bench.folder("measured-boot")?;
    let server = bench.servers.start_for_qemu()?;
    let variables = bench.logs.join("variables");
    fs::copy(OVMF[1], &variables)?;
    let console = bench.logs.join(format!("{device}.console"));
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "q35", "-accel", "tcg", "-m", "512M", "-nodefaults", "-no-user-config", "-no-reboot"]);
    qemu.args(["-cpu", "max", "-display", "none", "-monitor", "none"]);
    qemu.arg("-serial").arg(file_option("file:", &console));
    for (path, more) in [(Path::new(OVMF[0]), ",unit=0,readonly=on"), (&variables, ",unit=1")] {
        qemu.arg("-drive").arg(format!("if=pflash,format=raw,file={}{more}", path.display()));
    }
    qemu.arg("-kernel").arg(folder.join("vmlinuz")).arg("-initrd").arg(folder.join("initrd"));
    // On a busy host an emulated timer is too late for the kernel's check of it, which panics.
    qemu.args(["-append", "console=ttyS0 ima_policy=tcb panic=-1 quiet no_timer_check"]);
    qemu.arg("-chardev").arg(format!("socket,id=control,path={}", server.control_path().display()));
    qemu.args(["-tpmdev", "emulator,id=tpm,chardev=control", "-device", &format!("{device},tpmdev=tpm")]);
    let output = within(&mut qemu, TIMEOUT)?;
    let said = fs::read(&console).unwrap_or_default();
    bench.keep_log(&format!("{device}.server"), server.log().as_bytes())?;
    bench.keep_trace(device, &server)?;
    let report = report_of(&String::from_utf8_lossy(&said));
    if report.contains_key("end") {
        return Ok(report);
    }
    let messages =
        output.map_or_else(|| "it did not end".into(), |output| String::from_utf8_lossy(&output.stdout).into_owned());
    bail!("the boot did not come to its end (see {}): {messages}", console.display())
}

fn file_option(kind: &str, path: &Path) -> String {
    format!("{kind}{}", path.display())
}

/// Lines `@name value`.
fn report_of(console: &str) -> Report {
    let line = |line: &str| {
        let (name, value) =
            line.strip_prefix('@')?.trim().split_once(' ').unwrap_or((line.trim_start_matches('@').trim(), ""));
        Some((name.to_owned(), value.to_owned()))
    };
    console.lines().filter_map(|text| line(text.trim())).collect()
}

fn bytes(report: &Report, name: &str) -> Result<Vec<u8>> {
    let text = report.get(name).with_context(|| format!("{name} is not in the report"))?;
    ensure!(text.len() % 2 == 0, "{name} is cut short");
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).with_context(|| format!("{name} is no number"));
    (0..text.len()).step_by(2).map(byte).collect()
}

fn finds(report: &Report) -> Result<()> {
    ensure!(!bytes(report, "log.firmware")?.is_empty(), "the firmware has no log");
    ensure!(bytes(report, "pcr.sha256.0")?.iter().any(|byte| *byte != 0), "PCR 0 was never extended");
    ensure!(!bytes(report, "log.ima")?.is_empty(), "IMA has no log");
    Ok(())
}

fn hash(bank: &str, parts: &[&[u8]]) -> Vec<u8> {
    let all = parts.concat();
    if bank == "sha1" { Sha1::digest(all).to_vec() } else { Sha256::digest(all).to_vec() }
}

/// The number and the length of a bank's digests.
fn algorithm(bank: &str) -> (u16, usize) {
    if bank == "sha1" { (0x04, 20) } else { (0x0b, 32) }
}

fn compare(report: &Report, bank: &str, pcrs: &BTreeMap<u32, Vec<u8>>) -> Result<()> {
    ensure!(!pcrs.is_empty(), "the log has no events");
    for (pcr, wanted) in pcrs {
        let found = bytes(report, &format!("pcr.{bank}.{pcr}"))?;
        ensure!(found == *wanted, "PCR {pcr} is {found:02x?}, and the log leads to {wanted:02x?}");
    }
    Ok(())
}

/// The firmware's log (PC Client Platform Firmware Profile, 10.2).
fn replays(report: &Report, bank: &str) -> Result<()> {
    const NO_ACTION: u32 = 3;
    let log = bytes(report, "log.firmware")?;
    let mut reader = Reader(&log);
    // The first event tells the banks, in the format of old.
    reader.take(4 + 4 + 20)?;
    let mut specification = Reader(reader.sized()?);
    specification.take(24)?;
    let mut sizes = BTreeMap::new();
    for _ in 0..specification.word()? {
        let algorithm = specification.half()?;
        sizes.insert(algorithm, usize::from(specification.half()?));
    }
    let (wanted, length) = algorithm(bank);
    let mut pcrs: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    while !reader.0.is_empty() {
        let (pcr, kind, count) = (reader.word()?, reader.word()?, reader.word()?);
        let mut digest = None;
        for _ in 0..count {
            let algorithm = reader.half()?;
            let size = sizes.get(&algorithm).with_context(|| format!("bank {algorithm:#x} was not announced"))?;
            let value = reader.take(*size)?;
            digest = if algorithm == wanted { Some(value) } else { digest };
        }
        reader.sized()?;
        if kind != NO_ACTION {
            let old = pcrs.entry(pcr).or_insert_with(|| vec![0; length]);
            *old = hash(bank, &[old, digest.with_context(|| format!("an event has no digest for {bank}"))?]);
        }
    }
    compare(report, bank, &pcrs)
}

/// IMA's log: PCR, SHA-1 of the template, its name, its data; each bank is extended by its own digest of the data.
fn ima(report: &Report, bank: &str) -> Result<()> {
    let log = bytes(report, "log.ima")?;
    let mut reader = Reader(&log);
    let mut pcrs: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    while !reader.0.is_empty() {
        let pcr = reader.word()?;
        reader.take(20)?;
        reader.sized()?;
        let data = reader.sized()?;
        let old = pcrs.entry(pcr).or_insert_with(|| vec![0; algorithm(bank).1]);
        *old = hash(bank, &[old, &hash(bank, &[data])]);
    }
    ensure!(pcrs.contains_key(&10), "IMA has not extended PCR 10");
    compare(report, bank, &pcrs)
}

/// Little-endian values from the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length).context("the log ends early")?;
        self.0 = tail;
        Ok(head)
    }

    fn half(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.take(2)?.try_into()?))
    }

    fn word(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into()?))
    }

    fn sized(&mut self) -> Result<&'a [u8]> {
        let size = self.word()?;
        self.take(size as usize)
    }
}

/// Where the control channel for QEMU is, in a server's folder.
pub(super) fn control_socket(folder: &Path) -> PathBuf {
    folder.join("tpm.ctrl")
}

#[cfg(test)]
mod tests {
    use super::{Report, hash, ima, replays, report_of};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A log with the SHA-256 bank, one event for PCR 4 and one that extends nothing.
    fn report() -> Report {
        let mut specification = vec![0; 24];
        specification.extend([1, 0, 0, 0, 0x0b, 0, 32, 0, 0]);
        let mut log = vec![0; 28];
        log.extend(u32::try_from(specification.len()).unwrap().to_le_bytes());
        log.extend(specification);
        for (pcr, kind) in [(4, 13), (0, 3)] {
            log.extend([pcr, 0, 0, 0, kind, 0, 0, 0, 1, 0, 0, 0, 0x0b, 0]);
            log.extend([7; 32]);
            log.extend([2, 0, 0, 0, 1, 2]);
        }
        let mut report = report_of(&format!("@log.firmware {}\r\nother\n@end\n", hex(&log)));
        report.insert("pcr.sha256.4".into(), hex(&hash("sha256", &[&[0; 32], &[7; 32]])));
        report
    }

    #[test]
    fn a_firmwares_log_is_replayed() {
        replays(&report(), "sha256").unwrap();
        assert!(report().contains_key("end"));
    }

    #[test]
    fn another_value_and_a_cut_log_are_found() {
        let mut other = report();
        other.insert("pcr.sha256.4".into(), hex(&[0; 32]));
        assert!(replays(&other, "sha256").is_err());
        let mut cut = report();
        let log = cut["log.firmware"].clone();
        cut.insert("log.firmware".into(), log[..log.len() - 2].to_owned());
        assert!(replays(&cut, "sha256").is_err());
        assert!(replays(&report(), "sha1").is_err());
    }

    #[test]
    fn imas_log_is_replayed() {
        let mut log = vec![10, 0, 0, 0];
        log.extend([0; 20]);
        log.extend([1, 0, 0, 0, b'n', 3, 0, 0, 0, 1, 2, 3]);
        let mut report = Report::new();
        report.insert("log.ima".into(), hex(&log));
        report.insert("pcr.sha1.10".into(), hex(&hash("sha1", &[&[0; 20], &hash("sha1", &[&[1, 2, 3]])])));
        ima(&report, "sha1").unwrap();
        report.insert("pcr.sha1.10".into(), hex(&[0; 20]));
        assert!(ima(&report, "sha1").is_err());
    }
}
