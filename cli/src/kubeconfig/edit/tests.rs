//! Texts of kubeconfigs, before and after.

use super::*;

fn entry() -> Node {
    Node::map([
        ("cluster", Node::map([("server", Node::text("https://new.test:6443"))])),
        ("name", Node::text("new")),
    ])
}

fn added(text: &str) -> String {
    put(text, "clusters", "new", &entry()).expect(text).text
}

const ENTRY: &str = "- cluster:\n    server: https://new.test:6443\n  name: new\n";

#[test]
fn an_entry_goes_to_the_end_of_its_list_and_every_other_byte_stays() {
    let after = "users: []\n# the end\n";
    for (what, before, indentation) in [
        ("a list", "clusters:\n- cluster: {server: https://a.test}\n  name: a # mine\n", ""),
        (
            "an indented list",
            "# one\nclusters:\n  # two\n  - name: a\n    cluster:\n      server: x # three\n",
            "  ",
        ),
        ("a block text", "clusters:\n- name: a\n  cluster:\n    note: |\n      one\n      two\n", ""),
        ("an alias", "x: &x {server: a}\nclusters:\n- name: a\n  cluster: *x\n", ""),
        ("a tag", "clusters:\n- name: !!str a\n  cluster:\n    server: x\n", ""),
        ("a quoted key", "\"clusters\":\n- name: 'a'\n", ""),
        ("nothing", "apiVersion: v1\nclusters:\n", ""),
        ("nothing, said", "apiVersion: v1\nclusters:   # none yet\n", ""),
    ] {
        let inserted = ENTRY.lines().flat_map(|line| [indentation, line, "\n"]).collect::<String>();
        assert_eq!(added(&format!("{before}{after}")), format!("{before}{inserted}{after}"), "{what}");
        let windows = |text: &str| text.replace('\n', "\r\n");
        let expected = windows(&format!("{before}{inserted}{after}"));
        assert_eq!(added(&windows(&format!("{before}{after}"))), expected, "{what}, with CRLF");
    }
}

#[test]
fn a_list_that_is_empty_or_missing_is_begun() {
    assert_eq!(
        added("clusters: [] # none\nkind: Config\n"),
        format!("clusters: # none\n{ENTRY}kind: Config\n")
    );
    assert_eq!(added("clusters: null\n"), format!("clusters:\n{ENTRY}"));
    assert_eq!(added("kind: Config"), format!("kind: Config\nclusters:\n{ENTRY}"));
    for empty in ["", "\n", "# mine\n", "---\n", "# mine"] {
        let separator = if empty.is_empty() || empty.ends_with('\n') { "" } else { "\n" };
        assert_eq!(
            added(empty),
            format!("{empty}{separator}apiVersion: v1\nkind: Config\nclusters:\n{ENTRY}"),
            "{empty:?}"
        );
    }
    assert_eq!(added("\u{feff}kind: Config\n"), format!("\u{feff}kind: Config\nclusters:\n{ENTRY}"));
}

#[test]
fn json_stays_json() {
    let entry = r#"{"cluster": {"server": "https://new.test:6443"}, "name": "new"}"#;
    for (before, expected) in [
        (
            r#"{"clusters": [{"name": "a"}], "x": 1}"#,
            format!(r#"{{"clusters": [{{"name": "a"}}, {entry}], "x": 1}}"#),
        ),
        (r#"{"clusters": []}"#, format!(r#"{{"clusters": [{entry}]}}"#)),
        (r#"{"clusters": null}"#, format!(r#"{{"clusters": [{entry}]}}"#)),
        (r#"{"x": 1}"#, format!(r#"{{"x": 1, "clusters": [{entry}]}}"#)),
        ("{}", format!(r#"{{"clusters": [{entry}]}}"#)),
        (r#"{"clusters": [{"name": "new", "cluster": {}}]}"#, format!(r#"{{"clusters": [{entry}]}}"#)),
    ] {
        assert_eq!(added(before), expected);
        serde_json::from_str::<serde_json::Value>(&expected).expect("JSON");
    }
    assert_eq!(set("{}", "current-context", "new").expect("{}").text, r#"{"current-context": "new"}"#);
}

#[test]
fn an_entry_is_replaced_where_it_stands_and_lost_comments_are_told() {
    let edited = put(
        "clusters:\n- name: a\n- name: new # mine\n  cluster: {}\n- name: b # his\n",
        "clusters",
        "new",
        &entry(),
    );
    let expected = format!("clusters:\n- name: a\n{ENTRY}- name: b # his\n");
    assert_eq!(edited, Ok(Edited { text: expected, has_lost_comments: true }));
    let edited = put("clusters:\n  - {name: new} # mine\n", "clusters", "new", &entry()).expect("an entry");
    assert!(edited.text.ends_with("} # mine\n") && !edited.has_lost_comments, "{edited:?}");
}

#[test]
fn the_current_context_is_set_where_it_stands() {
    for (before, after) in [
        ("current-context: a # mine\n", "current-context: new # mine\n"),
        ("current-context: \"\"\nkind: Config\n", "current-context: new\nkind: Config\n"),
        ("current-context:\nkind: Config\n", "current-context: new\nkind: Config\n"),
        ("kind: Config\n", "kind: Config\ncurrent-context: new\n"),
    ] {
        assert_eq!(set(before, "current-context", "new").expect(before).text, after);
    }
    assert_eq!(
        set("a: b\n", "current-context", "yes").expect("a text").text,
        "a: b\ncurrent-context: \"yes\"\n"
    );
    assert_eq!(
        set("a: b\n", "current-context", "1e3").expect("a text").text,
        "a: b\ncurrent-context: \"1e3\"\n"
    );
}

#[test]
fn what_cannot_be_changed_without_harm_is_refused() {
    for (what, text) in [
        ("not YAML", "clusters: [\n"),
        ("a tab", "clusters:\n\t- a\n"),
        ("two documents", "a: b\n---\nc: d\n"),
        ("a key twice", "clusters: []\nclusters: []\n"),
        ("a text", "hello"),
        ("a list", "- a\n"),
        ("no list", "clusters: {a: b}\n"),
        ("an alias for a list", "x: &x [{name: a}]\nclusters: *x\n"),
        ("a replaced anchor", "clusters:\n- name: new\n  cluster: &x {a: b}\nx: *x\n"),
        ("a bomb", &"[".repeat(300)),
        ("a deep one", &format!("{}{}", "[".repeat(100), "]".repeat(100))),
    ] {
        let refused = put(text, "clusters", "new", &entry()).expect_err(what);
        assert!(!refused.to_string().contains("hello"), "{what}");
    }
}
