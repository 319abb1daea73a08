//! Which member of a group reads which partition: what the leader of a classic group decides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Partition;

/// How the partitions are shared out: `partition_assignment_strategy` of kafka-python and Java. The leader uses the
/// first that every member names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Assignor {
    /// Each topic by itself: ranges of its partitions, in the order of the members.
    Range,
    /// All partitions of all topics, one after another.
    RoundRobin,
    /// Even, and with as few moves as possible; partitions that stay are read on during a rebalance (KIP-429).
    CooperativeSticky,
}

impl Assignor {
    /// Its name on the wire, the same in every client.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The one of this name, as it stands on the wire or in a config (Java's and kafka-python's class names too).
    ///
    /// ```
    /// use kafkacrypto::kafka::Assignor;
    /// assert_eq!(Assignor::named("cooperative-sticky"), Some(Assignor::CooperativeSticky));
    /// assert_eq!(Assignor::named("org.apache.kafka.clients.consumer.RangeAssignor"), Some(Assignor::Range));
    /// assert_eq!(Assignor::named("fair"), None);
    /// ```
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name.trim().rsplit('.').next()?.to_ascii_lowercase().as_str() {
            "range" | "rangeassignor" | "rangepartitionassignor" => Some(Self::Range),
            "roundrobin" | "roundrobinassignor" | "roundrobinpartitionassignor" => Some(Self::RoundRobin),
            "cooperative-sticky" | "cooperativestickyassignor" => Some(Self::CooperativeSticky),
            _ => None,
        }
    }

    /// Whether members keep what they read while the group shares out anew.
    pub(super) fn is_cooperative(self) -> bool {
        self == Self::CooperativeSticky
    }

    /// Shares out; every member is in the result. `counts` has the number of partitions of each topic.
    pub(super) fn assign(self, members: &[Member], counts: &BTreeMap<Arc<str>, i32>) -> Assignment {
        let mut members: Vec<&Member> = members.iter().collect();
        // Static members keep their place when they come back under another ID.
        members.sort_by_key(|member| (member.instance.is_none(), member.instance.clone(), member.id.clone()));
        match self {
            Self::Range => range(&members, counts),
            Self::RoundRobin => round_robin(&members, counts),
            Self::CooperativeSticky => cooperative_sticky(&members, counts),
        }
    }
}

/// A member, as its subscription tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) instance: Option<String>,
    pub(super) topics: BTreeSet<Arc<str>>,
    /// What it reads now (cooperative members).
    pub(super) owned: BTreeSet<Partition>,
    /// The generation in which it was given them; −1 when it doesn't say.
    pub(super) generation: i32,
}

/// For each member ID what it is to read.
pub(super) type Assignment = BTreeMap<String, BTreeSet<Partition>>;

fn empty(members: &[&Member]) -> Assignment {
    members.iter().map(|member| (member.id.clone(), BTreeSet::new())).collect()
}

fn give(to: &mut Assignment, member: &str, partition: Partition) {
    to.entry(member.to_owned()).or_default().insert(partition);
}

fn range(members: &[&Member], counts: &BTreeMap<Arc<str>, i32>) -> Assignment {
    let mut assignment = empty(members);
    for (topic, &count) in counts {
        let readers: Vec<_> = members.iter().filter(|member| member.topics.contains(topic)).collect();
        let Some(each) = usize::try_from(count).ok().and_then(|count| count.checked_div(readers.len())) else {
            continue;
        };
        let mut partitions = 0..count;
        let more = usize::try_from(count).unwrap_or(0) - each * readers.len();
        for (place, reader) in readers.iter().enumerate() {
            let share = each + usize::from(place < more);
            partitions.by_ref().take(share).for_each(|n| give(&mut assignment, &reader.id, (topic.clone(), n)));
        }
    }
    assignment
}

fn round_robin(members: &[&Member], counts: &BTreeMap<Arc<str>, i32>) -> Assignment {
    let mut assignment = empty(members);
    let mut next = members.iter().cycle();
    for (topic, &count) in counts {
        if !members.iter().any(|member| member.topics.contains(topic)) {
            continue;
        }
        for n in 0..count {
            if let Some(reader) = next.by_ref().find(|member| member.topics.contains(topic)) {
                give(&mut assignment, &reader.id, (topic.clone(), n));
            }
        }
    }
    assignment
}

