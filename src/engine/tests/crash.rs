//! A crash between any two actions is safe: every list of actions is cut at every position (design.md §3.12).

use super::*;

/// What a small fleet does in a week: first use, exchange, a revocation, a new chain, a step of the ratchet.
fn week(sim: &mut Sim) -> (usize, usize, SigningKey) {
    let hourly = |node: &mut Node| node.settings.ratchet_interval = 60 * MINUTE;
    let (producer, consumer) = (sim.add_with(PRODUCER, &["lab"], hourly), sim.add(CONSUMER));
    sim.run(SECOND);
    let first = sim.encrypt(producer, "lab");
    sim.want(consumer, "lab", &first);
    sim.run(MINUTE);
    assert!(sim.has(consumer, &first), "the first key didn't arrive");
    let revoked = SigningKey::generate(SigningType::Ed25519, &mut rng());
    let message = list_message(&root_key(), revoked.public(), Usage::Denylist, LATER);
    sim.write("denylist", b"k".to_vec(), message);
    let key = &sim.nodes[producer].key;
    let (name, chain) = (key.public().to_bytes(), chain_for(key, PRODUCER, &["lab"], LATER + 1));
    sim.write("chains", name, chain);
    sim.run(60 * MINUTE);
    let second = sim.encrypt(producer, "lab");
    assert_ne!(first, second, "the ratchet didn't step");
    sim.want(consumer, "lab", &second);
    sim.run(MINUTE);
    (producer, consumer, revoked)
}

fn check(sim: &Sim, (producer, consumer, revoked): (usize, usize, SigningKey)) {
    let (p, c) = (&sim.nodes[producer], &sim.nodes[consumer]);
    for (root, index, secret) in &p.used {
        assert!(p.disk.holds(root, index, secret), "a secret that was used is lost");
    }
    for (_, index) in &c.wants {
        let learned = c.learned.iter().find(|(_, learned, ..)| learned == index).expect("a key didn't arrive");
        let used = p.used.iter().find(|(_, used, _)| used == index).unwrap();
        assert!(learned.2.same_as(&used.2));
    }
    for node in [p, c] {
        let entry = root_certificate(revoked.public());
        assert_eq!(node.disk.deny.iter().filter(|denied| **denied == entry).count(), 1, "the revocation is lost");
    }
    assert_eq!(p.disk.chain, chain_for(&p.key, PRODUCER, &["lab"], LATER + 1), "the new chain is lost");
}

#[test]
fn every_list_of_actions_may_be_cut_anywhere() {
    let mut whole = Sim::new();
    let fleet = week(&mut whole);
    check(&whole, fleet);
    let steps: Vec<usize> = whole.nodes.iter().map(|node| node.steps).collect();
    assert!(steps.iter().all(|steps| *steps > 20), "{steps:?}");
    for (node, steps) in steps.into_iter().enumerate() {
        for position in 0..steps {
            let mut sim = Sim::new();
            sim.cut = Some((node, position));
            let fleet = week(&mut sim);
            assert!(sim.cut.is_none(), "node {node} never came to step {position}");
            check(&sim, fleet);
        }
    }
}

#[test]
fn both_sides_may_crash_again_and_again() {
    for pause in [1, 2, 3, 5, 8, 13, 21] {
        let mut sim = Sim::new();
        let (producer, consumer) = (sim.add(PRODUCER), sim.add(CONSUMER));
        let mut indices = Vec::new();
        for _ in 0..5 {
            let index = sim.encrypt(producer, "lab");
            sim.want(consumer, "lab", &index);
            indices.push(index);
            for node in [producer, consumer] {
                sim.cut = Some((node, pause));
                sim.run(SECOND);
                sim.restart(node);
            }
        }
        sim.cut = None;
        sim.run(2 * MINUTE);
        assert!(indices.iter().all(|index| sim.has(consumer, index)), "pause {pause}");
    }
}
