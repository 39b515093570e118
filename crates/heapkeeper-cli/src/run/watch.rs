//! Tells findings as they are recorded, in a thread of its own: reading the debug information of a large
//! program takes seconds, in which signals must pass.

use super::recording::RecordingFile;
use super::teller::Teller;
use crate::Failure;
use hk_report::{Body, Recording, Tail, finding};
use hk_symbols::Symbolizer;
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
    teller: Teller,
    tail: Tail,
}

impl Watch {
    /// Begins to watch. Where there can be no thread, the watcher comes back: the findings are told at the end. To be called
    /// when CMD is started already, as with its first thread glibc takes over a signal.
    pub fn start(watcher: Watcher) -> Result<Watch, Box<Watcher>> {
        let (stop, stopped) = channel();
        // The watcher is handed over only when there is a thread to take it.
        let (give, taken) = channel::<Watcher>();
        let thread = std::thread::Builder::new().name("watch".into()).spawn(move || {
            let mut watcher = taken.recv().expect("it is sent right after the start");
            watcher.until(&stopped);
            watcher
        });
        match thread {
            Ok(thread) => {
                let _ = give.send(watcher);
                Ok(Watch { stop, thread })
            }
            Err(_) => Err(Box::new(watcher)),
        }
    }

    /// Tells what there is still to tell, and ends the thread.
    pub fn stop(self) -> Watcher {
        let _ = self.stop.send(());
        self.thread.join().expect("the watching thread does not panic")
    }
}

impl Watcher {
    /// Opens the run's recording.
    pub fn open(recording: &RecordingFile, teller: Teller) -> Result<Watcher, Failure> {
        Ok(Watcher {
            recording: Recording::open(recording.path()).map_err(Failure::new)?,
            symbolizer: Symbolizer::new(),
            teller,
            tail: Tail::new(),
        })
    }

    /// What was told, for the next run.
    pub fn into_teller(self) -> Teller {
        self.teller
    }

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
            self.teller.tell(found);
        }
    }
}