/// Even first, then sticky: who owns a partition keeps it unless another who may read it has two fewer. A partition that
/// changes hands is given to nobody in this round: its owner lets go of it, joins again, and then it is free.
fn cooperative_sticky(members: &[&Member], counts: &BTreeMap<Arc<str>, i32>) -> Assignment {
    let owners = owners(members, counts);
    let mut sharing = Sharing::new(members, &owners);
    let mut free: Vec<Partition> = counts
        .iter()
        .flat_map(|(topic, &count)| (0..count).map(move |n| (topic.clone(), n)))
        .filter(|partition| !owners.contains_key(partition))
        .collect();
    // Those that few may read first.
    free.sort_by_cached_key(|(topic, n)| (sharing.readers_of(topic).count(), topic.clone(), *n));
    for partition in free {
        if let Some(reader) = sharing.least(&partition.0) {
            sharing.give(partition, reader);
        }
    }
    sharing.even_out();
    let mut assignment = empty(members);
    for (partition, reader) in sharing.of {
        let stays = owners.get(&partition).is_none_or(|owner| *owner == reader);
        if let Some(member) = members.get(reader).filter(|_| stays) {
            give(&mut assignment, &member.id, partition);
        }
    }
    assignment
}

/// Who owns what: the claim of the newest generation counts, and of two equal ones neither does.
fn owners(members: &[&Member], counts: &BTreeMap<Arc<str>, i32>) -> BTreeMap<Partition, usize> {
    let mut claims: BTreeMap<&Partition, Vec<(i32, usize)>> = BTreeMap::new();
    for (place, member) in members.iter().enumerate() {
        let real = |(topic, n): &&Partition| {
            member.topics.contains(topic) && counts.get(topic).is_some_and(|count| (0..*count).contains(n))
        };
        for partition in member.owned.iter().filter(real) {
            claims.entry(partition).or_default().push((member.generation, place));
        }
    }
    let newest = |claims: Vec<(i32, usize)>| {
        let newest = claims.iter().map(|(generation, _)| *generation).max()?;
        let mut of_it = claims.iter().filter(|(generation, _)| *generation == newest);
        of_it.next().filter(|_| of_it.next().is_none()).map(|(_, place)| *place)
    };
    claims.into_iter().filter_map(|(partition, claims)| Some((partition.clone(), newest(claims)?))).collect()
}

/// A sharing out under way.
struct Sharing<'a> {
    members: &'a [&'a Member],
    of: BTreeMap<Partition, usize>,
    loads: Vec<usize>,
}

