//! What strangers wrote, as text that can stand in a program: names as identifiers, descriptions as comments, and strings.
//!
//! A description can't end its comment, steer a terminal, be run as an example, or bring HTML into a page made of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Characters of an identifier for a type; of any other.
pub(super) const TYPE_CHARACTERS_MAX: usize = 38;
/// See [`TYPE_CHARACTERS_MAX`].
pub(super) const NAME_CHARACTERS_MAX: usize = 48;
/// Characters of a name in a sentence.
const MENTION_CHARACTERS_MAX: usize = 48;

/// Identifiers of one scope, each given once.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// How often each was asked for.
    taken: BTreeMap<String, usize>,
}

impl Scope {
    /// A scope in which `names` are taken.
    pub(super) fn with<'a>(names: impl IntoIterator<Item = &'a str>) -> Scope {
        Scope { taken: names.into_iter().map(|name| (name.to_owned(), 1)).collect() }
    }

    /// `name` if it is free, else `name` with a number behind `before`.
    pub(super) fn claim(&mut self, name: &str, before: &str) -> String {
        let mut claimed = name.to_owned();
        while self.is_taken(&claimed) {
            let count = self.taken.entry(name.to_owned()).or_insert(1);
            *count += 1;
            claimed = format!("{name}{before}{count}");
        }
        self.taken.insert(claimed.clone(), 1);
        claimed
    }

    /// `name` with a number behind.
    pub(super) fn number(&mut self, name: &str) -> String {
        let count = self.taken.get(name).copied().unwrap_or(0);
        let free = (count + 1..).map(|count| (count, format!("{name}{count}"))).find(|(_, name)| !self.is_taken(name));
        let (count, numbered) = free.expect("there are more numbers than names");
        self.taken.insert(name.to_owned(), count);
        self.taken.insert(numbered.clone(), 1);
        numbered
    }

    pub(super) fn is_taken(&self, name: &str) -> bool {
        self.taken.contains_key(name)
    }
}

/// `name` as an ASCII identifier of at most `characters_max`: what can't stand in one becomes `_`, and `instead` is for a
/// name of which nothing is left. It may be a word of a language.
pub(super) fn identifier(name: &str, instead: &str, characters_max: usize) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut text: String = name.chars().take(characters_max).map(|c| if is_word(c) { c } else { '_' }).collect();
    if text.bytes().all(|byte| byte == b'_') {
        return instead.to_owned();
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        text.insert(0, '_');
        text.truncate(characters_max);
    }
    text
}

/// As [`identifier`], without underscores in front: in Python and in derived code these mean something.
pub(super) fn plain_identifier(name: &str, instead: &str, characters_max: usize) -> String {
    let text = identifier(name, instead, characters_max);
    let plain = text.trim_start_matches('_');
    if plain.starts_with(|c: char| c.is_ascii_digit()) { format!("{instead}{plain}") } else { plain.to_owned() }
}

/// A name in a sentence, between backticks.
pub(super) fn mention(name: &str) -> String {
    let shown = |c: char| if is_shown(c) && (c.is_alphanumeric() || "_-.: ".contains(c)) { c } else { '_' };
    let mut text: String = name.chars().take(MENTION_CHARACTERS_MAX).map(shown).collect();
    if name.chars().nth(MENTION_CHARACTERS_MAX).is_some() {
        text.push_str("...");
    }
    match text.trim() {
        "" => "``".replace("``", "`_`"),
        text => format!("`{text}`"),
    }
}

/// A description as lines: each without blanks around and with single ones within, and nothing in them that is not shown.
pub(super) fn lines(description: &str) -> Vec<String> {
    let line = |line: &str| {
        let mut clean = String::new();
        for word in line.split_whitespace() {
            if !clean.is_empty() {
                clean.push(' ');
            }
            for c in word.chars() {
                match c {
                    c if is_shown(c) => clean.push(c),
                    c => drop(write!(clean, "{}", c.escape_default())),
                }
            }
        }
        clean
    };
    description.trim().lines().map(line).collect()
}

/// Whether a character has a look of its own: no control character, none that changes the order of others, none unknown.
fn is_shown(c: char) -> bool {
    let mut buffer = [b'a'; 5];
    let length = c.encode_utf8(&mut buffer[1..]).len();
    let pair = core::str::from_utf8(&buffer[..=length]).expect("a letter and a character");
    matches!(c, '"' | '\'' | '\\') || pair.escape_debug().eq(pair.chars())
}

