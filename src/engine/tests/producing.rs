//! The node's own secrets: durable before they are used, given out as long as they are young enough.

use super::*;

#[test]
fn a_ratchet_step_changes_the_index_and_the_old_key_is_still_given_out() {
    let mut sim = Sim::new();
    let producer = sim.add_with(PRODUCER, &["lab"], |node| node.settings.ratchet_interval = 10 * MINUTE);
    let consumer = sim.add(CONSUMER);
    let first = sim.encrypt(producer, "lab");
    sim.run(10 * MINUTE + SECOND);
    let second = sim.encrypt(producer, "lab");
    assert_ne!(first, second);
    sim.want(consumer, "lab", &first);
    sim.want(consumer, "lab", &second);
    sim.run(SECOND);
    assert!(sim.has(consumer, &first) && sim.has(consumer, &second));
}

#[test]
fn secrets_that_are_too_old_are_forgotten_and_the_current_one_never() {
    let mut sim = Sim::new();
    let producer = sim.add_with(PRODUCER, &["lab"], |node| {
        node.settings.ratchet_interval = 60 * MINUTE;
        node.settings.max_pgen_age = 90 * MINUTE;
    });
    let consumer = sim.add(CONSUMER);
    let first = sim.encrypt(producer, "lab");
    sim.run(200 * MINUTE);
    let current = sim.encrypt(producer, "lab");
    sim.want(consumer, "lab", &first);
    sim.want(consumer, "lab", &current);
    sim.run(MINUTE);
    assert!(!sim.has(consumer, &first) && sim.has(consumer, &current));
    assert!(sim.nodes[producer].disk.old_keys.iter().all(|old| old.index != first), "it is still on the disk");
}

#[test]
fn after_a_restart_old_keys_are_given_out_at_once() {
    let mut sim = Sim::new();
    let (producer, consumer) = (sim.add(PRODUCER), sim.add(CONSUMER));
    let index = sim.encrypt(producer, "lab");
    sim.nodes[producer].current.clear();
    sim.restart(producer);
    sim.want(consumer, "lab", &index);
    sim.run(SECOND / 2);
    assert!(sim.has(consumer, &index), "though nothing was encrypted since");
    assert_eq!(sim.nodes[consumer].asked.len(), 1);
}

#[test]
fn a_request_from_before_the_start_is_answered_if_it_is_young() {
    let mut sim = Sim::new();
    let (producer, consumer) = (sim.add(PRODUCER), sim.add(CONSUMER));
    let index = sim.encrypt(producer, "lab");
    let away = sim.nodes[producer].reading.remove(&*Naming::default().reqs(&Root::new("lab")));
    assert!(away.is_some());
    sim.want(consumer, "lab", &index);
    sim.run(SECOND);
    assert!(!sim.has(consumer, &index));
    sim.restart(producer);
    sim.deliver();
    assert!(sim.has(consumer, &index));
}

#[test]
fn a_restored_seed_steps_on_until_its_index_is_new() {
    let mut sim = Sim::new();
    let producer = sim.add(PRODUCER);
    let backup = sim.nodes[producer].disk.seed.clone();
    for _ in 0..4 {
        sim.encrypt(producer, "lab");
        sim.restart(producer);
    }
    sim.nodes[producer].disk.seed = backup;
    sim.restart(producer);
    // `install` sees to it that no secret is used twice
    sim.encrypt(producer, "lab");
    assert_eq!(sim.nodes[producer].used.len(), 6);
    assert!(sim.nodes[producer].noticed(|notice| *notice == Notice::IndexRepeated));
}

#[test]
fn nothing_is_encrypted_while_the_disk_is_full_and_it_goes_on_when_there_is_room() {
    let mut sim = Sim::new();
    let producer = sim.add(PRODUCER);
    sim.nodes[producer].disk_full = true;
    let roots = [Root::new("lab")];
    sim.input(producer, Input::RootsUsed { roots: &roots });
    assert!(sim.nodes[producer].current.is_empty());
    assert!(sim.nodes[producer].cannot.iter().any(|why| why.contains("disk full")));
    sim.nodes[producer].disk_full = false;
    sim.encrypt(producer, "lab");
}

