//! Whether something was printed that fits what a page says.

use std::collections::BTreeMap;

/// Anything: in a line, or as one.
const ANYTHING: &str = "...";
/// Who leads, among other columns of a table of members.
const LEADER: &str = "  leader  ";
/// Units of what was measured, which is shown in the one that fits.
const UNITS: [&str; 3] = [" us", " ms", " s"];
/// How short an id may be; what is shorter could be a word.
const ID_CHARS_MIN: usize = 8;

/// What lines of a page are of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    WholeInAnyOrder,
    Beginning,
    Part,
}

/// The words of a page that stand for others, and for which.
#[derive(Clone, Debug, Default)]
pub(super) struct Free {
    words: Vec<String>,
    bound: BTreeMap<String, String>,
}

/// A part of a line of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    Literal(&'a str),
    Blanks,
    Anything,
    Free(&'a str),
}

impl Free {
    /// Another word stands for what is printed in its place.
    ///
    /// # Errors
    /// When it has no digits, which are what may differ.
    pub(super) fn declare(&mut self, word: &str) -> Result<(), String> {
        if !word.contains(|digit: char| digit.is_ascii_digit()) {
            return Err(format!("any={word} has no number that could be another one"));
        }
        if !self.words.iter().any(|known| known == word) {
            self.words.push(word.into());
        }
        Ok(())
    }

    /// A command as it is to be run here.
    ///
    /// # Errors
    /// When it has a word that was not printed before.
    pub(super) fn put_into(&self, command: &str) -> Result<String, String> {
        let mut put = String::new();
        for (word, text) in self.split(command) {
            put += match (word, self.bound.get(text)) {
                (false, _) => text,
                (true, Some(value)) => value,
                (true, None) => return Err(format!("{text} was printed nowhere before")),
            };
        }
        Ok(put)
    }

    /// Remembers what the words stand for that are printed for the first time.
    ///
    /// # Errors
    /// When something else was printed: both.
    pub(super) fn compare(&mut self, expected: &[String], printed: &str, extent: Extent) -> Result<(), String> {
        let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
        let anything = [ANYTHING.to_owned()];
        let fits = match extent {
            Extent::Whole => self.fits(expected, &lines, self.bound.clone()),
            Extent::WholeInAnyOrder => {
                let (leaders, expected) = without_leader(expected.iter().map(String::as_str));
                let (leaders_printed, lines) = without_leader(lines.iter().copied());
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                (leaders == leaders_printed).then(|| self.fits_somehow(&expected, &lines, self.bound.clone())).flatten()
            }
            Extent::Beginning => self.fits(&[expected, &anything].concat(), &lines, self.bound.clone()),
            Extent::Part => self.fits(&[&anything, expected, &anything].concat(), &lines, self.bound.clone()),
        };
        match fits {
            Some(bound) => {
                self.bound = bound;
                Ok(())
            }
            None => Err(format!("the page says\n{}\nbut this is printed\n{}", expected.join("\n"), lines.join("\n"))),
        }
    }

    fn fits(
        &self,
        expected: &[String],
        lines: &[&str],
        bound: BTreeMap<String, String>,
    ) -> Option<BTreeMap<String, String>> {
        let Some((first, rest)) = expected.split_first() else { return lines.is_empty().then_some(bound) };
        if first == ANYTHING {
            return (0..=lines.len()).find_map(|skipped| self.fits(rest, &lines[skipped..], bound.clone()));
        }
        let (line, others) = lines.split_first()?;
        let bound = line_fits(&self.parts(first.trim_end()), line, bound)?;
        self.fits(rest, others, bound)
    }

    /// The same with the lines in any order.
    fn fits_somehow(
        &self,
        expected: &[String],
        lines: &[&str],
        bound: BTreeMap<String, String>,
    ) -> Option<BTreeMap<String, String>> {
        let Some((first, rest)) = expected.split_first() else { return lines.is_empty().then_some(bound) };
        let parts = self.parts(first.trim_end());
        (0..lines.len()).find_map(|index| {
            let bound = line_fits(&parts, lines[index], bound.clone())?;
            self.fits_somehow(rest, &[&lines[..index], &lines[index + 1..]].concat(), bound)
        })
    }

