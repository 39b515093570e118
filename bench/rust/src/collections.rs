//! One thread that builds the standard library's collections up and takes them apart again.

use crate::random::Random;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

trait Shape {
    fn area(&self) -> u64;
}

struct Square(u64);
struct Rectangle(u64, u64);
struct Many(Vec<Box<dyn Shape>>);

impl Shape for Square {
    fn area(&self) -> u64 {
        self.0 * self.0
    }
}

impl Shape for Rectangle {
    fn area(&self) -> u64 {
        self.0 * self.1
    }
}

impl Shape for Many {
    fn area(&self) -> u64 {
        self.0.iter().map(|shape| shape.area()).sum()
    }
}

struct Node {
    name: String,
    children: Vec<Rc<Node>>,
}

pub fn run() -> u64 {
    let mut random = Random(6);
    (0..36)
        .map(|_| maps(&mut random) ^ queue(&mut random) ^ shapes(&mut random, 7) ^ trees(&mut random))
        .sum()
}

fn maps(random: &mut Random) -> u64 {
    let mut by_name: HashMap<String, Vec<u64>> = HashMap::new();
    let mut by_number: BTreeMap<u64, String> = BTreeMap::new();
    for n in 0..30_000 {
        let key = random.below(8000);
        by_name.entry(format!("key {key}")).or_default().push(n);
        if let Some(old) = by_number.insert(key, format!("value {n} of {key}")) {
            by_number.remove(&(old.len() as u64 * 31 % 8000));
        }
    }
    let mut names: Vec<String> =
        by_name.iter().map(|(name, list)| format!("{name}:{}", list.len())).collect();
    names.sort();
    names.iter().chain(by_number.values()).map(|text| text.len() as u64).sum()
}

fn queue(random: &mut Random) -> u64 {
    let mut queue: VecDeque<Box<[u8]>> = VecDeque::new();
    let mut sum = 0;
    for n in 0..60_000u64 {
        queue.push_back(vec![n as u8; 1 + random.below(200) as usize].into_boxed_slice());
        if queue.len() > 500 {
            sum += queue.pop_front().map_or(0, |bytes| u64::from(bytes[0]) + bytes.len() as u64);
        }
    }
    sum
}

fn shapes(random: &mut Random, depth: u32) -> u64 {
    fn make(random: &mut Random, depth: u32) -> Box<dyn Shape> {
        match random.below(if depth == 0 { 2 } else { 8 }) {
            0 => Box::new(Square(random.below(9))),
            1 => Box::new(Rectangle(random.below(9), random.below(9))),
            _ => Box::new(Many((0..4).map(|_| make(random, depth - 1)).collect())),
        }
    }
    (0..4).map(|_| make(random, depth).area()).sum()
}

fn trees(random: &mut Random) -> u64 {
    let mut level: Vec<Rc<Node>> =
        (0..4096).map(|n| Rc::new(Node { name: format!("leaf {n}"), children: Vec::new() })).collect();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| {
                // Some are shared by two parents.
                let extra = &pair[random.below(pair.len() as u64) as usize];
                let children = pair.iter().chain([extra]).map(Rc::clone).collect();
                Rc::new(Node { name: format!("over {}", pair[0].name.len()), children })
            })
            .collect();
    }
    fn weigh(node: &Node, depth: u32) -> u64 {
        let below =
            if depth == 0 { 0 } else { node.children.iter().map(|child| weigh(child, depth - 1)).sum() };
        node.name.len() as u64 + below
    }
    weigh(&level[0], 6)
}
