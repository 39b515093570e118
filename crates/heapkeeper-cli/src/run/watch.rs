//! Tells findings as they are recorded, in a thread of its own: reading the debug information of a large
//! program takes seconds, in which signals must pass.

use super::Run;
use crate::Failure;
use crate::lines::Sink;
use hk_report::{Body, Finding, Recording, Tail, finding, finding_text, is_same_bug};
use hk_symbols::Symbolizer;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the recording is looked at.
const INTERVAL: Duration = Duration::from_millis(30);

/// The running thread.
pub struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<Watcher>,
}

/// What the thread knows: given back at the end, as the symbols are needed again.
pub struct Watcher {
    /// The run's recording.
    pub recording: Recording,
    /// With the symbols that were read so far.
    pub symbolizer: Symbolizer,
    /// Findings that were told.
    pub told: Vec<Finding>,
    tail: Tail,
    sink: Arc<Sink>,
}

impl Watch {
    /// Begins to watch.
    pub fn start(run: &Run) -> Result<Watch, Failure> {
        let mut watcher = Watcher {
            recording: Recording::open(run.recording.path()).map_err(Failure::new)?,
            symbolizer: Symbolizer::new(),
            told: Vec::new(),
            tail: Tail::new(),
            sink: Arc::clone(&run.sink),
        };
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("watch".into())
            .spawn(move || {
                watcher.until(&stopped);
                watcher
            })
            .map_err(|e| Failure::new(format!("cannot make a thread: {e}")))?;
        Ok(Watch { stop, thread })
    }

    /// Tells what there is still to tell, and ends the thread.
    pub fn stop(self) -> Watcher {
        let _ = self.stop.send(());
        self.thread.join().expect("the watching thread does not panic")
    }
}

impl Watcher {
    fn until(&mut self, stopped: &Receiver<()>) {
        while matches!(stopped.recv_timeout(INTERVAL), Err(RecvTimeoutError::Timeout)) {
            self.look();
        }
        self.look();
    }

    /// A recording that cannot be read now is named when the summary is made.
    fn look(&mut self) {
        let Ok(records) = self.tail.findings(&self.recording) else { return };
        if records.is_empty() {
            return;
        }
        let processes = self.recording.processes().unwrap_or_default();
        for record in &records {
            let Body::Finding(body) = &record.body else { continue };
            let process = processes.iter().find(|(index, _)| *index == record.header.process);
            let found = finding(record, body, process.map(|(_, p)| p), &mut self.symbolizer);
            self.tell(found);
        }
    }

    /// One bug is told once; the summary says how often it was seen.
    pub fn tell(&mut self, found: Finding) {
        if !self.told.iter().any(|known| is_same_bug(known, &found)) {
            self.sink.text(&finding_text(&found, self.sink.style()));
            self.told.push(found);
        }
    }
}
