//! Expressions, their errors and their meaning, as the real Consul answers them.

use proptest::prelude::*;
use serde_json::json;
use shared::{catalog::CatalogService, check::Check, health::ServiceNode, node::Node};

use super::{Filter, select};

fn node(name: &str, meta: &[(&str, &str)]) -> Node {
    let meta = meta.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Node { name: name.to_owned(), address: "10.0.0.1".to_owned(), meta, ..Node::default() }
}

fn nodes() -> Vec<Node> {
    vec![node("ext1", &[("os", "linux"), ("x-y", "1")]), node("ext2", &[]), node("six", &[("os", "bsd")])]
}

fn check(expression: &str, expected: &[&str]) {
    let mut rows = nodes();
    select(expression, &mut rows).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, expected, "{expression}");
}

#[test]
fn expressions_select_rows() {
    check("", &["ext1", "ext2", "six"]);
    check("Node == ext1", &["ext1"]);
    check("Node==ext1", &["ext1"]);
    check(" ( Node == \"ext\\u0031\" ) ", &["ext1"]);
    check("Node != `ext1`", &["ext2", "six"]);
    check("Node contains ext", &["ext1", "ext2"]);
    check("\"xt2\" in Node", &["ext2"]);
    check("ext not in Node", &["six"]);
    check("Node matches `^ext[12]$`", &["ext1", "ext2"]);
    check("Node not matches \"^ext\"", &["six"]);
    check("Meta is empty", &["ext2"]);
    check("Meta is not empty", &["ext1", "six"]);
    check("os in Meta", &["ext1", "six"]);
    check("Meta not contains os", &["ext2"]);
    check("Meta.os == linux", &["ext1"]);
    check("Meta[\"x-y\"] == 1", &["ext1"]);
    check("Node == ext1 or Node == six and Meta.os == linux", &["ext1"]);
    check("(Node == ext1 or Node == six) and not Meta.os == linux", &["six"]);
    check("not not Node == ext1", &["ext1"]);
}

#[test]
fn a_missing_map_key_is_unequal_and_otherwise_matches() {
    check("Meta.os != linux", &["ext2", "six"]);
    check("Meta.none matches zzz", &["ext1", "ext2", "six"]);
    check("Meta.none not matches zzz", &["ext1", "ext2", "six"]);
    check("Meta.none contains z", &[]);
    check("Meta.none not contains z", &["ext1", "ext2", "six"]);
}

fn fails<T: super::Filterable>(expression: &str, expected: &str) {
    let error = Filter::<T>::new(expression).map(drop).expect_err(expression);
    assert_eq!(error.to_string(), format!("Failed to create boolean expression evaluator: {expected}"), "{expression}");
}

