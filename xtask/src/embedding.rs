//! The suite that does what docs/embedding.md says, as somebody does who has nothing but a checkout.

use crate::capi;
use anyhow::{Context, Result, ensure};
use booted::{Totals, case};
use fs_err as fs;
use host::qemu::Folder;
use host::{child, debian, workspace};
use std::os::unix::fs::symlink;

/// The page's languages, in the order of its blocks: a manifest, its program, how that is run; a program in C, and how.
const BLOCKS: [&str; 5] = ["toml", "rust", "sh", "c", "sh"];

/// The page, in two folders with a checkout and nothing else.
pub fn suite() -> Result<Totals> {
    debian::ensure(&capi::PROGRAMS)?;
    let page = fs::read_to_string(workspace::root()?.join("docs/embedding.md"))?;
    let [manifest, program, cargo, c, cc] = blocks(&page)?;
    let rust = [("vtpm/Cargo.toml", manifest), ("vtpm/src/main.rs", program)];
    let mut totals = case(
        "its Rust: a crate with these dependencies and this program",
        follow(&rust, cargo, "a TPM, whose state has "),
    );
    totals += case(
        "its C: a program with this command line",
        follow(&[("first.c", c)], cc, "nothing is wrong: a response of 10 octets\n"),
    );
    Ok(totals)
}

/// What stands in the page's blocks.
fn blocks(page: &str) -> Result<[&str; BLOCKS.len()]> {
    let all: Vec<(&str, &str)> =
        page.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n')).collect();
    let languages: Vec<&str> = all.iter().map(|(language, _)| *language).collect();
    ensure!(languages == BLOCKS, "the page has blocks of {languages:?}");
    let texts: Vec<&str> = all.iter().map(|(_, text)| *text).collect();
    texts.try_into().ok().context("other blocks")
}

/// Writes the files and does what the shell is told; what it says last is `said`.
fn follow(files: &[(&str, &str)], shell: &str, said: &str) -> Result<()> {
    let folder = Folder::new()?;
    symlink(workspace::root()?, folder.path().join("quoin"))?;
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().context("a file in no folder")?)?;
        fs::write(file, text)?;
    }
    let run = |offline: bool| {
        let mut command = child::command("sh");
        command.args(["-euc", shell]).current_dir(folder.path()).env_remove("CARGO_TARGET_DIR");
        command.env("CARGO_NET_OFFLINE", offline.to_string()).output().context("cannot start sh")
    };
    // With the registry's crates that are here, if they are enough: newest versions would be fetched. They are not
    // where this workspace replaces a crate, which such a program takes from the registry.
    let mut output = run(true)?;
    if String::from_utf8_lossy(&output.stderr).contains("--offline was specified") {
        output = run(false)?;
    }
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{shell}ended with {}: {errors}", output.status);
    let last = out.lines().last().map(|line| format!("{line}\n")).unwrap_or_default();
    ensure!(last.starts_with(said), "it says {last}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{BLOCKS, blocks};

    #[test]
    fn a_page_has_its_blocks_in_their_order_or_is_another() {
        let page: String = BLOCKS.iter().map(|language| format!("text\n```{language}\nof {language}\n```\n")).collect();
        assert_eq!(blocks(&page).unwrap().map(str::trim), BLOCKS.map(|language| format!("of {language}")));
        assert!(blocks(&page.replace("```c\n", "```cpp\n")).is_err());
        assert!(blocks(page.split_once("```sh").unwrap().0).is_err());
    }
}
