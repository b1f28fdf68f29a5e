//! Every invalid input is refused with object, field, value and remedy, and does not affect other documents.

mod documents;

use xdp_plan::manifests::{ManifestError, parse};

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: server}\n";

/// A policy whose only rule has these fields.
fn with_rule(rule: &str) -> String {
    format!(
        "apiVersion: xdp-operator.io/v1alpha1\nkind: XdpPolicy\nmetadata: {{namespace: games, name: players}}\nspec:\n  \
         podSelector: {{}}\n  ingress:\n  - {rule}\n"
    )
}

fn with_spec(spec: &str) -> String {
    format!(
        "apiVersion: xdp-operator.io/v1alpha1\nkind: XdpPolicy\nmetadata: {{namespace: games, name: players}}\nspec: {{{spec}}}\n"
    )
}

/// The error of a document between two valid ones.
fn error(document: &str) -> ManifestError {
    let (objects, mut errors) = parse("p.yaml", &format!("{POD}---\n{document}---\n{POD}"));
    assert_eq!((objects.len(), errors.len()), (2, 1), "{errors:?}");
    let error = errors.remove(0);
    assert!(!error.remedy.is_empty());
    error
}

#[track_caller]
fn check(document: &str, reason: &str, line: u64, message: &str) {
    let error = error(document);
    assert_eq!(
        error.to_string(),
        format!("p.yaml:{line}:{}: {message}", error.column)
    );
    assert_eq!(error.reason, reason);
    assert_eq!(error.object.as_deref(), Some("XdpPolicy games/players"));
}

fn block(block: &str) -> String {
    with_rule(&format!(
        "{{name: a, action: Drop, from: [{{ipBlock: {{{block}}}}}]}}"
    ))
}

fn port(port: &str) -> String {
    with_rule(&format!("{{name: a, action: Drop, ports: [{{{port}}}]}}"))
}

const CIDR: &str = "spec.ingress[0].from[0].ipBlock.cidr";
const EXCEPT: &str = "spec.ingress[0].from[0].ipBlock.except[0]";
const PORT: &str = "spec.ingress[0].ports[0].port";
const END: &str = "spec.ingress[0].ports[0].endPort";

#[test]
fn a_bad_network_is_refused() {
    for (text, reason, why) in [
        ("198.51.100.1/24", "HostBits", "bits are set beyond the prefix"),
        ("2001:db8::1/32", "HostBits", "bits are set beyond the prefix"),
        (
            "198.51.100.0/33",
            "PrefixTooLong",
            "the prefix is longer than 32 bits",
        ),
        (
            "2001:db8::/129",
            "PrefixTooLong",
            "the prefix is longer than 128 bits",
        ),
        (
            "198.51.100.0/999",
            "PrefixTooLong",
            "the prefix is longer than 32 bits",
        ),
        ("198.51.100.0", "NotCidr", "not a network in CIDR notation"),
        ("198.51.100/24", "NotCidr", "not a network in CIDR notation"),
        ("198.51.100.0/+24", "NotCidr", "not a network in CIDR notation"),
        ("here/24", "NotCidr", "not a network in CIDR notation"),
        ("::ffff:10.0.0.0/104", "MappedV4", "an IPv4-mapped IPv6 network"),
    ] {
        let message = format!("`{CIDR}` is `{text}`: {why}");
        check(&block(&format!("cidr: \"{text}\"")), reason, 11, &message);
    }
}

#[test]
fn the_remedy_for_host_bits_is_the_network() {
    let error = error(&block("cidr: 198.51.100.1/24"));
    assert_eq!(error.remedy, "write `198.51.100.0/24`, or a longer prefix");
}

#[test]
fn an_except_outside_its_network_is_refused() {
    let mixed =
        format!("`{EXCEPT}` is `2001:db8::/64`: not of the same address family as its cidr `10.0.0.0/8`");
    check(
        &block("cidr: 10.0.0.0/8, except: ['2001:db8::/64']"),
        "MixedFamilies",
        11,
        &mixed,
    );
    let outside = format!("`{EXCEPT}` is `11.0.0.0/16`: not inside its cidr `10.0.0.0/8`");
    check(
        &block("cidr: 10.0.0.0/8, except: [11.0.0.0/16]"),
        "ExceptOutside",
        11,
        &outside,
    );
    let wider = format!("`{EXCEPT}` is `0.0.0.0/0`: not inside its cidr `10.0.0.0/8`");
    check(
        &block("cidr: 10.0.0.0/8, except: [0.0.0.0/0]"),
        "ExceptOutside",
        11,
        &wider,
    );
}

#[test]
fn a_bad_port_is_refused() {
    let less = format!("`{END}` is `10`: less than port `20`");
    check(
        &port("protocol: UDP, port: 20, endPort: 10"),
        "EndBeforePort",
        11,
        &less,
    );
    let alone = format!("`{END}` is `10`: endPort without port");
    check(&port("protocol: UDP, endPort: 10"), "EndWithoutPort", 11, &alone);
    let icmp = format!("`{PORT}` is `10`: ICMP has no ports");
    check(&port("protocol: ICMP, port: 10"), "PortWithoutPorts", 11, &icmp);
    let icmpv6 = format!("`{END}` is `10`: ICMPv6 has no ports");
    check(
        &port("protocol: ICMPv6, endPort: 10"),
        "PortWithoutPorts",
        11,
        &icmpv6,
    );
    let large = format!("`{PORT}` is `65536`: not in 0 to 65535");
    check(&port("protocol: TCP, port: 65536"), "BadPort", 11, &large);
    let negative = format!("`{PORT}` is `-1`: not in 0 to 65535");
    check(&port("protocol: TCP, port: -1"), "BadPort", 11, &negative);
}

