//! A service: two workers get requests as text from a client, parse them, look sessions up, and answer with text that the
//! client reads and drops. So each block of a request or an answer is freed by another thread than made it.

use crate::random::Random;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

const WORKERS: u64 = 2;
const REQUESTS: u64 = 80_000;
/// Requests under way: the client waits for an answer when there are more.
const WINDOW: u64 = 64;
const SESSIONS_MAX: usize = 4000;

struct Request {
    number: u64,
    text: String,
}

struct Answer {
    number: u64,
    status: u16,
    body: Vec<u8>,
}

struct Session {
    values: BTreeMap<String, String>,
    used: u64,
}

pub fn run() -> u64 {
    let (answer_sender, answers) = channel();
    let mut inboxes = Vec::new();
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        let (sender, inbox) = channel();
        let answer_sender = answer_sender.clone();
        workers.push(thread::spawn(move || work(&inbox, &answer_sender)));
        inboxes.push(sender);
    }
    drop(answer_sender);
    let mut random = Random(5);
    let mut sum = 0u64;
    for number in 0..REQUESTS {
        let text = request(&mut random, number);
        // A session's requests all go to the same worker.
        let inbox = &inboxes[(number % 97 % WORKERS) as usize];
        inbox.send(Request { number, text }).expect("the worker waits");
        if number >= WINDOW {
            sum = sum.wrapping_add(check(&answers.recv().expect("an answer")));
        }
    }
    drop(inboxes);
    sum = answers.iter().fold(sum, |sum, answer| sum.wrapping_add(check(&answer)));
    workers.into_iter().for_each(|worker| worker.join().expect("no worker panics"));
    sum
}

fn request(random: &mut Random, number: u64) -> String {
    let user = number % 97 * 50 + random.below(50);
    let mut text = String::new();
    let verb = if random.below(3) == 0 { "PUT" } else { "GET" };
    let _ = write!(text, "{verb} /users/{user}/items/{} HTTP/1.1\r\n", random.below(40));
    for header in ["host: example.org", "accept: application/json", "connection: keep-alive"] {
        let _ = write!(text, "{header}\r\n");
    }
    let _ = write!(text, "x-trace: {:016x}\r\n\r\n", number.wrapping_mul(0x9e37_79b9));
    if verb == "PUT" {
        (0..2 + random.below(30)).for_each(|n| _ = write!(text, "word{} ", n * 7));
    }
    text
}

fn check(answer: &Answer) -> u64 {
    let bytes: u64 = answer.body.iter().map(|&byte| u64::from(byte)).sum();
    // No sum of what depends on the order in which workers came to their turn.
    bytes.wrapping_mul(u64::from(answer.status)) ^ answer.number
}

fn work(inbox: &Receiver<Request>, answers: &Sender<Answer>) {
    let mut sessions: HashMap<String, Session> = HashMap::new();
    for (time, request) in inbox.iter().enumerate() {
        let (status, body) = answer(&mut sessions, &request.text, time as u64);
        answers.send(Answer { number: request.number, status, body }).expect("the client waits");
    }
}

fn answer(sessions: &mut HashMap<String, Session>, text: &str, time: u64) -> (u16, Vec<u8>) {
    let (head, content) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let mut lines = head.split("\r\n");
    let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_string()))
        .collect();
    let path: Vec<String> = first[1].split('/').skip(1).map(str::to_string).collect();
    let (user, item) = (&path[1], &path[3]);
    if sessions.len() > SESSIONS_MAX {
        sessions.retain(|_, session| session.used + 20_000 > time);
    }
    let session =
        sessions.entry(user.clone()).or_insert_with(|| Session { values: BTreeMap::new(), used: time });
    session.used = time;
    if first[0] == "PUT" {
        let words: Vec<String> = content.split_whitespace().map(str::to_uppercase).collect();
        session.values.insert(item.clone(), words.join("-"));
    }
    let fields: Vec<String> =
        session.values.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
    let status = if session.values.contains_key(item) { 200 } else { 404 };
    let trace = headers.get("x-trace").map_or("", String::as_str);
    (status, format!("{{\"user\":\"{user}\",\"trace\":\"{trace}\",{}}}", fields.join(",")).into_bytes())
}