impl<'a> Sharing<'a> {
    fn new(members: &'a [&'a Member], owners: &BTreeMap<Partition, usize>) -> Self {
        let mut sharing = Self { members, of: BTreeMap::new(), loads: vec![0; members.len()] };
        owners.iter().for_each(|(partition, owner)| sharing.give(partition.clone(), *owner));
        sharing
    }

    fn readers_of<'b>(&'b self, topic: &'b str) -> impl Iterator<Item = usize> + 'b {
        self.members.iter().enumerate().filter(move |(_, member)| member.topics.contains(topic)).map(|(place, _)| place)
    }

    fn load(&self, member: usize) -> usize {
        self.loads.get(member).copied().unwrap_or(0)
    }

    fn least(&self, topic: &str) -> Option<usize> {
        self.readers_of(topic).min_by_key(|member| self.load(*member))
    }

    fn give(&mut self, partition: Partition, to: usize) {
        let before = self.of.insert(partition, to);
        if let Some(load) = before.and_then(|before| self.loads.get_mut(before)) {
            *load -= 1;
        }
        if let Some(load) = self.loads.get_mut(to) {
            *load += 1;
        }
    }

    /// Each move lowers the sum of the squares of the loads, so this ends.
    fn even_out(&mut self) {
        loop {
            let unfair = |(partition, owner): (&Partition, &usize)| {
                let least = self.least(&partition.0)?;
                (self.load(*owner) >= self.load(least) + 2).then(|| (partition.clone(), least))
            };
            let Some((partition, to)) = self.of.iter().find_map(unfair) else { return };
            self.give(partition, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(id: &str, topics: &[&str]) -> Member {
        let topics = topics.iter().map(|topic| Arc::from(*topic)).collect();
        Member { id: id.to_owned(), topics, generation: -1, ..Member::default() }
    }

    fn counts(counts: &[(&str, i32)]) -> BTreeMap<Arc<str>, i32> {
        counts.iter().map(|(topic, count)| (Arc::from(*topic), *count)).collect()
    }

    fn shown(assignment: &Assignment) -> Vec<String> {
        let one = |(id, partitions): (&String, &BTreeSet<Partition>)| {
            let partitions: Vec<_> = partitions.iter().map(|(topic, n)| format!("{topic}{n}")).collect();
            format!("{id}:{}", partitions.join(","))
        };
        assignment.iter().map(one).collect()
    }

    #[test]
    fn ranges_are_by_topic() {
        let members = [member("b", &["x", "y"]), member("a", &["x", "y"])];
        let assignment = Assignor::Range.assign(&members, &counts(&[("x", 3), ("y", 3)]));
        assert_eq!(shown(&assignment), ["a:x0,x1,y0,y1", "b:x2,y2"]);
    }

    #[test]
    fn rounds_go_over_all_topics_and_pass_over_who_does_not_read_one() {
        let members = [member("a", &["x"]), member("b", &["x", "y"])];
        let assignment = Assignor::RoundRobin.assign(&members, &counts(&[("x", 3), ("y", 2), ("z", 4)]));
        assert_eq!(shown(&assignment), ["a:x0,x2", "b:x1,y0,y1"]);
    }

    #[test]
    fn static_members_come_first() {
        let fixed = Member { instance: Some("i".to_owned()), ..member("z", &["x"]) };
        let assignment = Assignor::Range.assign(&[member("a", &["x"]), fixed], &counts(&[("x", 3)]));
        assert_eq!(shown(&assignment), ["a:x2", "z:x0,x1"]);
    }

    /// One joins two, and what it gets is free only after the others have let go of it.
    #[test]
    fn what_moves_is_let_go_of_first() {
        let mut members = vec![member("a", &["x"]), member("b", &["x"])];
        let counts = counts(&[("x", 6)]);
        let settle = |members: &mut Vec<Member>| {
            let assignment = Assignor::CooperativeSticky.assign(members, &counts);
            for member in members.iter_mut() {
                member.owned = assignment[&member.id].clone();
                member.generation += 1;
            }
            assignment
        };
        let two = settle(&mut members);
        assert_eq!(shown(&two), ["a:x0,x2,x4", "b:x1,x3,x5"]);
        members.push(member("c", &["x"]));
        let first = settle(&mut members);
        assert_eq!(first.values().map(BTreeSet::len).collect::<Vec<_>>(), [2, 2, 0]);
        let second = settle(&mut members);
        assert_eq!(second.values().map(BTreeSet::len).collect::<Vec<_>>(), [2, 2, 2]);
        assert!(first["a"] == second["a"] && first["b"] == second["b"], "nothing else moves");
        assert_eq!(settle(&mut members), second);
    }

    #[test]
    fn an_old_claim_does_not_count() {
        let owned = BTreeSet::from([(Arc::from("x"), 0), (Arc::from("x"), 7)]);
        let old = Member { owned: owned.clone(), generation: 3, ..member("old", &["x"]) };
        let new = Member { owned, generation: 4, ..member("new", &["x"]) };
        assert_eq!(shown(&Assignor::CooperativeSticky.assign(&[old, new], &counts(&[("x", 1)]))), ["new:x0", "old:"]);
    }

    fn topics() -> impl Strategy<Value = BTreeSet<Arc<str>>> {
        prop::collection::btree_set(prop::sample::select(vec!["x", "y", "z"]).prop_map(Arc::from), 0..=3)
    }

    proptest! {
        /// Nothing is read twice, by one who didn't ask for it, or by nobody although one asked; the sticky one settles,
        /// evenly, and then stays.
        #[test]
        fn every_partition_has_one_reader(
            subscriptions in prop::collection::vec(topics(), 1..6), sizes in prop::array::uniform3(0..7_i32),
        ) {
            let counts = counts(&[("x", sizes[0]), ("y", sizes[1]), ("z", sizes[2])]);
            let mut members: Vec<_> = subscriptions.into_iter().enumerate()
                .map(|(n, topics)| Member { id: format!("m{n}"), topics, generation: -1, ..Member::default() }).collect();
            for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky] {
                let assignment = assignor.assign(&members, &counts);
                prop_assert_eq!(assignment.len(), members.len());
                let mut given: Vec<_> = assignment.values().flatten().collect();
                given.sort();
                let mut wanted: Vec<Partition> = Vec::new();
                for (topic, count) in &counts {
                    if members.iter().any(|member| member.topics.contains(topic)) {
                        wanted.extend((0..*count).map(|n| (topic.clone(), n)));
                    }
                }
                prop_assert_eq!(given, wanted.iter().collect::<Vec<_>>());
                for member in &members {
                    prop_assert!(assignment[&member.id].iter().all(|(topic, _)| member.topics.contains(topic)));
                }
            }
            let settled = Assignor::CooperativeSticky.assign(&members, &counts);
            for member in &mut members {
                member.owned = settled[&member.id].clone();
            }
            prop_assert_eq!(Assignor::CooperativeSticky.assign(&members, &counts), settled);
        }
    }
}
