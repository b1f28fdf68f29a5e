//! Paths of the building machine, which objects would contain in their debug information and BTF.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Returns flags that replace these folders, so that equal sources give equal objects wherever they are
/// built. Of several folders that contain a path, the last one counts.
pub(crate) fn flags(root: &Path, library: &Path) -> Vec<OsString> {
    let cargo = cargo_home(env::var_os("CARGO_HOME"), env::home_dir());
    // The compiler sees its working directory, a package's folder, without symbolic links.
    let registry = cargo
        .as_ref()
        .and_then(|cargo| cargo.join("registry").canonicalize().ok());
    let folders = [
        Some((root.to_owned(), "/xdp-operator")),
        cargo.map(|cargo| (cargo, "/cargo")),
        registry.map(|registry| (registry, "/cargo/registry")),
        Some((library.to_owned(), "/rust/library")),
    ];
    let folders = folders.into_iter().flatten();
    folders.map(|(folder, name)| flag(&folder, name)).collect()
}

/// Finds the folder with the sources of the registry, as Cargo does.
fn cargo_home(set: Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    let set = set.filter(|set| !set.is_empty()).map(PathBuf::from);
    set.or_else(|| Some(home?.join(".cargo")))
}

fn flag(folder: &Path, name: &str) -> OsString {
    let mut flag = OsString::from("--remap-path-prefix=");
    flag.push(folder);
    flag.push("=");
    flag.push(name);
    flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_the_workspace_the_registry_and_the_library_have_names_of_their_own() {
        let flags = flags(Path::new("/a/b c"), Path::new("/usr/lib/library"));
        assert_eq!(flags[0], "--remap-path-prefix=/a/b c=/xdp-operator");
        assert!(flags[1].to_str().unwrap().ends_with("=/cargo"), "{flags:?}");
        assert_eq!(
            flags.last().unwrap(),
            "--remap-path-prefix=/usr/lib/library=/rust/library"
        );
    }

    #[test]
    fn the_registry_is_where_cargo_has_it() {
        let home = Some(PathBuf::from("/home/a"));
        assert_eq!(
            cargo_home(None, home.clone()),
            Some(PathBuf::from("/home/a/.cargo"))
        );
        assert_eq!(
            cargo_home(Some("".into()), home.clone()),
            Some(PathBuf::from("/home/a/.cargo"))
        );
        assert_eq!(cargo_home(Some("/c".into()), home), Some(PathBuf::from("/c")));
    }
}
