//! The only machine-wide setting that a cluster changes. The kernel's default of 128 inotify instances per
//! user is too low if nodes share the user, and a kubelet without an instance exits.

use std::{fs, path::Path};

const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
const ENOUGH: u32 = 1024;
/// Stores the value from before the first cluster, outside of the labs' directories, because the last lab
/// restores it.
const BEFORE: &str = "/run/xdp-cluster-inotify";

/// Raises the limit unless it is high enough.
pub(super) fn raise() {
    let current = fs::read_to_string(LIMIT).unwrap_or_default();
    if current.trim().parse().is_ok_and(|limit: u32| limit < ENOUGH) {
        // If it cannot be raised, it may still be sufficient.
        let _ = fs::write(BEFORE, current);
        let _ = fs::write(LIMIT, ENOUGH.to_string());
    }
}

/// Returns shell commands that restore the limit if no other lab has a cluster.
pub(super) fn restore(lab: &Path) -> String {
    format!(
        "others=\nfor cluster in {labs}/*/cluster; do\n    \
         [ \"$cluster\" = '{own}/cluster' ] || [ ! -d \"$cluster\" ] || others=1\ndone\n\
         if [ -z \"$others\" ] && [ -f {BEFORE} ]; then cat {BEFORE} >{LIMIT}; rm -f {BEFORE}; fi\n",
        labs = lab.parent().unwrap_or(lab).display(),
        own = lab.display(),
    )
}