#[test]
fn ports_0_and_65535_are_ports() {
    for ports in [
        "port: 0",
        "port: 0, endPort: 65535",
        "port: 65535, endPort: 65535",
    ] {
        let (objects, errors) = parse("p.yaml", &port(&format!("protocol: UDP, {ports}")));
        assert_eq!((objects.len(), errors), (1, Vec::new()));
    }
}

#[test]
fn a_bad_rule_name_is_refused() {
    let rules = "{name: a, action: Drop}\n  - {name: b, action: Drop}\n  - {name: a, action: Pass}";
    let twice = "`spec.ingress[2].name` is `a`: rule 0 of this policy has the same name";
    check(&with_rule(rules), "DuplicateRule", 13, twice);
    check(
        &with_rule("{name: '', action: Drop}"),
        "NoName",
        11,
        "`spec.ingress[0].name` is ``: a name is missing",
    );
    let odd = "`spec.ingress[0].name` is `a b`: not a valid rule name";
    check(&with_rule("{name: a b, action: Drop}"), "BadRuleName", 11, odd);
    let absent = error(&with_rule("{action: Drop}"));
    assert_eq!((absent.reason.as_str(), absent.line), ("MissingField", 11));
    assert!(
        absent.message.contains("missing field `name`"),
        "{}",
        absent.message
    );
}

#[test]
fn an_unknown_field_is_refused_with_its_name_and_line() {
    for (document, field, line) in [
        (
            with_rule("name: a\n    action: Drop\n    rateLimits: {}"),
            "spec.ingress[0].rateLimits",
            13,
        ),
        (
            block("cidr: 10.0.0.0/8, excpet: []"),
            "spec.ingress[0].from[0].ipBlock.excpet",
            11,
        ),
        (with_spec("podSelector: {}, deliver: Peer"), "spec.deliver", 8),
        (
            with_spec("podSelector: {labels: {}}"),
            "spec.podSelector.labels",
            8,
        ),
        (
            format!("{}stauts: {{}}\n", with_spec("podSelector: {}")),
            "stauts",
            9,
        ),
        (
            with_spec("podSelector: {}").replace("name:", "nam:"),
            "metadata.nam",
            7,
        ),
    ] {
        let error = error(&document);
        let found = (error.reason.as_str(), error.field.as_str(), error.line);
        assert_eq!(found, ("UnknownField", field, line), "{error}");
        assert!(
            error.message.starts_with(&format!("`{field}`: unknown field")),
            "{error}"
        );
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    for value in ["-1", "1001"] {
        let message = format!("`spec.priority` is `{value}`: not in 0 to 1000");
        check(
            &with_spec(&format!("podSelector: {{}}, priority: {value}")),
            "BadPriority",
            8,
            &message,
        );
    }
    for value in ["-1", "4294967296"] {
        let message = format!("`spec.ingress[0].mark` is `{value}`: not in 0 to 4294967295");
        let rule = format!("{{name: a, action: Redirect, mark: {value}}}");
        check(&with_rule(&rule), "BadMark", 11, &message);
    }
}

#[test]
fn a_mark_without_redirect_is_refused() {
    let message = "`spec.ingress[0].mark` is `1`: only redirected packets carry a mark";
    check(
        &with_rule("{name: a, action: Drop, mark: 1}"),
        "MarkWithoutRedirect",
        11,
        message,
    );
}

#[test]
fn a_value_of_another_type_is_refused() {
    let error = error(&with_spec("podSelector: {}, priority: high"));
    assert_eq!(
        (error.reason.as_str(), error.field.as_str()),
        ("BadValue", "spec.priority")
    );
    assert!(
        error
            .message
            .starts_with("`spec.priority` is `high`: invalid type"),
        "{error}"
    );
}

#[test]
fn unknown_actions_and_protocols_are_refused() {
    let action = error(&with_rule("{name: a, action: Deny}"));
    assert_eq!(
        (action.reason.as_str(), action.field.as_str()),
        ("UnknownValue", "spec.ingress[0].action")
    );
    assert!(action.message.contains("`Deny`"), "{action}");
    let protocol = error(&port("protocol: udp"));
    assert_eq!(protocol.field, "spec.ingress[0].ports[0].protocol");
    assert!(
        protocol.message.contains("expected one of `TCP`, `UDP`, `SCTP`"),
        "{protocol}"
    );
}

#[test]
fn bad_label_selectors_are_refused() {
    let expression = |text: &str| with_spec(&format!("podSelector: {{matchExpressions: [{{{text}}}]}}"));
    let values = "spec.podSelector.matchExpressions[0].values";
    let none = format!("`{values}` is `[]`: In without values");
    check(&expression("key: a, operator: In"), "NoValues", 8, &none);
    let some = format!("`{values}` is `[b]`: Exists with values");
    check(
        &expression("key: a, operator: Exists, values: [b]"),
        "UnexpectedValues",
        8,
        &some,
    );
    let key = "`spec.podSelector.matchExpressions[0].key` is ``: an empty label key";
    check(&expression("key: '', operator: Exists"), "NoKey", 8, key);
    let unknown = error(&expression("key: a, operator: Like"));
    assert!(unknown.message.contains("unknown variant `Like`"), "{unknown}");
}
