//! Where the links of a page lead.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The links of a page to other pages and to places in them that lead nowhere. Those to other sites are not looked at.
#[must_use]
pub fn broken_links(file: &Path, page: &str) -> Vec<String> {
    targets(page).into_iter().filter_map(|target| Some(format!("{target}: {}", broken(file, page, &target)?))).collect()
}

/// Why a link leads nowhere.
fn broken(file: &Path, page: &str, target: &str) -> Option<&'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, place) = target.split_once('#').unwrap_or((target, ""));
    let there = match path {
        "" => page.to_owned(),
        _ => {
            let led_to = file.parent()?.join(path);
            if !led_to.exists() {
                return Some("there is no such file");
            }
            // A directory or a picture has no places.
            fs::read_to_string(led_to).unwrap_or_default()
        }
    };
    (!place.is_empty() && !places(&there).contains(place)).then_some("there is no such heading")
}

/// What the links of a page name, outside of code.
fn targets(page: &str) -> Vec<String> {
    let text = without_code(page);
    let inline = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    let named = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).map(|(_, target)| target);
    inline.chain(named).map(|target| target.split_whitespace().next().unwrap_or_default().to_owned()).collect()
}

/// A page without its blocks of code, and without what is in backquotes.
fn without_code(page: &str) -> String {
    let mut in_block = false;
    let lines = page.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    });
    // A pair of backquotes is within a paragraph.
    let paragraphs = lines.collect::<Vec<_>>().join("\n");
    let paragraphs = paragraphs.split("\n\n").map(|paragraph| paragraph.split('`').step_by(2).collect::<String>());
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// The headings of a page as links name them.
fn places(page: &str) -> BTreeSet<String> {
    let mut times = BTreeMap::<String, usize>::new();
    let mut in_block = false;
    let mut places = BTreeSet::new();
    for line in page.lines() {
        in_block ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if in_block || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = title.trim().to_lowercase();
        let kept = kept.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
        let place: String = kept.map(|char| if char == ' ' { '-' } else { char }).collect();
        let before = times.entry(place.clone()).or_default();
        places.insert(if *before == 0 { place } else { format!("{place}-{before}") });
        *before += 1;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_and_headings_and_code_has_none() {
        let page = "# One `Two`, three\n\n[a](links.rs) [b](nope.md) [c](#one-two-three) [d\ne](#two) `[f](nope)`\n\n\
                    ```text\n[g](nope)\n```\n\n## Again\n\n## Again\n\n[h](#again-1) [i](https://nope.example) [j](links.rs#x)\n\
                    [k]: gone.md\n";
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide/page.md");
        let broken = broken_links(&file, page);
        let names: Vec<_> = broken.iter().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
        assert_eq!(names, ["nope.md", "#two", "links.rs#x", "gone.md"], "{broken:?}");
    }
}
