//! Lines for a reader: wrapped between words at the width of a terminal, and as they are where no terminal is.

use std::io::{IsTerminal, stdout};
use textwrap::core::Word;
use textwrap::{Options, WordSeparator, WordSplitter};

/// Digests are broken between groups of this many hexadecimal digits.
const GROUP: usize = 16;

/// Prints `head` and `text`; lines after the first begin below the text.
pub fn say(head: &str, text: &str) {
    let width = if stdout().is_terminal() { textwrap::termwidth() } else { usize::MAX };
    println!("{}", wrapped(head, text, width));
}

fn wrapped(head: &str, text: &str, width: usize) -> String {
    let indent = " ".repeat(head.chars().count());
    let options = Options::new(width).initial_indent(head).subsequent_indent(&indent);
    textwrap::fill(
        text,
        options
            .break_words(false)
            .word_splitter(WordSplitter::NoHyphenation)
            .word_separator(WordSeparator::Custom(pieces)),
    )
}

/// What a line may be broken into: its words, and the groups of a digest.
fn pieces(line: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    Box::new(line.split_inclusive(' ').flat_map(|word| {
        // A comma may follow.
        let digits = word.trim_end_matches(|letter: char| letter.is_ascii_punctuation() || letter == ' ').len();
        let size = if is_digest(&word[..digits]) { GROUP } else { word.len() };
        let ends = (size..digits).step_by(size).chain([word.len()]);
        ends.scan(0, move |start, end| Some(Word::from(&word[core::mem::replace(start, end)..end])))
    }))
}

fn is_digest(word: &str) -> bool {
    word.len() >= 2 * GROUP && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_are_broken_between_words_and_continue_below_the_text() {
        let text = "heap 248 KiB used, rip 0x1000";
        assert_eq!(wrapped("  3.10 s  ", text, 30), "  3.10 s  heap 248 KiB used,\n          rip 0x1000");
        assert_eq!(wrapped("  3.10 s  ", text, usize::MAX), "  3.10 s  heap 248 KiB used, rip 0x1000");
    }

    #[test]
    fn a_digest_is_broken_between_groups_of_digits_and_no_other_word_anywhere() {
        let digest = "0123456789abcdef".repeat(6);
        let lines = wrapped("measurement  ", &digest, 80);
        assert_eq!(lines, format!("measurement  {}\n             {}", &digest[..64], &digest[64..]));
        let listed = wrapped("measurement  ", &format!("{digest}, then"), 80);
        assert_eq!(listed, format!("{lines}, then"));
        let path = format!("/{}", "long-name/".repeat(12));
        assert_eq!(wrapped("image  ", &path, 80), format!("image  {path}"));
    }
}
