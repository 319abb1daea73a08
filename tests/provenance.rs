//! Every vector file says where it comes from, and none is missing.

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_vector_file_is_listed_and_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let read = std::fs::read_dir(&folder).expect("tests/vectors").map(|entry| entry.expect("an entry").file_name());
    let is_data = |name: &String| name.ends_with(".json") || name.ends_with(".jsonl");
    let there: BTreeSet<String> = read.filter_map(|name| name.into_string().ok()).filter(is_data).collect();
    let readme = std::fs::read_to_string(folder.join("README.md")).expect("README.md");
    let rows: Vec<Vec<&str>> = readme
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let listed: BTreeSet<String> = rows.iter().map(|row| row[1].to_owned()).filter(is_data).collect();
    assert!(there.len() > 5, "{there:?}");
    assert_eq!(there, listed);
    for row in rows.iter().filter(|row| is_data(&row[1].to_owned())) {
        let script = row[3].split(' ').next().expect("a script");
        assert!(folder.join(script).is_file(), "{}: no {script}", row[1]);
    }
}
