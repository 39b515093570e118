//! An image of the process, which writes a snapshot.

use super::memory::Scratch;
use super::sink::{Shared, Sink, ToCommand, ToFile};
use super::snapshot::{Moment, write};
use super::world::StoppedWorld;
use crate::process::{Host, ProcessHeap};
use hk_format::{Refusal, RequestWord};
use hk_os::{Linux, Os, StopFailure};
use hk_recorder::Registers;

/// How long other threads may take to stop.
const PATIENCE_MS: u32 = 1000;
/// Words of an image's stack.
const STACK_WORDS: usize = (256 << 10) / size_of::<u64>();

/// Where the snapshot goes.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// To the command that asked for it.
    Command(RequestWord),
    /// To an open file, and what is told beside it.
    File(u32, &'a Shared),
}

/// What an image has to do.
struct Work<'a, H: Host> {
    moment: Moment<'a, H>,
    target: Target<'a>,
}

/// Stops all threads, has an image made, and lets them go on; gives its id, and how long that took. The calling thread holds no lock, and has blocked all
/// signals.
pub(super) fn make_image<H: Host>(
    process: &'static ProcessHeap<H>,
    target: Target<'_>,
) -> Result<(u32, u64), (Refusal, u64)> {
    if !hk_os::may_fork_image() {
        return Err((Refusal::Sandbox, 0));
    }
    let stack = Scratch::<u64>::new(STACK_WORDS).ok_or((Refusal::NoMemory, 0))?;
    let registers = Registers::capture();
    let (thread, pid) = (hk_recorder::tid(), Linux.process_id());
    let begin_ns = hk_os::monotonic_ns();
    let world = StoppedWorld::stop(process, PATIENCE_MS).map_err(|failure| refusal_of(&failure))?;
    let (place, time_ns) = (stack.place(), hk_os::now_ns());
    let (world_then, registers) = (&world, &registers);
    let moment = Moment { process, world: world_then, registers, thread, pid, time_ns, stack: place };
    let work = Work { moment, target };
    let argument = (&raw const work).expose_provenance();
    // SAFETY: the stack is new and page-aligned, signals are blocked, all other threads stand still outside of what is locked, and what the image
    // reads lies in private memory; it calls nothing of libc that locks or allocates.
    let forked = unsafe { hk_os::fork_image(place.0 + place.1, work_at::<H>, argument) };
    drop(world);
    let image = forked.map_err(|errno| (Refusal::NoFork, errno as u64))?;
    Ok((image, hk_os::monotonic_ns() - begin_ns))
}

/// What an image does.
extern "C" fn work_at<H: Host>(argument: usize) -> ! {
    let work: *const Work<'_, H> = core::ptr::with_exposed_provenance(argument);
    // SAFETY: in the frame of the function that made the image, of which this has a copy.
    let Work { moment, target } = unsafe { &*work };
    match *target {
        Target::Command(word) => answer(moment, word),
        Target::File(file, shared) => {
            if hk_os::become_image(Some(file)) {
                write(moment, ToFile { file, shared, parent: moment.pid })
            }
            ToFile { file, shared, parent: moment.pid }.refuse(Refusal::NoCloseRange);
            hk_os::end_image()
        }
    }
}

fn answer<H: Host>(moment: &Moment<'_, H>, word: RequestWord) -> ! {
    let recording = &moment.process.recording;
    if !hk_os::become_image(None) {
        recording.refuse_request(word, Refusal::NoCloseRange, 0);
        hk_os::end_image();
    }
    match recording.begin_answer(word, moment.pid) {
        Some(answer) => write(moment, ToCommand { answer, recording }),
        None => {
            recording.refuse_request(word, Refusal::Ended, 0);
            hk_os::end_image()
        }
    }
}

fn refusal_of(failure: &StopFailure) -> (Refusal, u64) {
    match failure {
        StopFailure::NoAnswer(thread) => (Refusal::ThreadNoAnswer, u64::from(*thread)),
        StopFailure::Busy => (Refusal::ScanGoesOn, 0),
        StopFailure::TooMany => (Refusal::TooManyThreads, 0),
        StopFailure::Refused => (Refusal::NoSignals, 0),
        StopFailure::NoList => (Refusal::NoThreadList, 0),
    }
}
