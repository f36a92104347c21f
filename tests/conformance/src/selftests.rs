//! The Linux kernel's selftests for TPM 2.0: those that test the TPM, not the kernel's driver.

use super::{Bench, Tested, Verdict, tested};
use anyhow::{Context, Result};
use core::time::Duration;
use fs_err as fs;
use host::debian;
use host::fetch::{find, must, within};
use std::process::Command;

/// The Debian package with the kernel's source.
const PACKAGE: &str = "linux-source-6.1";
/// Where the tests are in it.
const TESTS: &str = "tools/testing/selftests/tpm2";
/// How long a test may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The tests, and why one is not run where there is no driver.
const CASES: &[(&str, Option<&str>)] = &[
    ("SmokeTest.test_seal_with_auth", None),
    ("SmokeTest.test_seal_with_policy", None),
    ("SmokeTest.test_unseal_with_wrong_auth", None),
    ("SmokeTest.test_unseal_with_wrong_policy", None),
    ("SmokeTest.test_seal_with_too_long_auth", None),
    ("SmokeTest.test_too_short_cmd", DRIVER),
    ("SmokeTest.test_read_partial_resp", DRIVER),
    ("SmokeTest.test_read_partial_overwrite", DRIVER),
    ("SmokeTest.test_send_two_cmds", DRIVER),
    ("SpaceTest.test_make_two_spaces", DRIVER),
    ("SpaceTest.test_flush_context", DRIVER),
    ("SpaceTest.test_get_handles", DRIVER),
    ("SpaceTest.test_invalid_cc", DRIVER),
    ("AsyncTest.test_async", DRIVER),
    ("AsyncTest.test_flush_invalid_context", DRIVER),
];
/// Why a test is not run that a socket cannot pass or fail.
const DRIVER: Option<&str> = Some("tests the kernel's device files, not the TPM");
/// Puts a connection to the server where the tests open /dev/tpm0.
const RUNNER: &str = "
import builtins, os, socket, sys, unittest
port = int(sys.argv.pop(1))
device = builtins.open
class Stream:
    def __init__(self): self.socket = socket.create_connection(('127.0.0.1', port))
    def write(self, data):
        self.command = data
        self.socket.sendall(data)
    def flush(self): pass
    def fileno(self): return self.socket.fileno()
    def close(self): self.socket.close()
    def read(self, size=-1):
        while True:
            response = self.response()
            # The kernel's driver sends a command again that is to be retried.
            if response[6:10] != bytes([0, 0, 9, 0x22]): return response
            self.socket.sendall(self.command)
    def response(self):
        head = b''
        while len(head) < 10: head += self.received(10 - len(head))
        size = int.from_bytes(head[2:6], 'big')
        while len(head) < size: head += self.received(size - len(head))
        return head
    def received(self, size):
        data = self.socket.recv(size)
        if not data: raise EOFError('the TPM has hung up')
        return data
def opened(name, *args, **kwargs):
    return Stream() if name in ('/dev/tpm0', '/dev/tpmrm0') else device(name, *args, **kwargs)
builtins.open = opened
sys.path.insert(0, os.getcwd())
import tpm2_tests
unittest.main(module=tpm2_tests, argv=sys.argv)
";

/// Fetches the kernel's source and takes the tests out of it.
pub fn prepare(bench: &Bench) -> Result<()> {
    let folder = bench.folder("kernel")?;
    if folder.join("tpm2_tests.py").exists() {
        return Ok(());
    }
    debian::ensure(&[("python3", "python3"), ("xz", "xz-utils")])?;
    if find(&folder, "deb").is_err() {
        must(Command::new("apt-get").current_dir(&folder).args(["download", PACKAGE]), &folder.join("download.log"))?;
    }
    let package = find(&folder, "deb")?;
    let script = format!(
        "set -o pipefail; dpkg-deb --fsys-tarfile '{}' | tar -xO ./usr/src/{PACKAGE}.tar.xz | \
         tar -xJ --strip-components=5 --wildcards '*/{TESTS}/*.py'",
        package.display()
    );
    must(Command::new("bash").current_dir(&folder).args(["-c", &script]), &folder.join("unpack.log"))?;
    fs::remove_file(package).context("cannot remove the package")
}

/// Runs each test with a fresh TPM.
pub fn run(bench: &Bench) -> Result<Vec<Tested>> {
    let folder = bench.folder("kernel")?;
    let mut results = Vec::new();
    for (name, not_here) in CASES.iter().filter(|(name, _)| bench.wants(name)) {
        let verdict = match not_here {
            Some(reason) => Verdict::Skipped((*reason).into()),
            None => {
                let server = bench.servers.start()?;
                server.startup()?;
                let mut python = Command::new("python3");
                python.current_dir(&folder).args(["-c", RUNNER, &server.port().to_string(), "-v", name]);
                let output = within(&mut python, TIMEOUT)?;
                let said = output.as_ref().map(|output| output.stdout.clone()).unwrap_or_default();
                bench.keep_log(name, &said)?;
                verdict(output.is_some_and(|output| output.status.success()), &String::from_utf8_lossy(&said))
            }
        };
        results.push(tested(name, verdict));
    }
    Ok(results)
}

fn verdict(passed: bool, said: &str) -> Verdict {
    let last = || said.lines().rev().find(|line| line.contains("Error")).unwrap_or("it did not end").to_owned();
    if passed { Verdict::Passed } else { Verdict::Failed(last()) }
}
