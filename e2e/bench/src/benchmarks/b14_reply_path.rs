//! The cost of tracking flows, and the gain of replies that bypass the stack.

mod replies;
mod tables;

use anyhow::Result;

use crate::{report::Section, suite::Suite};

pub(super) fn run(suite: &mut Suite<'_>) -> Result<Section> {
    let mut section = Section::new("", "");
    tables::run(suite, &mut section)?;
    replies::run(suite, &mut section)?;
    Ok(section)
}
