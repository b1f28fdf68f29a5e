//! A cgroup for each node below the caller's own, so that limits of the caller also apply to the pods.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use xdp_lab::Lab;

/// Controllers of cgroup v2 that the kubelet uses.
const CONTROLLERS: [&str; 6] = ["cpuset", "cpu", "io", "memory", "pids", "hugetlb"];

/// Removes the cgroups that `$CGROUPS` lists. Killed processes may remain in them for a moment.
const END: &str = r#"
for try in $(seq 200); do
    left=
    while read -r folder; do
        [ -d "$folder" ] || continue
        find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null
        [ ! -d "$folder" ] || left=1
    done <"$CGROUPS"
    [ -n "$left" ] || break
    sleep 0.05
done
"#;

/// A mounted hierarchy, and the caller's place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    /// Name of its folder below `/sys/fs/cgroup`.
    name: String,
    /// Mount options; `unified` is version 2.
    options: String,
    own: PathBuf,
}

/// The cgroups of the cluster.
#[derive(Debug)]
pub(super) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    folder: String,
}

impl Cgroups {
    /// Writes the list of cgroups for [`remove`](Self::remove), and creates none yet.
    pub(super) fn new(lab: &Lab) -> anyhow::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let cgroups = Self {
            hierarchies: hierarchies(&mounts, &own),
            folder: format!("xdp-lab-{}", lab.id()),
        };
        anyhow::ensure!(
            !cgroups.hierarchies.is_empty(),
            "no cgroups are mounted below /sys/fs/cgroup"
        );
        let folders: Vec<String> = cgroups
            .roots()
            .map(|root| format!("{}\n", root.display()))
            .collect();
        fs::write(list(lab), folders.concat())?;
        Ok(cgroups)
    }

    /// Returns shell commands that remove all cgroups.
    pub(super) fn remove(lab: &Lab) -> String {
        format!("CGROUPS='{}'\n{END}", list(lab).display())
    }

    /// Returns the version: 1 also if both are mounted.
    pub(super) fn version(&self) -> u8 {
        if self.is_v2() { 2 } else { 1 }
    }

    /// Creates empty cgroups for a node, and returns the lines that `node.sh` reads.
    pub(super) fn make(&self, node: &str) -> anyhow::Result<String> {
        let mut lines = Vec::new();
        for (hierarchy, root) in self.hierarchies.iter().zip(self.roots()) {
            let folder = root.join(node);
            // A killed node leaves the cgroups of its pods, and the kubelet would wait for each of them.
            remove_children(&folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
            if self.is_v2() {
                for above in [root.parent().unwrap_or(&root), &root] {
                    enable_controllers(above);
                }
            } else if hierarchy.options.split(',').any(|option| option == "cpuset") {
                for folder in [&root, &folder] {
                    inherit_cpuset(folder)?;
                }
            }
            let Hierarchy { name, options, .. } = hierarchy;
            lines.push(format!(
                "{name} {options} {}
",
                folder.display()
            ));
        }
        Ok(lines.concat())
    }

    fn is_v2(&self) -> bool {
        self.hierarchies
            .iter()
            .all(|hierarchy| hierarchy.options == "unified")
    }

    fn roots(&self) -> impl Iterator<Item = PathBuf> {
        // In version 2, a cgroup with processes, such as the caller's, cannot enable controllers for its
        // children.
        let v2 = self.is_v2();
        self.hierarchies.iter().map(move |hierarchy| {
            let own = if v2 {
                Path::new("/sys/fs/cgroup")
            } else {
                &hierarchy.own
            };
            own.join(&self.folder)
        })
    }
}

fn list(lab: &Lab) -> PathBuf {
    lab.dir().join("cgroups")
}

/// Combines `/proc/self/mountinfo` and `/proc/self/cgroup`.
fn hierarchies(mounts: &str, own: &str) -> Vec<Hierarchy> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let before: Vec<&str> = before.split(' ').collect();
        let (root, at) = (*before.get(3)?, *before.get(4)?);
        let after: Vec<&str> = after.split(' ').collect();
        if !at.starts_with("/sys/fs/cgroup") {
            return None;
        }
        let options = match after[0] {
            "cgroup2" => "unified".to_owned(),
            "cgroup" => own_options(after.get(2)?),
            _ => return None,
        };
        let path = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let same = match options.as_str() {
                "unified" => controllers.is_empty(),
                options => options.trim_start_matches("none,") == controllers,
            };
            same.then_some(path)
        })?;
        let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
        let name = Path::new(at).file_name()?.to_string_lossy().into_owned();
        let own = Path::new(at).join(below);
        Some(Hierarchy { name, options, own })
    };
    mounts.lines().filter_map(mount).collect()
}

/// Returns the controllers of a version 1 mount in the kernel's order; `none,name=systemd` has none.
fn own_options(super_options: &str) -> String {
    let known = ["rw", "ro", "xattr", "clone_children", "noprefix"];
    let controllers: Vec<&str> = super_options
        .split(',')
        .filter(|option| !known.contains(option) && !option.starts_with("release_agent"))
        .collect();
    match controllers[..] {
        [name] if name.starts_with("name=") => format!("none,{name}"),
        _ => controllers.join(","),
    }
}

/// Copies the cpuset of the parent. It is empty at first, and processes cannot join an empty one.
fn inherit_cpuset(folder: &Path) -> anyhow::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let above = folder.parent().unwrap_or(folder).join(file);
        fs::write(folder.join(file), fs::read(&above)?)
            .with_context(|| format!("cannot set {file} of {}", folder.display()))?;
    }
    Ok(())
}

/// Enables the controllers that the machine has; the kubelet reports missing ones.
fn enable_controllers(folder: &Path) {
    for controller in CONTROLLERS {
        let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// Removes all child cgroups without processes.
fn remove_children(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_children(&entry.path());
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_and_version_2_are_both_found() {
        let mounts = "30 29 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                      31 29 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                      32 29 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      33 29 0:29 / /proc rw - proc proc rw\n";
        let own = "2:cpu,cpuacct:/\n1:name=systemd:/a/b\n0::/c\n";
        let found = hierarchies(mounts, own);
        let expected = [
            ("cpu,cpuacct", "cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
            ("systemd", "none,name=systemd", "/sys/fs/cgroup/systemd/a/b"),
            ("unified", "unified", "/sys/fs/cgroup/unified/c"),
        ];
        let expected = expected.map(|(name, options, own)| Hierarchy {
            name: name.to_owned(),
            options: options.to_owned(),
            own: own.into(),
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_mount_of_a_part_shows_that_part() {
        let mounts = "30 29 0:26 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let found = hierarchies(mounts, "4:memory:/docker/x/y\n");
        assert_eq!(found[0].own, Path::new("/sys/fs/cgroup/memory/y"));
    }
}
