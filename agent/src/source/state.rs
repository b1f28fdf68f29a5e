//! What the files said, and what of it still counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use xdp_plan::{
    manifests::{self, ManifestError, Object},
    pod::Pod,
    policy::Policy,
    report::Problem,
};

/// All files by name.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: BTreeMap<String, File>,
}

#[derive(Debug, Default)]
struct File {
    text: String,
    objects: Vec<Object>,
    problems: Vec<Problem>,
}

impl Files {
    /// Takes over a reading of the folder.
    pub(super) fn update(&mut self, texts: BTreeMap<String, io::Result<String>>) {
        self.files.retain(|name, _| texts.contains_key(name));
        for (name, text) in texts {
            let file = self.files.entry(name.clone()).or_default();
            match text {
                Ok(text) if text == file.text && file.problems.is_empty() => {}
                // An editor empties a file before it writes it; whoever wants its objects gone removes the file.
                Ok(text) if text.trim().is_empty() && !file.objects.is_empty() => {
                    file.problems = vec![empty(&name)];
                }
                Ok(text) => file.read(&name, text),
                Err(error) => file.problems = vec![unreadable(&name, &error)],
            }
        }
    }

    /// What is wrong with the files as they are now.
    pub(super) fn problems(&self) -> Vec<Problem> {
        self.files
            .values()
            .flat_map(|file| &file.problems)
            .cloned()
            .collect()
    }

    /// Everything that counts, in order of file names.
    pub(super) fn objects(&self) -> (Vec<Policy>, Vec<Pod>) {
        let (mut policies, mut pods) = (Vec::new(), Vec::new());
        for object in self.files.values().flat_map(|file| &file.objects) {
            match object {
                Object::Policy(policy) => policies.push(policy.clone()),
                Object::Pod(pod) => pods.push(pod.clone()),
            }
        }
        (policies, pods)
    }
}

impl File {
    fn read(&mut self, name: &str, text: String) {
        let (mut objects, errors) = manifests::parse(name, &text);
        if !errors.is_empty() {
            let given: BTreeSet<String> = objects.iter().map(Object::name).collect();
            let missing = self
                .objects
                .iter()
                .filter(|object| !given.contains(&object.name()));
            objects.extend(missing.cloned());
        }
        self.problems = errors.iter().map(|error: &ManifestError| error.into()).collect();
        self.objects = objects;
        self.text = text;
    }
}

fn unreadable(name: &str, error: &io::Error) -> Problem {
    Problem::new(
        name,
        "ManifestUnreadable",
        format!("{name}: {error}; its last state stays in force"),
        "make the file readable UTF-8 text, or remove it",
    )
}

fn empty(name: &str) -> Problem {
    Problem::new(
        name,
        "ManifestEmpty",
        format!("{name} is empty; its last state stays in force"),
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
        let mut files = Files::default();
        files.update(folder([("pods.yaml", GOOD)]));
        assert_eq!(files.problems(), []);

        files.update(folder([("pods.yaml", &GOOD.replace("10.0.0.2", "10.0.0.x"))]));
        assert_eq!(pods(&files), ["Pod games/a", "Pod games/b"]);
        assert_eq!(files.problems().len(), 1, "{:?}", files.problems());

        files.update(folder([(
            "pods.yaml",
            GOOD.split("---").next().expect("two documents"),
        )]));
        assert_eq!(
            pods(&files),
            ["Pod games/a"],
            "a file without errors says all there is"
        );
        assert_eq!(files.problems(), []);
    }

    #[test]
    fn a_removed_file_takes_its_objects_with_it_and_no_others() {
        let mut files = Files::default();
        let (first, second) = GOOD.split_once("---").expect("two documents");
        files.update(folder([("a.yaml", first), ("b.yaml", second)]));
        files.update(folder([("b.yaml", second)]));
        assert_eq!(pods(&files), ["Pod games/b"]);
    }

    #[test]
    fn a_file_that_is_emptied_keeps_its_objects_until_it_is_removed() {
        let mut files = Files::default();
        files.update(folder([("pods.yaml", GOOD)]));
        files.update(folder([("pods.yaml", "\n")]));
        assert_eq!(pods(&files).len(), 2);
        assert_eq!(files.problems()[0].reason, "ManifestEmpty");

        files.update(folder([]));
        assert_eq!((pods(&files).len(), files.problems().len()), (0, 0));
    }

    #[test]
    fn an_unreadable_file_keeps_its_objects() {
        let mut files = Files::default();
        files.update(folder([("pods.yaml", GOOD)]));
        let broken = io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8");
        files.update(BTreeMap::from([("pods.yaml".to_owned(), Err(broken))]));
        assert_eq!(pods(&files).len(), 2);
        assert_eq!(files.problems()[0].reason, "ManifestUnreadable");

        files.update(folder([("pods.yaml", GOOD)]));
        assert_eq!(files.problems(), [], "readable again");
    }
}
