//! Everything at once, in an order that a number decides: crashes, full disks, withheld topics, replays, garbage. Afterwards
//! every key that somebody waits for has arrived, and no secret was used before it was durable, lost, or used twice.

use super::*;

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

const TOPICS: [&str; 4] = ["lab.reqs", "lab.keys", "denylist", "chains"];

fn step(sim: &mut Sim, dice: &mut Dice, renewals: &mut u32) {
    let node = dice.below(4);
    match dice.below(12) {
        0..=3 => {
            let producer = dice.below(2);
            if !sim.nodes[producer].disk_full {
                let index = sim.encrypt(producer, "lab");
                sim.want(2 + dice.below(2), "lab", &index);
            }
        }
        4 => sim.cut = Some((node, dice.below(30))),
        5 => sim.restart(node),
        6 => {
            let topic: Topic = TOPICS[dice.below(4)].into();
            if !sim.nodes[node].withheld.remove(&topic) {
                sim.nodes[node].withheld.insert(topic);
            }
        }
        7 => sim.nodes[node].disk_full ^= true,
        8 => {
            let topic = TOPICS[dice.below(4)];
            let written = sim.written(topic).to_vec();
            if !written.is_empty() {
                let Written { key, mut value, .. } = written[dice.below(written.len())].clone();
                if dice.below(2) == 0 {
                    let position = dice.below(value.len());
                    value[position] ^= 1 << dice.below(8);
                }
                sim.write(topic, key, value);
            }
        }
        9 => {
            let revoked = SigningKey::generate(SigningType::Ed25519, &mut rng());
            sim.write("denylist", b"k".to_vec(), list_message(&root_key(), revoked.public(), Usage::Denylist, LATER));
        }
        10 => {
            *renewals += 1;
            let (key, usages) = (&sim.nodes[node].key, if node < 2 { PRODUCER } else { CONSUMER });
            let (name, chain) = (key.public().to_bytes(), chain_for(key, usages, &["lab"], LATER + *renewals));
            sim.write("chains", name, chain);
        }
        _ => {}
    }
    sim.run(Duration::from_millis(u64::try_from(dice.below(20_000)).unwrap()));
}

fn check(sim: &Sim, seed: u64) {
    for node in &sim.nodes {
        for (root, index, secret) in &node.used {
            assert!(node.disk.holds(root, index, secret), "seed {seed}: a secret that was used is lost");
        }
        for (_, index) in &node.wants {
            let all = sim.nodes.iter().flat_map(|node| &node.used);
            let (_, _, secret) = all.into_iter().find(|(_, used, _)| used == index).unwrap();
            let learned = node.learned.iter().find(|(_, learned, ..)| learned == index);
            assert!(learned.is_some_and(|learned| learned.2.same_as(secret)), "seed {seed}: {index} didn't arrive");
        }
    }
}

#[test]
fn whatever_happens_keys_arrive_in_the_end() {
    let mut wants = 0;
    for seed in 0..25 {
        let (mut sim, mut dice, mut renewals) = (Sim::new(), Dice(seed), 0);
        let often = |node: &mut Node| node.settings.ratchet_interval = 2 * MINUTE;
        for usages in [PRODUCER, PRODUCER, CONSUMER, CONSUMER] {
            sim.add_with(usages, &["lab"], often);
        }
        for _ in 0..80 {
            step(&mut sim, &mut dice, &mut renewals);
        }
        sim.cut = None;
        for node in &mut sim.nodes {
            (node.disk_full, _) = (false, node.withheld.clear());
        }
        sim.run(3 * MINUTE);
        check(&sim, seed);
        wants += sim.nodes.iter().map(|node| node.wants.len()).sum::<usize>();
    }
    assert!(wants > 100, "{wants} keys were wanted in all");
}
