//! Offsets that are read from the running kernel's type information.

use std::process::Command;

use xdp_core::btf::field_offset;

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The members of a structure as `bpftool` lists them, with their offsets in bits; bitfields are left out.
fn members(dump: &str, structure: &str) -> Vec<(String, u32)> {
    let header = format!("STRUCT '{structure}' ");
    let mut lines = dump.lines().skip_while(|line| !line.contains(&header));
    lines.next().expect("the kernel has this structure");
    lines
        .take_while(|line| line.starts_with('\t'))
        .filter(|line| !line.contains("bitfield_size="))
        .filter_map(|line| {
            let name = line.split('\'').nth(1)?;
            let (_, offset) = line.split_once("bits_offset=")?;
            (name != "(anon)").then(|| (name.to_owned(), offset.parse().unwrap()))
        })
        .collect()
}

#[test]
fn offsets_of_all_fields_of_a_device_and_a_namespace_are_those_that_bpftool_lists() {
    let output = Command::new("bpftool")
        .args(["btf", "dump", "file", VMLINUX])
        .output()
        .unwrap();
    let dump = String::from_utf8_lossy(&output.stdout);
    let btf = std::fs::read(VMLINUX).unwrap();
    for (structure, needed) in [
        ("net_device", ["ifindex", "nd_net"]),
        ("net", ["net_cookie", "ipv4"]),
    ] {
        let members = members(&dump, structure);
        for name in needed {
            assert!(
                members.iter().any(|(found, _)| found == name),
                "{structure}.{name}"
            );
        }
        for (name, bits) in members {
            assert_eq!(
                field_offset(&btf, structure, &name),
                Some(bits / 8),
                "{structure}.{name}"
            );
        }
    }
}

#[test]
fn fields_of_anonymous_structures_in_the_kernel_are_found() {
    let btf = std::fs::read(VMLINUX).unwrap();
    // `struct sk_buff` begins with a union of a structure of two pointers and a union.
    assert_eq!(field_offset(&btf, "sk_buff", "next"), Some(0));
    assert_eq!(
        field_offset(&btf, "sk_buff", "dev"),
        Some(2 * size_of::<usize>() as u32)
    );
    assert_eq!(field_offset(&btf, "sk_buff", "cloned"), None, "a bitfield");
}
