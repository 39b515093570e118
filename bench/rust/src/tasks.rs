//! Tasks as an asynchronous program has them: boxed futures on two threads that share a queue, each of which waits a few times
//! and starts others.

use crate::random::Random;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

const TASKS: u64 = 400_000;
const THREADS: usize = 2;

type Work = Pin<Box<dyn Future<Output = u64> + Send>>;

struct Task {
    work: Mutex<Option<Work>>,
    executor: Arc<Executor>,
}

#[derive(Default)]
struct Executor {
    queue: Mutex<VecDeque<Arc<Task>>>,
    more: Condvar,
    open: AtomicU64,
    sum: AtomicU64,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let executor = Arc::clone(&self.executor);
        executor.queue.lock().expect("no task panics").push_back(self);
        executor.more.notify_one();
    }
}

/// Ready when it is asked the second time.
struct Turn(bool);

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

async fn job(number: u64) -> u64 {
    let mut random = Random(number);
    let mut message = format!("task {number}");
    for step in 0..1 + random.below(3) {
        let buffer: Vec<u8> = (0..16 + random.below(400)).map(|n| (n ^ step) as u8).collect();
        Turn(false).await;
        message.push_str(&format!(", step {step} of {} bytes", buffer.len()));
    }
    message.bytes().map(u64::from).sum()
}

fn start(executor: &Arc<Executor>, number: u64) {
    executor.open.fetch_add(1, Ordering::SeqCst);
    let work: Work = Box::pin(job(number));
    Arc::new(Task { work: Mutex::new(Some(work)), executor: Arc::clone(executor) }).wake();
}

fn execute(executor: &Arc<Executor>, next: &AtomicU64) {
    loop {
        let task = {
            let mut queue = executor.queue.lock().expect("no task panics");
            loop {
                if let Some(task) = queue.pop_front() {
                    break task;
                }
                if executor.open.load(Ordering::SeqCst) == 0 {
                    return;
                }
                queue = executor.more.wait(queue).expect("no task panics");
            }
        };
        let waker = Waker::from(Arc::clone(&task));
        let mut place = task.work.lock().expect("no task panics");
        let Some(work) = place.as_mut() else { continue };
        if let Poll::Ready(sum) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
            *place = None;
            executor.sum.fetch_add(sum, Ordering::SeqCst);
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number < TASKS {
                start(executor, number);
            }
            if executor.open.fetch_sub(1, Ordering::SeqCst) == 1 {
                let _queue = executor.queue.lock();
                executor.more.notify_all();
            }
        }
    }
}

pub fn run() -> u64 {
    let executor = Arc::new(Executor::default());
    let next = Arc::new(AtomicU64::new(200));
    (0..200).for_each(|number| start(&executor, number));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (executor, next) = (Arc::clone(&executor), Arc::clone(&next));
            thread::spawn(move || execute(&executor, &next))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
    executor.sum.load(Ordering::SeqCst)
}
