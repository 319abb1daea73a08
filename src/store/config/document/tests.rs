use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Config {
    Config::parse(text).unwrap()
}

fn text_of(config: &Config, section: &str, name: &str) -> String {
    config.text(section, name).unwrap().unwrap()
}

#[test]
fn continuation_lines_join() {
    let text = "[n]\na : 1\n  2\n\n; c\n  3\n\n\nb : 4\n";
    let config = parsed(text);
    assert_eq!(text_of(&config, "n", "a"), "1\n2\n\n3");
    assert_eq!(text_of(&config, "n", "b"), "4");
    assert_eq!(config.render(), text);
}

#[test]
fn indented_entries_are_entries() {
    let config = parsed("[n]\n  a : 1\n  b : 2\n c : 3\n    [d]\n [e]\n  x:y:z\n");
    assert_eq!(text_of(&config, "n", "a"), "1");
    assert_eq!(text_of(&config, "n", "c"), "3\n[d]");
    assert_eq!(text_of(&config, "e", "x"), "y:z");
}

#[test]
fn line_endings_of_all_kinds() {
    for ending in ["\n", "\r\n", "\r"] {
        let text = "[n]\na : 1\n  2\n\nb :\n".replace('\n', ending);
        let config = parsed(&text);
        assert_eq!(text_of(&config, "n", "a"), "1\n2");
        assert_eq!(text_of(&config, "n", "b"), "");
        assert_eq!(config.render(), text);
    }
}

#[test]
fn headers_end_at_the_last_bracket() {
    let config = parsed("[n] x : y\n[ a]b ]\n[DEFAULT]\nd : 1\n[DEFAULT]\ne : 2\n");
    assert_eq!(config.sections().collect::<Vec<_>>(), ["n", " a]b ", "DEFAULT"]);
    assert_eq!(text_of(&config, "n", "d") + &text_of(&config, "missing", "e"), "12");
}

#[test]
fn what_python_refuses_is_refused() {
    use ConfigError::*;
    let check = |text: &str| Config::parse(text).unwrap_err();
    assert_eq!(check("[n]\na = 1\n"), Syntax { line: 2 });
    assert_eq!(check("[n]\na\n"), Syntax { line: 2 });
    assert_eq!(check("[n]\n# a\n"), Syntax { line: 2 });
    assert_eq!(check("[n]\n : 1\n"), Syntax { line: 2 });
    assert_eq!(check("[n]\n[]\n"), Syntax { line: 2 });
    assert_eq!(check("; c\n\na : 1\n"), NoSection { line: 3 });
    assert_eq!(check("\u{feff}[n]\n"), NoSection { line: 1 });
    assert_eq!(check("[n]\n[m]\n[n]\n"), DuplicateSection { line: 3, section: "n".into() });
    let twice = DuplicateName { line: 3, section: "n".into(), name: "a".into() };
    assert_eq!(check("[n]\na : 1\na : 1\n"), twice);
    assert!(Config::parse("[n]\na : 1\nA : 1\n").is_ok());
}

