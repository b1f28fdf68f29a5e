//! Parsing the new text of a file: unchanged documents keep their objects, and errors have their current
//! lines.

use std::sync::Arc;

use xdp_plan::{
    manifests::{Manifest, ManifestObject},
    pod::Pod,
};

const FILE: &str = "pods.yaml";

fn document(name: &str, ip: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: games, name: {name}}}\nstatus: {{podIP: {ip}}}\n"
    )
}

fn text(documents: &[String]) -> String {
    let mut text = String::new();
    for document in documents {
        text += "---
";
        text += document;
    }
    text
}

fn pods(reading: &Manifest) -> Vec<&Arc<Pod>> {
    let mut pods = Vec::new();
    for object in &reading.objects {
        match object {
            ManifestObject::Pod(pod) => pods.push(pod),
            other => panic!("{}", other.name()),
        }
    }
    pods
}

#[test]
fn a_document_with_the_same_text_is_the_same_object_at_any_position() {
    let (a, b) = (document("a", "10.0.0.1"), document("b", "10.0.0.2"));
    let before = Manifest::new(FILE, &text(&[a.clone(), b.clone()]));
    let after = before.reparse(FILE, &text(&[b, document("c", "10.0.0.3"), a]));
    let (before, after) = (pods(&before), pods(&after));
    assert!(Arc::ptr_eq(before[0], after[2]) && Arc::ptr_eq(before[1], after[0]));
    assert_eq!(after[1].name, "c");
}

#[test]
fn a_document_with_a_new_text_is_a_new_object_and_the_old_one_is_dropped() {
    let before = Manifest::new(FILE, &document("a", "10.0.0.1"));
    let changed = document("a", "10.0.0.2");
    let after = before.reparse(FILE, &changed);
    assert_eq!(after, Manifest::new(FILE, &changed));
    assert_eq!(after.reparse(FILE, ""), Manifest::new(FILE, ""));
}

#[test]
fn an_error_has_its_current_line() {
    let good = document("a", "10.0.0.1");
    let bad = document("b", "10.0.0.x");
    let before = Manifest::new(FILE, &text(&[good.clone(), bad.clone()]));
    let after = before.reparse(FILE, &text(&[good.clone(), document("c", "10.0.0.3"), bad]));
    assert_eq!((before.errors.len(), after.errors.len()), (1, 1));
    assert!(before.errors[0].line < after.errors[0].line, "{:?}", after.errors);
    let lines = good.lines().count() as u64 + 1;
    assert_eq!(after.errors[0].line, before.errors[0].line + lines);
}
