//! Blocks: parts of docs/ that a verb writes as a whole, as a table of what it has found.
//!
//! A verb that has run completely keeps its block below the target directory, so that a run does not change the
//! sources; `cargo xtask figures` puts it between the two marks of its page.

use crate::workspace;
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use std::path::PathBuf;

const END: &str = "<!-- end -->";

macro_rules! blocks {
    ($($name:ident $file:literal $page:literal $verb:literal)*) => {
        /// What is written as a whole.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Block {
            $(#[doc = concat!("By `", $verb, "`, in ", $page, ".")] $name,)*
        }

        impl Block {
            /// All of them.
            pub const ALL: &[Block] = &[$(Self::$name),*];

            const fn file(self) -> &'static str {
                match self { $(Self::$name => $file,)* }
            }

            /// The page, by its path from the root.
            pub const fn page(self) -> &'static str {
                match self { $(Self::$name => $page,)* }
            }

            /// The mark before it.
            const fn begin(self) -> &'static str {
                match self { $(Self::$name => concat!("<!-- written by ", $verb, " -->"),)* }
            }
        }
    };
}

blocks! {
    Conformance "conformance.md" "docs/conformance.md" "cargo xtask conformance"
    ConformanceSwtpm "conformance-swtpm.md" "docs/conformance.md" "cargo xtask conformance --server swtpm"
    Beside "beside.md" "docs/threats.md" "cargo xtask beside"
    Memory "memory.md" "docs/figures.md" "cargo xtask memory"
    Holds "holds.md" "docs/holds.md" "cargo xtask holds"
    Model "model.md" "docs/model.md" "cargo xtask explore"
    Clients "clients.md" "docs/clients.md" "cargo xtask clients"
    Commands "commands.md" "docs/clients.md" "the traces of cargo xtask clients"
}

/// Where a block is kept; the folder is made.
pub fn kept(block: Block) -> Result<PathBuf> {
    let folder = workspace::target_dir()?.join("pages");
    fs::create_dir_all(&folder)?;
    Ok(folder.join(block.file()))
}

/// Keeps a block.
pub fn keep(block: Block, text: &str) -> Result<()> {
    Ok(fs::write(kept(block)?, text)?)
}

/// Writes what was kept into the pages, and gives the blocks that are new. What is in its page is kept no longer: an
/// old run would take the place of what somebody else has written since.
pub fn write() -> Result<Vec<Block>> {
    let mut new = Vec::new();
    for block in Block::ALL {
        let kept = kept(*block)?;
        let Ok(text) = fs::read_to_string(&kept) else { continue };
        let path = workspace::root()?.join(block.page());
        let page = fs::read_to_string(&path)?;
        let changed = with(&page, *block, &text)?;
        if changed != page {
            fs::write(path, changed)?;
            new.push(*block);
        }
        fs::remove_file(kept)?;
    }
    Ok(new)
}

/// What was found last: by a run that is not in the page yet, or what the page has.
pub fn latest(block: Block) -> Result<String> {
    let kept = kept(block)?;
    if kept.exists() { Ok(fs::read_to_string(kept)?) } else { written(block) }
}

/// What the page has of a block now.
pub fn written(block: Block) -> Result<String> {
    let page = fs::read_to_string(workspace::root()?.join(block.page()))?;
    let begin = block.begin();
    let (_, rest) = page.split_once(begin).with_context(|| format!("{} has no {begin}", block.page()))?;
    let (text, _) = rest.split_once(END).with_context(|| format!("{begin} has no {END}"))?;
    Ok(text.trim().to_owned())
}

/// The page with another text between the block's marks.
fn with(page: &str, block: Block, text: &str) -> Result<String> {
    let begin = block.begin();
    let (before, rest) = page.split_once(begin).with_context(|| format!("{} has no {begin}", block.page()))?;
    let (old, after) = rest.split_once(END).with_context(|| format!("{begin} has no {END}"))?;
    ensure!(!old.contains("<!--") && !after.contains(begin), "two times {begin}, or no {END} after it");
    ensure!(!text.contains("<!--"), "a block has no marks in it");
    Ok(format!("{before}{begin}\n\n{}\n\n{END}{after}", text.trim()))
}

/// A table in Markdown: the names of its columns, its rows.
pub fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let row = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('\n', " ").replace('|', "/")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut table = row(&head.map(String::from)) + &"|---".repeat(N) + "|\n";
    rows.into_iter().for_each(|cells| table.push_str(&row(&cells)));
    table
}

#[cfg(test)]
mod tests {
    use super::{Block, table, with};
    use crate::workspace;
    use std::fs;

    #[test]
    fn every_block_has_its_marks_in_its_page() {
        for block in Block::ALL {
            let page = fs::read_to_string(workspace::root().unwrap().join(block.page())).unwrap();
            let changed = with(&page, *block, "a text").unwrap();
            assert!(changed.contains(&format!("{}\n\na text\n\n<!-- end -->", block.begin())), "{block:?}");
        }
    }

    #[test]
    fn what_is_between_the_marks_is_written_and_nothing_else() {
        let page = |a: &str, b: &str| {
            let (suites, swtpm) = (Block::Conformance.begin(), Block::ConformanceSwtpm.begin());
            format!("# x\n\n{suites}\n\n{a}\n\n<!-- end -->\n\nhand\n\n{swtpm}\n\n{b}\n\n<!-- end -->\ny\n")
        };
        assert_eq!(with(&page("a", "b"), Block::Conformance, "new\n").unwrap(), page("new", "b"));
        assert_eq!(with(&page("a", "b"), Block::ConformanceSwtpm, "new\n").unwrap(), page("a", "new"));
        assert_eq!(with(&page("a", "b"), Block::Conformance, "a\n").unwrap(), page("a", "b"), "the same again");
    }

    #[test]
    fn a_page_without_the_marks_or_with_two_is_refused() {
        let block = |text: &str| format!("{}\n{text}", Block::Beside.begin());
        let swtpm = Block::ConformanceSwtpm.begin();
        for page in ["", &block(""), &block(&format!("{swtpm}\n<!-- end -->")), &block("<!-- end -->\n").repeat(2)] {
            assert!(with(page, Block::Beside, "new").is_err(), "{page}");
        }
        assert!(with(&block("<!-- end -->"), Block::Beside, "<!-- end -->").is_err());
    }

    #[test]
    fn a_table_keeps_its_columns() {
        let rows = [["a | b".into(), "1\n2".into()], ["c".into(), "3".into()]];
        assert_eq!(table(["what", "how many"], rows), "| what | how many |\n|---|---|\n| a / b | 1 2 |\n| c | 3 |\n");
    }
}
