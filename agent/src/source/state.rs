//! The content of the manifest files, and the objects that result from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    thread,
};

use xdp_plan::{
    manifests::{Fingerprint, Manifest, ManifestError, ManifestObject},
    network_policy::KnownPolicy,
    permission::NamespaceLabels,
    pod::Pod,
    policy::{MarkMask, Policy},
    report::Problem,
};

/// The content of a file, or the error with which reading failed.
pub(super) type FileText = io::Result<String>;

/// All files by name.
#[derive(Debug)]
pub(super) struct Files {
    files: BTreeMap<String, File>,
    /// The bits that the marks of rules may have.
    marks: MarkMask,
}

/// A file. Stores a fingerprint of the text, not the text.
#[derive(Debug, Default)]
struct File {
    text: Option<Fingerprint>,
    reading: Manifest,
    /// The objects of the last reading, and those of earlier ones that are missing from it because of
    /// errors.
    objects: Vec<ManifestObject>,
    problems: Vec<Problem>,
}

impl Files {
    /// Creates an empty folder.
    pub(super) const fn new(marks: MarkMask) -> Self {
        let files = BTreeMap::new();
        Self { files, marks }
    }

    /// Removes the files for which `stays` returns false.
    pub(super) fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        self.files.retain(|name, _| stays(name));
    }

    /// Updates files with new content.
    pub(super) fn update(&mut self, mut texts: BTreeMap<String, FileText>) {
        for name in texts.keys() {
            let new = || File {
                reading: Manifest::with_marks(self.marks),
                ..File::default()
            };
            self.files.entry(name.clone()).or_insert_with(new);
        }
        let mut work: Vec<(&String, &mut File, FileText)> = Vec::new();
        for (name, file) in &mut self.files {
            work.extend(texts.remove(name).map(|text| (name, file, text)));
        }
        in_parallel(work, |(name, file, text)| file.update(name, text));
    }

    /// Returns the problems of all files.
    pub(super) fn problems(&self) -> Vec<Problem> {
        self.files
            .values()
            .flat_map(|file| &file.problems)
            .cloned()
            .collect()
    }

    /// Returns the current policies and pods, in order of file names.
    pub(super) fn objects(&self) -> (Vec<Arc<Policy>>, Vec<Arc<Pod>>) {
        let (mut policies, mut pods) = (Vec::new(), Vec::new());
        for object in self.files.values().flat_map(|file| &file.objects) {
            match object {
                ManifestObject::Policy(policy) => policies.push(Arc::clone(policy)),
                ManifestObject::Pod(pod) => pods.push(Arc::clone(pod)),
                ManifestObject::Namespace(_) | ManifestObject::NetworkPolicy(_) => {}
            }
        }
        (policies, pods)
    }

    /// Returns `NetworkPolicies` and the like, in order of file names.
    pub(super) fn network_policies(&self) -> Vec<KnownPolicy> {
        let objects = self.files.values().flat_map(|file| &file.objects);
        let policies = objects.filter_map(|object| match object {
            ManifestObject::NetworkPolicy(given) => given.policy.clone(),
            _ => None,
        });
        policies.collect()
    }

    /// Returns the labels of the given namespaces. Of several with one name, the first counts.
    pub(super) fn namespaces(&self) -> NamespaceLabels {
        let mut namespaces = NamespaceLabels::new();
        for object in self.files.values().flat_map(|file| &file.objects) {
            if let ManifestObject::Namespace(given) = object {
                let labels = namespaces.entry(given.name.clone());
                labels.or_insert_with(|| given.labels.clone());
            }
        }
        namespaces
    }
}

/// Fewer files are parsed on one thread.
const SEQUENTIAL: usize = 8;
/// More threads would keep the CPUs from packets.
const MAX_THREADS: usize = 4;

/// Processes files on several threads: at start, and when everything is replaced, there are many at once.
fn in_parallel<T: Send>(mut work: Vec<T>, one: impl Fn(T) + Sync) {
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MAX_THREADS);
    if work.len() <= SEQUENTIAL || threads == 1 {
        return work.into_iter().for_each(one);
    }
    let each = work.len().div_ceil(threads);
    thread::scope(|scope| {
        while work.len() > each {
            let part = work.split_off(work.len() - each);
            scope.spawn(|| part.into_iter().for_each(&one));
        }
        work.into_iter().for_each(&one);
    });
}

