//! The recovery key, and the owner's, as text: 32 octets and two of their digest, in base32, in groups of five.

use anyhow::{Context, Result, ensure};
use data_encoding::{BASE32_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use fs_err as fs;
use sealed::RecoveryKey;
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

const OCTETS: usize = 32;

fn checksum(octets: &[u8]) -> [u8; 2] {
    let digest = sealed::layout::sha256(octets);
    [digest[0], digest[1]]
}

/// A new key's octets.
pub(crate) fn draw() -> Result<Zeroizing<[u8; OCTETS]>> {
    let mut octets = Zeroizing::new([0; OCTETS]);
    getrandom::fill(&mut *octets).context("the system gives no random octets")?;
    Ok(octets)
}

pub(crate) fn text(octets: &[u8; OCTETS]) -> Zeroizing<String> {
    let whole = Zeroizing::new([&octets[..], &checksum(octets)].concat());
    let text = Zeroizing::new(BASE32_NOPAD.encode(&whole));
    let groups: Vec<&str> = (0..text.len()).step_by(5).map(|at| &text[at..text.len().min(at + 5)]).collect();
    Zeroizing::new(groups.join("-"))
}

/// The key that a text is. Case, blanks and hyphens do not count; nor do lines that begin with `#`.
fn parse(text: &str) -> Result<Zeroizing<[u8; OCTETS]>> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let letters = lines.flat_map(str::chars).filter(|letter| !letter.is_whitespace() && *letter != '-');
    let letters = Zeroizing::new(letters.map(|letter| letter.to_ascii_uppercase()).collect::<String>());
    let whole = BASE32_NOPAD.decode(letters.as_bytes()).ok().map(Zeroizing::new);
    let whole = whole.context("it is no key of ours: it has letters that none has, or another length")?;
    let (octets, sum) = whole.split_at_checked(OCTETS).context("it is no key of ours: it is too short")?;
    let octets: [u8; OCTETS] = octets.try_into()?;
    ensure!(sum == checksum(&octets), "it is no key of ours: a letter is wrong, or some are missing");
    Ok(Zeroizing::new(octets))
}

/// The key in a file, or from standard input.
pub(crate) fn read(file: &Path) -> Result<RecoveryKey> {
    RecoveryKey::new(&*octets(file)?).ok().context("no key follows from it")
}

/// The octets of a key in a file, or from standard input.
pub(crate) fn octets(file: &Path) -> Result<Zeroizing<[u8; OCTETS]>> {
    let mut text = Zeroizing::new(String::new());
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
    } else {
        fs::File::open(file)?.read_to_string(&mut text).with_context(|| file.display().to_string())?;
    }
    parse(&text).with_context(|| file.display().to_string())
}

pub(crate) fn hex(octets: &[u8]) -> String {
    HEXLOWER.encode(octets)
}

/// An option's digest.
pub(crate) fn digest(text: &str) -> Result<[u8; 32]> {
    let octets = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).context("it is not hexadecimal")?;
    octets.try_into().ok().context("it has not 32 octets")
}

#[cfg(test)]
mod tests {
    use super::{parse, text};

    #[test]
    fn a_key_is_read_as_it_is_printed_and_a_wrong_letter_is_noticed() {
        let octets = core::array::from_fn(|n| u8::try_from(7 * n % 256).unwrap());
        let printed = text(&octets);
        assert_eq!(printed.len(), 55 + 10);
        for same in [printed.to_string(), printed.to_lowercase(), format!("# mine\n {}\n", printed.replace('-', " "))] {
            assert_eq!(*parse(&same).unwrap(), octets);
        }
        for at in 0..printed.len() {
            let mut other = printed.to_string().into_bytes();
            if other[at] == b'-' {
                continue;
            }
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert!(parse(core::str::from_utf8(&other).unwrap()).is_err(), "{at}");
        }
        for short in ["", "ABCDE", &printed[1..], &printed[..printed.len() - 1]] {
            assert!(parse(short).is_err(), "{short}");
        }
    }
}
