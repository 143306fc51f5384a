//! The programs of the pages, which are those that are built and run as examples.

use super::page::{Block, blocks};

/// The Rust programs of a page that are none of these, by the numbers of their lines. Each of these begins with a line that
/// says what it is, which the page need not have. Blocks marked `rust` alone are parts of something, and not looked at.
#[must_use]
pub fn strange_programs(page: &str, examples: &[String]) -> Vec<usize> {
    let programs: Vec<&str> = examples.iter().filter_map(|text| Some(text.split_once("\n\n")?.1)).collect();
    let blocks =
        blocks(page).into_iter().filter(|block| block.language == "rust" && block.flags.contains(&"no_run".into()));
    blocks.filter(|block| !programs.contains(&block.text().as_str())).map(|block| block.line).collect()
}

/// The texts of a page's blocks in a language, in their order.
#[must_use]
pub fn texts(page: &str, language: &str) -> Vec<String> {
    blocks(page).iter().filter(|block| block.language == language).map(Block::text).collect()
}
