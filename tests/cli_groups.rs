//! `consume -G` as a user runs it: what is committed, what is missing, and how it ends.
#![cfg(all(unix, feature = "kafka"))]

mod support;
#[path = "support/tool.rs"]
mod tool;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tool::{Place, Running, ended, path, run, text, tool};

/// So long a group waits for a member that hasn't left.
const SESSION: Duration = Duration::from_secs(40);

fn arguments<'a>(consumer: &'a Path, group: &'a str, topics: &[&'a str]) -> Vec<&'a str> {
    let often = ["-X", "auto.commit.interval.ms=50", "-o", "beginning", "-G", group];
    [&["consume", "-n", path(consumer)][..], &often, topics].concat()
}

#[track_caller]
fn says(output: &Output, code: i32, shown: &str, said: &str) {
    ended(output, code);
    assert_eq!(text(&output.stdout), shown);
    assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
}

/// Neither the end nor time commits a record that is still without its key.
#[test]
fn what_has_no_key_yet_comes_again() {
    let Some(place) = Place::over_kafka() else { return };
    let (producer, consumer, topic) = (place.producer(), place.consumer(), place.topic());
    drop(place.produce(&producer, &[], b"1\n2\n"));
    let group = support::fresh("group");
    let read = |wait| run(&[&*arguments(&consumer, &group, &[&topic]), &["-e", "--wait", wait]].concat(), b"");
    says(&read("0.5"), 4, "", "2 not decrypted");
    let mut stopped = Running::start(&[&*arguments(&consumer, &group, &[&topic]), &["--wait", "0.5"]].concat());
    stopped.expect("at offset 1");
    std::thread::sleep(Duration::from_millis(300)); // commits by time are due
    stopped.signal("-INT");
    assert_eq!(stopped.code(), 4);
    let mut serving = Running::start(&["serve", "-n", path(&producer)]);
    serving.expect("answers requests");
    says(&read("20"), 0, "1\n2\n", "");
    says(&read("20"), 0, "", "");
}

/// Who reads goes away: what wasn't written is for the next member, and that one needn't wait.
#[test]
fn a_reader_that_goes_away_ends_the_membership() {
    let Some(place) = Place::over_kafka() else { return };
    let (consumer, topic, group) = (place.consumer(), place.topic(), support::fresh("group"));
    let _sending = place.produce(&place.producer(), &[], b"1\n");
    let mut child = tool(&arguments(&consumer, &group, &[&topic])).stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "1\n");
    drop(out);
    let _more = place.produce(&place.producer(), &[], b"2\n3\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let started = Instant::now();
    says(&run(&[&*arguments(&consumer, &group, &[&topic]), &["-e"]].concat(), b""), 0, "2\n3\n", "");
    assert!(started.elapsed() < SESSION / 2, "{:?}", started.elapsed());
}

#[test]
fn a_topic_that_is_not_there_is_named() {
    let Some(place) = Place::over_kafka() else { return };
    let (consumer, topic, group) = (place.consumer(), place.topic(), support::fresh("group"));
    let _sending = place.produce(&place.producer(), &[], b"1\n");
    let missing = format!("{}.missing", place.root);
    let pattern = format!("^{}\\.other", place.root);
    let read = |topics: &[&str]| run(&[&*arguments(&consumer, &group, topics), &["-e"]].concat(), b"");
    let absent = format!("there is no topic {missing:?}");
    says(&read(&[&missing]), 6, "", &absent);
    says(&read(&[&pattern]), 6, "", &format!("no topic matches {pattern:?}"));
    says(&read(&[&topic, &missing]), 6, "1\n", &absent);
    let mut waiting = Running::start(&arguments(&consumer, &group, &[&missing, &pattern]));
    waiting.expect("no topic matches");
    waiting.expect(&format!("{absent} yet; waiting for it"));
    waiting.signal("-INT");
    assert_eq!(waiting.code(), 0);
}
