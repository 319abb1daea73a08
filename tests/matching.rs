//! Expressions in certificates: whatever ours matches, Python's `re.match` does too; and for those that are made of what we
//! accept, also the other way round. `tests/vectors/generate_matching.py` has recorded Python's answers.

use kafkacrypto::chain::{Level, Restrictions};
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    expression: String,
    simple: bool,
    names: Vec<String>,
    matches: Option<Vec<bool>>,
}

#[test]
fn ours_matches_only_what_python_matches() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/matching.jsonl");
    let rows: Vec<Row> =
        std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut both, mut narrower) = (0, 0);
    for row in &rows {
        // all names at once, so that the expression is compiled once
        let names = Restrictions::none().with_topics(&row.names);
        let allowed = Restrictions::none().with_topics([&row.expression]).intersection(&names, Level::Same);
        for (index, name) in row.names.iter().enumerate() {
            let python = row.matches.as_ref().is_some_and(|matches| matches[index]);
            let ours = allowed.topics().unwrap().iter().any(|one| one == name.as_bytes());
            assert!(python || !ours, "{:?} matches {name:?} here and not in Python", row.expression);
            // `$` of Python also matches before a newline at the end
            let same = ours == python || !row.simple || name.ends_with('\n');
            assert!(same, "{:?} should match {name:?}", row.expression);
            both += usize::from(ours);
            narrower += usize::from(python && !ours);
        }
    }
    println!("{} expressions: {both} matches in both, {narrower} in Python alone", rows.len());
    assert!(both > rows.len(), "nothing was tested");
}