    /// Text, and words that stand for others.
    fn split<'a>(&self, text: &'a str) -> Vec<(bool, &'a str)> {
        let is_within = |char: char| char.is_ascii_alphanumeric() || char == '-';
        let (mut split, mut begin, mut at) = (Vec::new(), 0, 0);
        while at < text.len() {
            let begins = !text[..at].ends_with(is_within);
            let is_there = |word: &&String| {
                text[at..].strip_prefix(word.as_str()).is_some_and(|rest| !rest.starts_with(is_within))
            };
            match self.words.iter().filter(is_there).max_by_key(|word| word.len()).filter(|_| begins) {
                Some(word) => {
                    split.extend([(false, &text[begin..at]), (true, &text[at..at + word.len()])]);
                    at += word.len();
                    begin = at;
                }
                None => at += text[at..].chars().next().map_or(1, char::len_utf8),
            }
        }
        split.push((false, &text[begin..]));
        split
    }

    fn parts<'a>(&self, line: &'a str) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        for (word, text) in self.split(line) {
            if word {
                parts.push(Part::Free(text));
                continue;
            }
            for (index, text) in text.split(ANYTHING).enumerate() {
                parts.extend((index > 0).then_some(Part::Anything));
                literals(text, &mut parts);
            }
        }
        parts
    }
}

/// How many of the lines say that somebody leads, and the lines without that.
fn without_leader<'a>(lines: impl Iterator<Item = &'a str>) -> (usize, Vec<String>) {
    let mut leaders = 0;
    let lines = lines.map(|line| match line.split_once(LEADER) {
        Some((before, after)) if !line.starts_with("id ") => {
            leaders += 1;
            format!("{before}  {}", after.trim_start())
        }
        _ => line.to_owned(),
    });
    let lines = lines.collect();
    (leaders, lines)
}

/// Text in which two or more blanks are as good as more of them.
fn literals<'a>(mut text: &'a str, parts: &mut Vec<Part<'a>>) {
    while let Some(at) = text.find("  ") {
        parts.extend([Part::Literal(&text[..at]), Part::Blanks]);
        text = text[at..].trim_start_matches(' ');
    }
    parts.push(Part::Literal(text));
}

fn line_fits(parts: &[Part<'_>], line: &str, mut bound: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    let Some((first, rest)) = parts.split_first() else { return line.is_empty().then_some(bound) };
    match *first {
        Part::Literal(text) => line_fits(rest, line.strip_prefix(text)?, bound),
        Part::Blanks => line_fits(rest, line.strip_prefix("  ")?.trim_start_matches(' '), bound),
        Part::Anything => {
            let ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
            ends.into_iter().find_map(|at| line_fits(rest, &line[at..], bound.clone()))
        }
        Part::Free(word) => {
            let value = &line[..alike(word, line)?];
            if *bound.entry(word.into()).or_insert_with(|| value.into()) != value {
                return None;
            }
            line_fits(rest, &line[value.len()..], bound)
        }
    }
}

/// How much of the beginning of a line is like a word, with other numbers, or is an id as long as this one, or a time if it
/// is one.
fn alike(word: &str, line: &str) -> Option<usize> {
    if UNITS.iter().any(|unit| word.ends_with(unit)) {
        let after = line.trim_start_matches(|char: char| char.is_ascii_digit() || char == '.');
        let unit = UNITS.iter().find(|unit| after.starts_with(**unit)).filter(|_| after.len() < line.len())?;
        return Some(line.len() - after.len() + unit.len());
    }
    let is_of_ids = |char: char| matches!(char, '0'..='9' | 'a'..='f');
    if word.len() >= ID_CHARS_MIN && word.chars().all(is_of_ids) {
        return (line.len() - line.trim_start_matches(is_of_ids).len() == word.len()).then_some(word.len());
    }
    let (mut word, mut left) = (word, line);
    let is_digit = |char: char| char.is_ascii_digit();
    while let Some(first) = word.chars().next() {
        if is_digit(first) {
            left = left.strip_prefix(is_digit)?.trim_start_matches(is_digit);
            word = word.trim_start_matches(is_digit);
        } else {
            left = left.strip_prefix(first)?;
            word = &word[first.len_utf8()..];
        }
    }
    Some(line.len() - left.len())
}
