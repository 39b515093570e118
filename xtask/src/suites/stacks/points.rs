//! Allocates in collections, closures, trait objects, threads and formatting.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

trait Shape {
    fn describe(&self, depth: usize) -> String;
}

struct Point(u32);
struct Group(Vec<Box<dyn Shape>>);

impl Shape for Point {
    fn describe(&self, depth: usize) -> String {
        format!("{:depth$}point {}", "", self.0)
    }
}

impl Shape for Group {
    fn describe(&self, depth: usize) -> String {
        self.0.iter().map(|shape| shape.describe(depth + 1)).collect::<Vec<_>>().join("\n")
    }
}

fn build(depth: u32, width: u32) -> Box<dyn Shape> {
    if depth == 0 {
        return Box::new(Point(width));
    }
    Box::new(Group((0..width).map(|i| build(depth - 1, width - i % 2)).collect()))
}

fn fold(depth: u32, apply: &mut dyn FnMut(u32) -> String) -> usize {
    let text = apply(depth);
    if depth == 0 { text.len() } else { text.len() + fold(depth - 1, apply) }
}

fn work(seed: u32) -> usize {
    let mut sum = build(5, 4).describe(0).len();
    let mut map: HashMap<String, BTreeMap<u32, Vec<u8>>> = HashMap::new();
    for i in 0..400u32 {
        let key = format!("key {}", i.wrapping_mul(seed | 1) % 37);
        map.entry(key).or_default().entry(i % 11).or_default().extend(vec![1; i as usize % 50]);
    }
    let mut keys: Vec<String> = map.keys().cloned().collect();
    keys.sort_by_key(|key| key.chars().rev().collect::<String>());
    let mut text = String::new();
    for key in &keys {
        writeln!(text, "{key}: {:?}", map[key]).unwrap();
    }
    sum += fold(40, &mut |n| format!("{n} {text:.10}"));
    sum + text.len()
}

fn main() {
    let mut sum = 0;
    for round in 0..4 {
        sum += work(round);
        sum += std::thread::spawn(move || work(round + 100)).join().unwrap();
    }
    println!("{sum}");
}