#[test]
fn errors_show_no_values() {
    let config = parsed("[n]\na : base64#hunter2\nb : hunter2%\n");
    for entry in config.entries("n") {
        assert!(!entry.value.unwrap_err().to_string().contains("hunter2"));
    }
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn one_broken_entry_does_not_hide_the_others() {
    let entries = parsed("[DEFAULT]\nd : 1\n[n]\na : base64#!\nbase64#YQ== : 2\n").entries("n");
    assert_eq!(entries.len(), 2);
    assert!(entries[0].value.is_err() && entries[0].name_bytes().is_none());
    assert_eq!(entries[1].name_bytes(), Some(b"a".to_vec()));
    assert_eq!(entries[1].value, Ok(Value::Int(2)));
}

#[test]
fn changes_leave_all_else_alone() {
    let mut config = parsed("; top\r\n[a]\r\nx :  1\r\n  2\r\n; in a\r\n  3\r\n\r\n; before b\r\n[b]\r\nz=: 1");
    config.set("a", "x", 5).unwrap();
    config.set("a", "y", "1\n2").unwrap();
    config.set("b", "q", true).unwrap();
    config.set("c", "r", 1.5).unwrap();
    let expected = "; top\r\n[a]\r\nx : 5\r\ny : 1\r\n\t2\r\n; in a\r\n\r\n; before b\r\n[b]\r\nz=: 1\r\nq : True\r\n\
        \r\n[c]\r\nr : 1.5\r\n";
    assert_eq!(config.render(), expected);
    assert!(config.remove("a", "x") && !config.remove("a", "x"));
    assert_eq!(config.render(), expected.replace("x : 5\r\n", ""));
}

#[test]
fn setting_what_is_set_changes_nothing() {
    let text = "[a]\nx:\t5\n";
    let mut config = parsed(text);
    config.set("a", "x", 5).unwrap();
    assert_eq!(config.render(), text);
}

#[test]
fn indentation_stays_sound() {
    for text in
        ["[a]\n  x : 1\n  y : 2\n[b]\n", "[a]\n  [b]\n", "[a]\n  x : 1\n\n  [b]\n", " [a]\n; c\n\t[b]\n  z : 1\n"]
    {
        let mut config = parsed(text);
        config.set("a", "x", "new").unwrap();
        config.set("a", "w", "more\nlines").unwrap();
        assert_eq!(parsed(&config.render()), config, "{text}");
        assert!(config.has_section("b") && text_of(&config, "a", "w") == "more\nlines", "{text}");
    }
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let mut config = Config::default();
    for value in [" a", "a ", "a\n", "\n", "a\n b", "a\r", "a\n;b", "a\u{1f}"] {
        assert!(config.set("s", "n", value).is_err(), "{value:?}");
    }
    for name in ["", "a:b", "[a", ";a", " a", "a\nb"] {
        assert!(config.set("s", name, 1).is_err(), "{name:?}");
    }
    assert!(config.set("", "n", 1).is_err() && config.add_section("a\nb").is_err());
    assert_eq!(config.render(), "");
}

#[test]
fn a_value_is_found_by_what_it_is() {
    let config = parsed("[a]\nx : 1\ny : base64#YQ==\n");
    assert_eq!(config.name_of("a", &Value::from(&b"a"[..])).as_deref(), Some("y"));
    assert_eq!(config.name_of("a", &Value::Int(2)), None);
}

#[derive(Debug, Clone)]
enum Change {
    Set(String, String, String),
    Remove(String, String),
}

fn change() -> impl Strategy<Value = Change> {
    let name = "[ab]";
    prop_oneof![
        ("[abc]", name, "[%a;:#\\[\\]= \n]{0,6}").prop_map(|(s, n, v)| Change::Set(s, n, v)),
        ("[abc]", name).prop_map(|(s, n)| Change::Remove(s, n)),
    ]
}

proptest! {
    #[test]
    fn unchanged_text_is_rendered_as_it_was(text in "([ \t]{0,2}(\\[[ab]\\]|[abc];?|[xyz] ?[:=] ?.{0,3}|;.{0,2})?\r?\n?){0,9}") {
        if let Ok(config) = Config::parse(&text) {
            prop_assert_eq!(config.render(), text);
        }
    }

    #[test]
    fn no_text_panics(text: String) {
        let _ = Config::parse(&text);
    }

    #[test]
    fn after_any_changes_it_reads_back(
        text in "(([ \t]{0,2}(\\[[abc]\\]|[ab] ?: ?.{0,3}|;.{0,2}))?\r?\n){0,9}",
        changes in proptest::collection::vec(change(), 0..6),
    ) {
        let Ok(mut config) = Config::parse(&text) else { return Ok(()) };
        for change in changes {
            match change {
                Change::Set(section, name, value) => {
                    if config.set(&section, &name, value.as_str()).is_ok() {
                        prop_assert_eq!(text_of(&config, &section, &name), value);
                    }
                }
                Change::Remove(section, name) => drop(config.remove(&section, &name)),
            }
            prop_assert!(parsed(&config.render()) == config, "{}", config.render());
        }
    }
}

/// What we write, read by Python's own configparser.
#[test]
fn python_reads_what_we_write() {
    let mut config = parsed("[a]\n  x : 1\n; c\n  [b]\n");
    config.set("a", "x", "50% a : b = c ; d # e").unwrap();
    config.set("a", "y", "1\n\n2\n[z]").unwrap();
    config.set_bytes("b", b"key", &b"\xff\x00"[..]).unwrap();
    config.set("c", "é", true).unwrap();
    let script = "import configparser,sys,json\n\
        c=configparser.ConfigParser(delimiters=(':',),comment_prefixes=(';',))\nc.optionxform=str\n\
        c.read_string(sys.stdin.buffer.read().decode())\nprint(json.dumps({s:dict(c[s]) for s in c.sections()}))";
    let Some(read) = python(script, &config.render()) else { return };
    let expected = serde_json::json!({
        "a": {"x": "50% a : b = c ; d # e", "y": "1\n\n2\n[z]"},
        "b": {"base64#a2V5": "base64#/wA="},
        "c": {"é": "True"},
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&read).unwrap(), expected);
}

fn python(script: &str, input: &str) -> Option<String> {
    use std::io::Write;
    let spawned = Command::new("python3").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = spawned else {
        assert!(std::env::var_os("KAFKACRYPTO_NO_SKIP").is_none(), "python3 is missing");
        let _ = std::io::stderr().write_all(b"SKIPPED python_reads_what_we_write: python3 is missing\n");
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Some(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
}
