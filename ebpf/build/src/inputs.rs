//! The inputs of an object, from the dep-info file that Cargo writes.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Returns the sources that `dep_info` names, the manifests above them and the lock file.
///
/// Not whole directories: a change of a test or a document in them would run the build script.
pub(crate) fn of(dep_info: &Path, root: &Path) -> Result<BTreeSet<PathBuf>> {
    let text =
        fs::read_to_string(dep_info).with_context(|| format!("cannot read `{}`", dep_info.display()))?;
    let mut inputs = BTreeSet::from([root.join("Cargo.lock"), root.join("Cargo.toml")]);
    for source in sources(&text) {
        let manifests = source
            .ancestors()
            .take_while(|dir| *dir != root)
            .map(|dir| dir.join("Cargo.toml"));
        inputs.extend(manifests.filter(|manifest| manifest.is_file()));
        inputs.insert(source);
    }
    Ok(inputs)
}

/// Parses the right side of `object: source source…`. A backslash escapes a space in a path.
fn sources(dep_info: &str) -> Vec<PathBuf> {
    let line = dep_info.lines().next().unwrap_or_default();
    let Some((_, names)) = line.split_once(": ") else {
        return Vec::new();
    };
    let names = names.replace("\\ ", "\0");
    names
        .split_whitespace()
        .map(|name| PathBuf::from(name.replace('\0', " ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_from_dep_info_with_spaces_in_paths() {
        let text = "/t/xdp-ebpf: /a/src/main.rs /b\\ c/src/lib.rs\n";
        assert_eq!(
            sources(text),
            ["/a/src/main.rs", "/b c/src/lib.rs"].map(PathBuf::from)
        );
    }

    #[test]
    fn an_object_without_sources_has_none() {
        assert_eq!(sources("/t/xdp-ebpf:\n"), Vec::<PathBuf>::new());
    }
}