/// A line of Markdown in which code stays code, and all else is text: no links, HTML, tables or blocks to be run.
pub(super) fn markdown(line: &str) -> String {
    let has_runs = ["``", "~~~"].iter().any(|run| line.contains(run));
    let parts: Vec<&str> = line.split('`').collect();
    let is_code = |part: &str| !part.is_empty() && !part.contains(['|', '\\']);
    let paired = parts.len() % 2 == 1 && parts.iter().skip(1).step_by(2).all(|part| is_code(part));
    if has_runs || !paired {
        return escaped(&line.replace('`', "'").replace("~~~", "~ ~ ~"));
    }
    let part = |(index, part): (usize, &&str)| if index % 2 == 1 { format!("`{part}`") } else { escaped(part) };
    parts.iter().enumerate().map(part).collect()
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '<' | '[' | '|') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A string literal of Rust, in ASCII.
pub(super) fn rust_string(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}

/// A string literal that is the same in JSON, Python and TypeScript, in ASCII. Python joins no surrogates, so a character
/// beyond 16 bits is written as `astral` does.
fn script_string(text: &str, astral: impl Fn(char) -> String) -> String {
    let mut literal = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                literal.push('\\');
                literal.push(c);
            }
            ' '..='~' => literal.push(c),
            c if u32::from(c) <= 0xffff => drop(write!(literal, "\\u{:04x}", u32::from(c))),
            c => literal.push_str(&astral(c)),
        }
    }
    literal + "\""
}

pub(super) fn python_string(text: &str) -> String {
    script_string(text, |c| format!("\\U{:08x}", u32::from(c)))
}

pub(super) fn typescript_string(text: &str) -> String {
    let surrogates = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
    script_string(text, surrogates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_becomes_an_identifier() {
        for (name, expected) in [
            ("Entry", "Entry"),
            ("two words", "two_words"),
            ("3d", "_3d"),
            ("", "Type"),
            ("_", "Type"),
            ("é\u{202e}", "Type"),
            ("größe", "gr__e"),
            ("a\"; drop", "a___drop"),
        ] {
            assert_eq!(identifier(name, "Type", 20), expected, "{name:?}");
        }
        assert_eq!(identifier(&"x".repeat(300), "Type", 20).len(), 20);
        assert_eq!(plain_identifier("__init__", "method", 20), "init__");
        assert_eq!(plain_identifier("_3", "method", 20), "method3");
    }

    #[test]
    fn an_identifier_is_given_once() {
        let mut scope = Scope::with(["self"]);
        let claimed = ["self", "a", "a", "a_2", "a"].map(|name| scope.claim(name, "_"));
        assert_eq!(claimed, ["self_2", "a", "a_2", "a_2_2", "a_3"]);
    }

    #[test]
    fn a_description_is_text_and_nothing_else() {
        assert_eq!(lines(" a\n\n    b\tc\r\nd\re\u{202e}\u{9b}\n"), ["a", "", "b c", "d e\\u{202e}\\u{9b}"]);
        for (line, expected) in [
            ("What `key` has, as `Vec<u8>`.", "What `key` has, as `Vec<u8>`."),
            ("```", "'''"),
            ("~~~ rust", "~ ~ ~ rust"),
            ("<script> [a](b) `x", r"\<script> \[a](b) 'x"),
            (r"\`<b>`", r"\\`<b>`"),
            ("`a|<b>`", r"'a\|\<b>'"),
        ] {
            assert_eq!(markdown(line), expected, "{line}");
        }
    }

    #[test]
    fn strings_say_what_they_said() {
        let text = "a\"\\\n\u{202e}é😀${x}`";
        assert_eq!(rust_string(text), r#""a\"\\\n\u{202e}\u{e9}\u{1f600}${x}`""#);
        assert_eq!(python_string(text), r#""a\"\\\u000a\u202e\u00e9\U0001f600${x}`""#);
        let script = typescript_string(text);
        assert_eq!(serde_json::from_str::<String>(&script).expect("it is JSON too"), text);
        assert!(script.is_ascii());
    }
}