#[test]
fn syntax_errors_tell_the_furthest_place_and_what_it_wanted() {
    for (expression, expected) in [
        ("Node", r#"1:5 (4): no match found, expected: "!=", ".", "==", "[", [ \t\r\n] or [a-zA-Z0-9_]"#),
        ("Node =", r#"1:6 (5): no match found, expected: "!=", "==", "contains", "in", "is", "matches", "not" or [ \t\r\n]"#),
        ("Node == ", r#"1:9 (8): no match found, expected: "-", "0", "\"", "`", [ \t\r\n], [1-9] or [a-zA-Z]"#),
        ("Node == a b", r#"1:11 (10): no match found, expected: "and", "or", [ \t\r\n] or EOF"#),
        (" ", r#"1:2 (1): no match found, expected: "(", "-", "0", "\"", "`", "not", [ \t\r\n], [1-9] or [a-zA-Z]"#),
        ("$", r#"1:1 (0): no match found, expected: "(", "-", "0", "\"", "`", "not", [ \t\r\n], [1-9] or [a-zA-Z]"#),
        ("not", r#"1:4 (3): no match found, expected: "!=", ".", "==", "[", [ \t\r\n] or [a-zA-Z0-9_]"#),
        ("NOT Node == a", r#"1:5 (4): no match found, expected: "!=", "==", "contains", "in", "is", "matches", "not" or [ \t\r\n]"#),
        ("Node == 5 and", r"1:14 (13): no match found, expected: [ \t\r\n]"),
        ("Node == ext1 or", r"1:16 (15): no match found, expected: [ \t\r\n]"),
        ("Node is", r"1:8 (7): no match found, expected: [ \t\r\n]"),
        ("Node not", r"1:9 (8): no match found, expected: [ \t\r\n]"),
        ("x not Node", r#"1:7 (6): no match found, expected: "contains", "in", "matches" or [ \t\r\n]"#),
        ("Node == ext1)", r#"1:13 (12): no match found, expected: ".", "[", [ \t\r\n], [a-zA-Z0-9_] or EOF"#),
        ("\"ext1\" == Node", r#"1:8 (7): no match found, expected: "in", "not" or [ \t\r\n]"#),
        ("Node == \"ext1\"and Node == ext1", r"1:15 (14): no match found, expected: [ \t\r\n] or EOF"),
        ("Node == api or\n Node == $", r#"2:10 (24): no match found, expected: "-", "0", "\"", "`", [ \t\r\n], [1-9] or [a-zA-Z]"#),
        ("Node == \"ext1", "1:14 (13): rule \"string\": Unterminated string literal"),
        ("Node == \"a\\q\"", "1:9 (8): rule \"string\": invalid syntax"),
        ("(Node == ext1", "1:14 (13): rule \"grouping\": Unmatched parentheses"),
        ("Meta[\"os\" == x", "1:11 (10): rule \"index\": Unclosed index expression"),
        ("Meta[os] == x", "1:6 (5): rule \"index\": Invalid index"),
        ("Node == 05", "1:10 (9): rule \"number\": Invalid number literal"),
    ] {
        fails::<Node>(expression, expected);
    }
}

#[test]
fn what_the_rows_do_not_have_is_an_error() {
    fails::<Node>("Bogus.x == a", "Selector \"Bogus\" is not valid");
    fails::<Node>("node == a", "Selector \"node\" is not valid");
    fails::<Node>("CreateIndex == 5", "Selector \"CreateIndex\" is not valid");
    fails::<Node>("Node.x == a", "Selector \"Node.x\" is not valid");
    fails::<Node>("Meta[\"os\"].x == 1", "Selector \"Meta.os.x\" is not valid");
    fails::<Node>("Meta.os in os", "Selector \"os\" is not valid");
    fails::<Node>("Node is empty", "Invalid match operator \"Is Empty\" for selector \"Node\"");
    fails::<Node>("Meta == a", "Invalid match operator \"Equal\" for selector \"Meta\"");
    fails::<ServiceNode>("Checks contains x", "Invalid match operator \"In\" for selector \"Checks\"");
    fails::<ServiceNode>("Checks.Definition.HTTP == x", "Selector \"Checks.Definition\" is not valid");
    fails::<CatalogService>(
        "ServiceTaggedAddresses.lan == 80",
        "Invalid match operator \"Equal\" for selector \"ServiceTaggedAddresses.lan\"",
    );
    fails::<CatalogService>("ServiceProxy.Config.x == 1", "Selector \"ServiceProxy.Config\" is not valid");
}

#[test]
fn values_must_fit_their_fields() {
    let number = |value: &str, why: &str| {
        format!("Failed to coerce value \"{value}\" for selector \"ServicePort\": strconv.ParseInt: parsing \"{value}\": {why}")
    };
    fails::<CatalogService>("ServicePort == abc", &number("abc", "invalid syntax"));
    fails::<CatalogService>("ServicePort == 1.5", &number("1.5", "invalid syntax"));
    fails::<CatalogService>("ServicePort == \"\"", &number("", "invalid syntax"));
    fails::<CatalogService>("ServicePort == 99999999999999999999", &number("99999999999999999999", "value out of range"));
    fails::<CatalogService>(
        "ServiceEnableTagOverride == yes",
        "Failed to coerce value \"yes\" for selector \"ServiceEnableTagOverride\": strconv.ParseBool: parsing \"yes\": invalid syntax",
    );
    let regex = |pattern: &str, why: &str| format!("Failed to compile regular expression \"{pattern}\": error parsing regexp: {why}");
    fails::<Node>("Node matches \"[\"", &regex("[", "missing closing ]: `[`"));
    fails::<Node>("Node matches \"(\"", &regex("(", "missing closing ): `(`"));
    fails::<Node>("Node matches \")\"", &regex(")", "unexpected ): `)`"));
    fails::<Node>("Node matches \"*\"", &regex("*", "missing argument to repetition operator: `*`"));
}

fn row_selected(expression: &str) -> bool {
    let mut row = CatalogService { service_port: 8001, service_tags: vec!["v1".to_owned()], ..CatalogService::default() };
    row.service_tagged_addresses.insert("lan".to_owned(), shared::service::ServiceAddress { address: "10.1.1.1".to_owned(), port: 80 });
    row.service_proxy.upstreams = Some(json!([{"DestinationName": "db", "LocalBindPort": 9000, "MeshGateway": {"Mode": "local"}}]));
    let mut rows = vec![row];
    select(expression, &mut rows).unwrap_or_else(|error| panic!("{expression}: {error}"));
    rows.len() == 1
}

#[test]
fn numbers_lists_maps_and_parts_kept_as_sent_are_compared_by_kind() {
    for (expression, expected) in [
        ("ServicePort == 8001", true),
        ("ServicePort == \"0x1F41\"", true),
        ("ServicePort == \"8_001\"", true),
        ("ServicePort != 8001", false),
        ("ServicePort == -5", false),
        ("v1 in ServiceTags", true),
        ("ServiceTags contains v", false),
        ("ServiceTags is empty", false),
        ("lan in ServiceTaggedAddresses", true),
        ("ServiceTaggedAddresses.lan.Port == 80", true),
        ("ServiceTaggedAddresses.wan.Port == 80", false),
        ("ServiceTaggedAddresses.wan.Port != 80", true),
        ("ServiceProxy.Upstreams is empty", false),
        ("ServiceProxy.Upstreams.DestinationName == db", true),
        ("ServiceProxy.Upstreams.DestinationName != db", false),
        ("ServiceProxy.Upstreams.LocalBindPort == 9000", true),
        ("ServiceProxy.Upstreams.MeshGateway.Mode == local", true),
        ("ServiceProxy.Upstreams.Datacenter == \"\"", true),
        ("ServiceProxy.Expose.Paths.Path != x", false),
        ("ServiceProxy.Expose.Paths is empty", true),
        ("ServiceProxy.MeshGateway.Mode == \"\"", true),
        ("ServiceConnect.Native == f", true),
    ] {
        assert_eq!(row_selected(expression), expected, "{expression}");
    }
}

#[test]
fn any_element_of_a_list_is_enough() {
    let with = |statuses: &[&str]| ServiceNode {
        checks: statuses.iter().map(|status| Check { status: (*status).into(), ..Check::default() }).collect(),
        ..ServiceNode::default()
    };
    for (expression, expected) in [
        ("Checks.Status == critical", [true, false, false]),
        ("Checks.Status != critical", [true, true, false]),
        ("not Checks.Status == critical", [false, true, true]),
        ("Checks is empty", [false, false, true]),
    ] {
        let filter = Filter::new(expression).expect("valid");
        let rows = [with(&["passing", "critical"]), with(&["passing"]), with(&[])];
        assert_eq!(rows.map(|row| filter.selects(&row)), expected, "{expression}");
    }
}

#[test]
fn nesting_is_bounded_and_cheap() {
    let nested = |depth: usize| format!("{}Node == ext1{}", "(".repeat(depth), ")".repeat(depth));
    check(&nested(60), &["ext1"]);
    let error = Filter::<Node>::new(&nested(100_000)).map(drop).expect_err("too deep");
    assert_eq!(error.0, "1:102 (101): expression is nested more than 100 levels deep");
    let error = Filter::<Node>::new(&format!("{}Node == ext1", "not ".repeat(100_000))).map(drop).expect_err("too deep");
    assert!(error.0.ends_with("expression is nested more than 100 levels deep"), "{error}");
}

proptest! {
    #[test]
    fn no_text_panics(text in "[ -~\\n\u{e9}]{0,60}") {
        let _ = Filter::<ServiceNode>::new(&text);
    }

    #[test]
    fn no_arrangement_of_words_panics(words in proptest::collection::vec(prop::sample::select(vec![
        "Node", "Checks", "Service", ".", "[", "]", "(", ")", "\"", "`", "a", "5", "05", "-", "==", "!=", "in", "not", "is", "empty",
        "contains", "matches", "and", "or", " ", " ", " ", "\\", "Meta", "\u{e9}",
    ]), 0..24)) {
        let _ = Filter::<ServiceNode>::new(&words.concat());
    }

    #[test]
    fn not_is_the_complement(value in "[a-z0-9]{1,6}", operator in prop::sample::select(vec!["==", "!=", "contains", "matches"])) {
        let plain = Filter::<Node>::new(&format!("Node {operator} \"{value}\"")).expect("valid");
        let negated = Filter::<Node>::new(&format!("not (Node {operator} \"{value}\")")).expect("valid");
        for row in nodes() {
            prop_assert_ne!(plain.selects(&row), negated.selects(&row));
        }
    }
}
