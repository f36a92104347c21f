//! `beside FOLDER TABLE`: what tests of threats have sent (`threats` in `QUOIN_RECORD`), sent to Debian's swtpm: a line
//! for each TPM of a test, and to the file TABLE the table of docs/threats.md, a row for each test.
//!
//! What depends on random numbers of the TPM, as an HMAC over its nonce does, cannot be right for another TPM: from
//! there on the codes differ, and the line says where. Time does not pass, and hardware events are left out.

use anyhow::{Context, Result, ensure};
use core::time::Duration;
use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;

/// A fresh swtpm in a folder of its own.
struct Swtpm {
    process: Child,
    folder: PathBuf,
    data: UnixStream,
    control: UnixStream,
}

fn main() -> Result<()> {
    sigpipe::reset();
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let usage = "usage: beside FOLDER TABLE";
    let (folder, table) = (arguments.next().context(usage)?, arguments.next().context(usage)?);
    let mut files: Vec<_> =
        fs::read_dir(folder.join("threats"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let mut tests = Some(BTreeMap::<String, [usize; 2]>::new());
    for file in files {
        let name = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match replay(&file) {
            Ok(replayed) => {
                println!("{name}: {replayed}");
                if let Some(tests) = &mut tests {
                    let [commands, others] = tests.entry(name).or_default();
                    *commands += replayed.commands;
                    *others += replayed.differences.len();
                }
            }
            Err(error) => {
                println!("{name}: swtpm ended: {error:#}");
                tests = None;
            }
        }
    }
    match tests {
        Some(tests) => fs::write(table, rows(&tests))?,
        None => println!("no table: swtpm has not answered all"),
    }
    Ok(())
}

/// The table of docs/threats.md: by a test's name its commands, and how many had another code.
fn rows(tests: &BTreeMap<String, [usize; 2]>) -> String {
    let head = "| test | commands | other codes |\n|---|---|---|\n".to_owned();
    tests
        .iter()
        .fold(head, |table, (name, [commands, others])| table + &format!("| `{name}` | {commands} | {others} |\n"))
}

/// What became of one TPM's commands.
struct Replayed {
    commands: usize,
    differences: Vec<String>,
    /// Commands at a locality that swtpm has not, which were left out.
    extended: usize,
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commands, differences, extended } = self;
        match differences.len() {
            0 => write!(f, "{commands} commands, same codes")?,
            n => write!(f, "{commands} commands, {n} other codes: {}", differences.join("; "))?,
        }
        if *extended > 0 { write!(f, "; without {extended} at a locality that swtpm has not") } else { Ok(()) }
    }
}

fn replay(file: &Path) -> Result<Replayed> {
    let text = fs::read_to_string(file)?;
    let mut tpm = Swtpm::start()?;
    let (mut commands, mut extended, mut differences) = (0, 0, Vec::new());
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let &[_, locality, command, ours] = &*words else {
            if line == "N" {
                drop(tpm);
                tpm = Swtpm::start()?;
            } else {
                tpm.init()?;
            }
            continue;
        };
        if locality.len() > 1 {
            extended += 1;
            continue;
        }
        commands += 1;
        let command = octets(command)?;
        let mut theirs = tpm.execute(locality.parse()?, &command)?;
        // TPM_RC_RETRY: ask again.
        for _ in 0..10 {
            if theirs.get(6..10) == Some(&[0, 0, 9, 0x22]) {
                theirs = tpm.execute(locality.parse()?, &command)?;
            }
        }
        let theirs = theirs.get(6..10).context("a short response")?;
        if octets(ours)? != theirs {
            let code = command.get(6..10).unwrap_or_default();
            differences.push(format!("{commands}: {} ours {ours} theirs {}", hex(code), hex(theirs)));
        }
    }
    Ok(Replayed { commands, differences, extended })
}

impl Swtpm {
    fn start() -> Result<Self> {
        let folder = env::temp_dir().join(format!("beside-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let path = |name: &str| format!("type=unixio,path={}", folder.join(name).display());
        let process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--tpmstate", &format!("dir={}", folder.display())])
            .args(["--ctrl", &path("control"), "--server", &path("data")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("swtpm (Debian package swtpm)")?;
        let connect = |name: &str| {
            for _ in 0..200 {
                if let Ok(stream) = UnixStream::connect(folder.join(name)) {
                    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
                    return Ok(stream);
                }
                sleep(Duration::from_millis(10));
            }
            anyhow::bail!("swtpm does not listen")
        };
        let (control, data) = (connect("control")?, connect("data")?);
        let mut tpm = Self { process, folder, data, control };
        tpm.init()?;
        Ok(tpm)
    }

    /// CMD_INIT: _TPM_Init.
    fn init(&mut self) -> Result<()> {
        self.control(&[0, 0, 0, 2, 0, 0, 0, 0])
    }

    fn control(&mut self, command: &[u8]) -> Result<()> {
        self.control.write_all(command)?;
        let mut answer = [0; 4];
        self.control.read_exact(&mut answer)?;
        ensure!(answer == [0; 4], "control command {command:x?}: {answer:x?}");
        Ok(())
    }

    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>> {
        self.control(&[0, 0, 0, 5, locality])?;
        self.data.write_all(command)?;
        let mut response = vec![0; 10];
        self.data.read_exact(&mut response)?;
        let size: [u8; 4] = response.get(2..6).context("no size")?.try_into()?;
        response.resize(usize::try_from(u32::from_be_bytes(size))?, 0);
        self.data.read_exact(response.get_mut(10..).context("no body")?)?;
        Ok(response)
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn octets(digits: &str) -> Result<Vec<u8>> {
    (0..digits.len()).step_by(2).map(|at| Ok(u8::from_str_radix(digits.get(at..at + 2).context("odd")?, 16)?)).collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{Replayed, rows};
    use std::collections::BTreeMap;

    #[test]
    fn the_table_has_a_row_for_each_test() {
        let tests = BTreeMap::from([("tn_b".to_owned(), [3, 1]), ("cve_a".to_owned(), [20, 0])]);
        let table = rows(&tests);
        assert_eq!(table.lines().skip(2).collect::<Vec<_>>(), ["| `cve_a` | 20 | 0 |", "| `tn_b` | 3 | 1 |"]);
    }

    #[test]
    fn a_line_says_what_was_left_out() {
        let mut replayed = Replayed { commands: 2, differences: Vec::new(), extended: 0 };
        assert_eq!(replayed.to_string(), "2 commands, same codes");
        replayed.differences.push("1: a".into());
        replayed.extended = 3;
        let said = "2 commands, 1 other codes: 1: a; without 3 at a locality that swtpm has not";
        assert_eq!(replayed.to_string(), said);
    }
}