#[test]
fn when_a_step_fails_roots_in_use_go_on_under_the_old_index() {
    let mut sim = Sim::new();
    let producer = sim.add_with(PRODUCER, &["lab"], |node| node.settings.ratchet_interval = 10 * MINUTE);
    let first = sim.encrypt(producer, "lab");
    sim.nodes[producer].disk_full = true;
    sim.run(11 * MINUTE);
    assert_eq!(sim.encrypt(producer, "lab"), first);
    assert!(sim.nodes[producer].noticed(|notice| matches!(notice, Notice::Failed { .. })));
    sim.nodes[producer].disk_full = false;
    sim.run(MINUTE);
    assert_ne!(sim.encrypt(producer, "lab"), first);
}

#[test]
fn one_write_is_enough_for_all_roots_that_wait() {
    let mut sim = Sim::new();
    let producer = sim.add_with(PRODUCER, &["^.*$"], |_| {});
    let roots: Vec<Root> = (0..200).map(|number| Root::new(&format!("root{number}"))).collect();
    sim.nodes[producer].debug.clear();
    sim.input(producer, Input::RootsUsed { roots: &roots });
    assert_eq!(sim.nodes[producer].current.len(), 200);
    assert_eq!(sim.nodes[producer].debug.matches("Save(OldKeys").count(), 1);
}

#[test]
fn short_indices_are_the_ratchets_own() {
    let mut sim = Sim::new();
    let producer = sim.add_with(PRODUCER, &["lab"], |node| node.settings.long_keyindex = false);
    assert!(matches!(sim.encrypt(producer, "lab"), KeyIndex::Short(_)));
}

#[test]
fn a_node_without_a_ratchet_says_that_it_cannot_encrypt() {
    let mut sim = Sim::new();
    let node = sim.add(CONSUMER);
    let mut setup = setup(&sim.nodes[node].key, &sim.nodes[node].disk, &Settings::default(), false);
    setup.can_produce = false;
    let (engine, actions) = NodeEngine::new(setup, sim.now);
    sim.nodes[node].engine = engine;
    sim.perform(node, actions);
    sim.input(node, Input::RootsUsed { roots: &[Root::new("lab")] });
    assert!(sim.nodes[node].cannot.iter().any(|why| why.contains("no ratchet")));
    sim.run(MINUTE);
}

#[test]
fn a_secret_made_before_the_clock_was_set_is_as_young_as_any() {
    let mut sim = Sim::new();
    let set = sim.now.wall;
    sim.now.wall = UnixTime::from_secs(1000);
    let producer = sim.add_with(PRODUCER, &["lab"], |node| node.settings.ratchet_interval = 60 * MINUTE);
    let first = sim.encrypt(producer, "lab");
    sim.now.wall = set;
    sim.run(61 * MINUTE);
    assert_ne!(sim.encrypt(producer, "lab"), first);
    let consumer = sim.add(CONSUMER);
    sim.want(consumer, "lab", &first);
    sim.run(MINUTE);
    assert!(sim.has(consumer, &first), "records under it could never be read");
}

#[test]
fn no_secret_stands_in_anything_that_is_printed() {
    let mut sim = Sim::new();
    let (producer, consumer) = (sim.add(PRODUCER), sim.add(CONSUMER));
    let index = sim.encrypt(producer, "lab");
    sim.want(consumer, "lab", &index);
    sim.run(SECOND);
    let (p, c) = (&sim.nodes[producer], &sim.nodes[consumer]);
    let setup = setup(&p.key, &p.disk, &p.settings, false);
    let wanted =
        Input::Done { id: 1, result: Ok(Outcome::RootSecrets(vec![(Root::new("lab"), p.used[0].2.duplicate())])) };
    let printed =
        [&p.debug, &c.debug, &format!("{:?}{:?}{setup:?}{wanted:?}", p.engine, c.engine)].map(String::as_str).concat();
    assert!(printed.contains("Produce") && printed.contains("Learn"));
    let seed = RatchetState::decode(&p.disk.seed).unwrap();
    for secret in [&p.used[0].2, &seed.root_secret(&Root::new("lab"))] {
        let inner = format!("{:?}", secret.expose());
        let inner = inner.trim_matches(['[', ']']);
        assert!(!printed.contains(inner) && !printed.contains(&hex::encode(secret.expose())));
    }
}

#[test]
fn the_ratchet_steps_at_every_start_whether_it_is_used_or_not() {
    let mut sim = Sim::new();
    let node = sim.add(PRODUCER);
    for started in 1..4 {
        assert_eq!(RatchetState::decode(&sim.nodes[node].disk.seed).unwrap().index(), started);
        sim.restart(node);
    }
}
