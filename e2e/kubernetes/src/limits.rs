//! The one setting of the whole machine that a cluster needs: 128 inotify instances per user, the kernel's default, are
//! few when nodes share the user, and a kubelet that gets none ends.

use std::{fs, path::Path};

const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
const ENOUGH: u32 = 1024;
/// What it was before the first cluster; outside of all labs' directories, because the last one puts it back.
const BEFORE: &str = "/run/xdp-cluster-inotify";

/// Raise it, unless it is high enough.
pub(super) fn raise() {
    let current = fs::read_to_string(LIMIT).unwrap_or_default();
    if current.trim().parse().is_ok_and(|limit: u32| limit < ENOUGH) {
        // Where it may not be set, it may still do.
        let _ = fs::write(BEFORE, current);
        let _ = fs::write(LIMIT, ENOUGH.to_string());
    }
}

/// Shell commands that put it back if no other lab than this one has a cluster.
pub(super) fn restore(lab: &Path) -> String {
    format!(
        "others=\nfor cluster in {labs}/*/cluster; do\n    \
         [ \"$cluster\" = '{own}/cluster' ] || [ ! -d \"$cluster\" ] || others=1\ndone\n\
         if [ -z \"$others\" ] && [ -f {BEFORE} ]; then cat {BEFORE} >{LIMIT}; rm -f {BEFORE}; fi\n",
        labs = lab.parent().unwrap_or(lab).display(),
        own = lab.display(),
    )
}