impl File {
    fn update(&mut self, name: &str, text: FileText) {
        match text {
            Ok(text) if self.text == Some(Fingerprint::new(&text)) && self.problems.is_empty() => {}
            // Ignore empty files: editors truncate a file before they write it.
            Ok(text) if text.trim().is_empty() && !self.objects.is_empty() => {
                self.problems = vec![empty(name)];
            }
            Ok(text) => self.read(name, &text),
            Err(error) => self.problems = vec![unreadable(name, &error)],
        }
    }

    fn read(&mut self, name: &str, text: &str) {
        self.reading = self.reading.reparse(name, text);
        let Manifest { objects, errors, .. } = &self.reading;
        let mut objects = objects.clone();
        if !errors.is_empty() {
            let given: BTreeSet<String> = objects.iter().map(ManifestObject::name).collect();
            let missing = self
                .objects
                .iter()
                .filter(|object| !given.contains(&object.name()));
            objects.extend(missing.cloned());
        }
        self.problems = errors.iter().map(|error: &ManifestError| error.into()).collect();
        self.objects = objects;
        self.text = Some(Fingerprint::new(text));
    }
}

fn unreadable(name: &str, error: &io::Error) -> Problem {
    Problem::new(
        name,
        "ManifestUnreadable",
        format!("{name}: {error}; its last state stays programmed"),
        "make the file readable UTF-8 text, or remove it",
    )
}

fn empty(name: &str) -> Problem {
    Problem::new(
        name,
        "ManifestEmpty",
        format!("{name} is empty; its last state stays programmed"),
        "remove the file to remove its objects",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: v1
kind: Pod
metadata: {namespace: games, name: a}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {namespace: games, name: b}
status: {podIP: 10.0.0.2}
";

    fn pods(files: &Files) -> Vec<String> {
        files.objects().1.iter().map(ToString::to_string).collect()
    }

    fn folder<const N: usize>(texts: [(&str, &str); N]) -> BTreeMap<String, io::Result<String>> {
        texts
            .into_iter()
            .map(|(name, text)| (name.to_owned(), Ok(text.to_owned())))
            .collect()
    }

    #[test]
    fn a_broken_document_keeps_the_last_state_of_its_file() {
        let mut files = Files::new(MarkMask::default());
        files.update(folder([("pods.yaml", GOOD)]));
        assert_eq!(files.problems(), []);

        files.update(folder([("pods.yaml", &GOOD.replace("10.0.0.2", "10.0.0.x"))]));
        assert_eq!(pods(&files), ["Pod games/a", "Pod games/b"]);
        assert_eq!(files.problems().len(), 1, "{:?}", files.problems());

        files.update(folder([(
            "pods.yaml",
            GOOD.split("---").next().expect("two documents"),
        )]));
        assert_eq!(pods(&files), ["Pod games/a"], "a file without errors is complete");
        assert_eq!(files.problems(), []);
    }

    #[test]
    fn removing_a_file_removes_its_objects_and_no_others() {
        let mut files = Files::new(MarkMask::default());
        let (first, second) = GOOD.split_once("---").expect("two documents");
        files.update(folder([("a.yaml", first), ("b.yaml", second)]));
        files.retain(|name| name == "b.yaml");
        assert_eq!(pods(&files), ["Pod games/b"]);
    }

    #[test]
    fn an_emptied_file_keeps_its_objects_until_it_is_removed() {
        let mut files = Files::new(MarkMask::default());
        files.update(folder([("pods.yaml", GOOD)]));
        files.update(folder([("pods.yaml", "\n")]));
        assert_eq!(pods(&files).len(), 2);
        assert_eq!(files.problems()[0].reason, "ManifestEmpty");

        files.retain(|_| false);
        assert_eq!((pods(&files).len(), files.problems().len()), (0, 0));
    }

    #[test]
    fn an_unreadable_file_keeps_its_objects() {
        let mut files = Files::new(MarkMask::default());
        files.update(folder([("pods.yaml", GOOD)]));
        let broken = io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8");
        files.update(BTreeMap::from([("pods.yaml".to_owned(), Err(broken))]));
        assert_eq!(pods(&files).len(), 2);
        assert_eq!(files.problems()[0].reason, "ManifestUnreadable");

        files.update(folder([("pods.yaml", GOOD)]));
        assert_eq!(files.problems(), [], "readable again");
    }
}
