//! To come with the first scrape.
