//! What one copy of the package owns in one JavaScript environment (main thread or worker). A module that is evaluated
//! twice is two copies; they may share the addon, and its instance data, and know nothing of each other. JavaScript's
//! thread only.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use neon::event::Channel;
use neon::prelude::*;
use neon::thread::LocalKey;
use neon::types::buffer::TypedArray;
use neon::types::{JsInt32Array, JsUint8Array};
use sluice_core::{Agent, Credit, ReadState, Records};

use crate::completions::{CompletionQueue, FLAG_COMPLETE, FLAG_INFORMATIONAL, Kind, PREFIX_WORDS, WORD};
use crate::event_loop::EventLoop;
use crate::external_memory::ExternalMemory;
use crate::js_side::{JsSide, Target};
use crate::memory;
use crate::request_handle::{Reading, RequestHandleInstance};
use crate::runtime::Runtime;
use crate::submission;

static COPIES: LocalKey<Local> = LocalKey::new();

/// The copies that share this addon's instance data, for what the runtime sends to them.
#[derive(Default)]
struct Copies {
    last: Cell<u32>,
    open: RefCell<HashMap<u32, Weak<Slot>>>,
}

struct Local(Copies);

// SAFETY: the static holds only the key. The value lives in Neon's instance data, and `LocalKey::get` needs a context,
// which exists on the environment's own thread alone. Breach: the worker tests crash.
unsafe impl Sync for Local {}
// SAFETY: as above; instance data is made and dropped on that thread too. Breach: the worker tests crash.
unsafe impl Send for Local {}

impl Drop for Copies {
    /// The JavaScript environment ends. Its functions, which hold the copies, may be dropped later.
    fn drop(&mut self) {
        for slot in self.open.get_mut().values().filter_map(Weak::upgrade) {
            if let Some(environment) = slot.get() {
                environment.end();
            }
        }
    }
}

/// A copy's environment, once it is open. Its functions hold it: a copy whose module is collected goes with them.
pub type Slot = OnceCell<Environment>;

pub struct Environment {
    pub completions: Arc<CompletionQueue>,
    requests: RefCell<HashMap<u32, RequestHandleInstance>>,
    agents: RefCell<HashMap<u32, Agent>>,
    last_agent: Cell<u32>,
    channel: RefCell<Channel>,
    /// Requests that JavaScript awaits; the channel keeps the process alive while there are any.
    awaited: Cell<usize>,
    body_bytes_crossed: Cell<u64>,
    pub external_memory: ExternalMemory,
    /// Opened for the first wait at a socket; none where there is no libuv.
    event_loop: OnceCell<Option<Rc<EventLoop>>>,
    handing_over: Cell<HandingOver>,
    js: JsSide,
}

/// A call of JavaScript may run the event loop itself, which must not fill the scratch buffer a second time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HandingOver {
    No,
    Yes,
    /// More came meanwhile.
    Again,
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.end();
    }
}

impl Environment {
    /// Lets go of everything that the runtime has for this copy.
    fn end(&self) {
        for (_, request) in self.requests.take() {
            request.abort();
        }
        self.agents.take();
        self.completions.close();
        self.external_memory.take_back();
        if let Some(Some(event_loop)) = self.event_loop.get() {
            event_loop.leave();
        }
    }

    /// A number for a new agent.
    pub fn next_agent(&self) -> u32 {
        let id = self.last_agent.get() + 1;
        self.last_agent.set(id);
        id
    }

    pub fn insert_agent(&self, id: u32, agent: Agent) {
        self.agents.borrow_mut().insert(id, agent);
    }

    pub fn agent(&self, id: u32) -> Option<Agent> {
        self.agents.borrow().get(&id).cloned()
    }

    pub fn remove_agent(&self, id: u32) -> Option<Agent> {
        self.agents.borrow_mut().remove(&id)
    }

    pub fn insert<'cx, C: Context<'cx>>(&self, cx: &mut C, id: u32, request: RequestHandleInstance) {
        self.hold(cx, &request, true);
        self.requests.borrow_mut().insert(id, request);
    }

    /// Runs `use_request` with the request, if it is still known.
    pub fn with<T>(&self, id: u32, use_request: impl FnOnce(&RequestHandleInstance) -> T) -> Option<T> {
        self.requests.borrow().get(&id).map(use_request)
    }

    /// How many requests `is_one` holds for.
    pub fn count(&self, is_one: impl Fn(&RequestHandleInstance) -> bool) -> usize {
        let requests = self.requests.borrow();
        requests.values().filter(|request| is_one(request)).count()
    }

    /// Forgets a request; it no longer keeps the process alive.
    pub fn remove<'cx, C: Context<'cx>>(&self, cx: &mut C, id: u32) -> Option<RequestHandleInstance> {
        let request = self.requests.borrow_mut().remove(&id)?;
        self.count_awaited(cx, &request, false);
        if request.reading.replace(Reading::NoHead) != Reading::NoHead {
            self.external_memory.remove_response();
        }
        Some(request)
    }

    /// Says whether JavaScript awaits a head, a read or a pipe of `request`.
    pub fn hold<'cx, C: Context<'cx>>(&self, cx: &mut C, request: &RequestHandleInstance, awaits: bool) {
        request.awaits.set(awaits);
        self.count_awaited(
            cx,
            request,
            awaits || request.is_dispatched || request.is_uploading.get(),
        );
    }

    /// Says whether the request's upload goes on: one that has ended may begin again.
    pub fn hold_upload<'cx, C: Context<'cx>>(&self, cx: &mut C, request: &RequestHandleInstance, is_uploading: bool) {
        request.is_uploading.set(is_uploading);
        self.hold(cx, request, request.awaits.get());
    }

    fn count_awaited<'cx, C: Context<'cx>>(&self, cx: &mut C, request: &RequestHandleInstance, hold: bool) {
        if request.is_awaited.replace(hold) == hold {
            return;
        }
        let before = self.awaited.get();
        if hold {
            self.awaited.set(before + 1);
            if before == 0 {
                self.channel.borrow_mut().reference(cx);
                self.js.hold(cx);
            }
        } else {
            self.awaited.set(before - 1);
            if before == 1 {
                self.channel.borrow_mut().unref(cx);
                self.js.release(cx);
            }
        }
    }

    /// Where JavaScript waits for the sockets that it reads itself.
    pub fn event_loop<'cx, C: Context<'cx>>(&self, cx: &C) -> Option<&Rc<EventLoop>> {
        self.event_loop
            .get_or_init(|| EventLoop::open(cx.to_raw().cast()))
            .as_ref()
    }

    /// The second result of a body read.
    pub fn set_read_state<'cx, C: Context<'cx>>(&self, cx: &mut C, state: ReadState) {
        let Some(mut words) = self.js.words(cx) else { return };
        if let Some(word) = words.as_mut_slice(cx).first_mut() {
            *word = match state {
                ReadState::More => 0,
                ReadState::Empty => 1,
                ReadState::Ended => 2,
                ReadState::Failed => 3,
                ReadState::Direct => 4,
                ReadState::Drained => 5,
            };
        }
    }

    pub fn count_crossed(&self, bytes: usize) {
        self.body_bytes_crossed
            .set(self.body_bytes_crossed.get() + bytes as u64);
    }

    /// What a record means for the table, just before JavaScript sees it. A body in it is JavaScript's from here on,
    /// whether or not its request is still known.
    fn settle<'cx, C: Context<'cx>>(&self, cx: &mut C, record: &[u8], credits: &mut VecDeque<Credit>) {
        let Some(kind) = Kind::of(word(record, 0)) else { return };
        let id = word(record, 2);
        match kind {
            Kind::Head if word(record, 0) & FLAG_COMPLETE != 0 => {
                self.remove(cx, id);
                drop(credits.pop_front());
                self.count_crossed(word(record, PREFIX_WORDS + 3) as usize);
            }
            Kind::Error => {
                self.remove(cx, id);
            }
            Kind::Piped => {
                let is_aborted = self.with(id, |request| {
                    request.pipe.borrow_mut().take();
                    self.hold(cx, request, false);
                    request.is_aborted.get()
                });
                if is_aborted == Some(true) {
                    self.remove(cx, id);
                }
            }
            // The head proper is still awaited.
            Kind::Head if word(record, 0) & FLAG_INFORMATIONAL != 0 => {}
            Kind::Head | Kind::Readable => {
                let requests = self.requests.borrow();
                if let Some(request) = requests.get(&id) {
                    if request.reading.get() == Reading::NoHead {
                        request.reading.set(Reading::Unread);
                        self.external_memory.add_response();
                    }
                    // A body may fail before the pipe that will tell of it has written what came.
                    self.hold(cx, request, request.is_piping());
                    if request.exchange.queue.is_complete() {
                        request.leave_socket();
                    }
                }
            }
            Kind::UploadReady | Kind::Ready | Kind::Connection | Kind::Question | Kind::Starvation => {}
        }
    }
}

/// One word of a record; 0 beyond its end.
pub fn word(record: &[u8], index: usize) -> u32 {
    match record.get(index * WORD..(index + 1) * WORD) {
        Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// Bytes of the record that `records` begins with; `None` where there is none.
fn record_size(records: &[u8]) -> Option<usize> {
    let size = (word(records, 1) as usize).max(PREFIX_WORDS) * WORD;
    (!records.is_empty()).then(|| size.min(records.len()))
}

/// `open(scratch, words, onCompletions, hasLibuv)`
pub fn open<'cx>(slot: &Rc<Slot>, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    if slot.get().is_some() {
        return cx.throw_error("this copy is open already");
    }
    let scratch = cx.argument::<JsUint8Array>(0)?;
    let words = cx.argument::<JsInt32Array>(1)?;
    let on_completions = cx.argument::<JsFunction>(2)?;
    let event_loop = OnceCell::new();
    if !cx.argument::<JsBoolean>(3)?.value(&mut cx) {
        let _ = event_loop.set(None);
    }
    let runtime = match Runtime::get() {
        Ok(runtime) => runtime,
        Err(text) => return cx.throw_error(text),
    };
    let capacity = scratch.as_slice(&cx).len();
    let js = JsSide::new(&mut cx, scratch, words, on_completions)?;
    let mut channel = cx.channel();
    channel.unref(&mut cx);
    let Local(copies) = COPIES.get_or_init(&mut cx, || Local(Copies::default()));
    let number = copies.last.get().wrapping_add(1);
    copies.last.set(number);
    let environment = Environment {
        completions: CompletionQueue::start(runtime, channel.clone(), number, capacity),
        requests: RefCell::default(),
        agents: RefCell::default(),
        last_agent: Cell::new(0),
        channel: RefCell::new(channel),
        awaited: Cell::new(0),
        body_bytes_crossed: Cell::new(0),
        external_memory: ExternalMemory::new(cx.to_raw().cast()),
        event_loop,
        handing_over: Cell::new(HandingOver::No),
        js,
    };
    if slot.set(environment).is_ok() {
        let mut open = copies.open.borrow_mut();
        open.retain(|_, slot| slot.strong_count() > 0);
        open.insert(number, Rc::downgrade(slot));
    }
    Ok(cx.undefined())
}

/// Hands every waiting record to the JavaScript of copy `number`. What that throws is thrown here when all the others
/// have been handed over; Neon reports it as an unhandled rejection.
pub fn drain(mut cx: Cx<'_>, number: u32) -> NeonResult<()> {
    let slot = COPIES
        .get(&mut cx)
        .and_then(|Local(copies)| copies.open.borrow().get(&number).and_then(Weak::upgrade));
    match slot.as_ref().and_then(|slot| slot.get()) {
        Some(environment) => environment.hand_over(&mut cx),
        // Collected with its module: there is nobody to tell.
        None => Ok(()),
    }
}

impl Environment {
    pub fn hand_over<'cx>(&self, cx: &mut Cx<'cx>) -> NeonResult<()> {
        if self.handing_over.get() != HandingOver::No {
            self.handing_over.set(HandingOver::Again);
            return Ok(());
        }
        // Taken before anything is settled: what is not awaited any more is not held any more.
        let Some(mut to) = self.js.target(cx) else {
            return Ok(());
        };
        let mut thrown = None;
        loop {
            self.handing_over.set(HandingOver::Yes);
            let records = self.completions.take();
            self.hand_over_batch(cx, &mut to, records, &mut thrown);
            if self.handing_over.replace(HandingOver::No) != HandingOver::Again {
                break;
            }
        }
        self.external_memory.tell();
        match thrown {
            // A worker that is being terminated has nobody to tell, and an exception thrown there ends the process.
            Some(value) if can_run(cx) => cx.throw(value),
            _ => Ok(()),
        }
    }

    /// As many records per call as the scratch buffer holds; none is larger.
    fn hand_over_batch<'cx>(
        &self,
        cx: &mut Cx<'cx>,
        to: &mut Target<'cx>,
        Records { bytes, mut credits }: Records,
        thrown: &mut Option<Handle<'cx, JsValue>>,
    ) {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let capacity = to.scratch.as_slice(cx).len();
            let mut length = 0;
            while let Some(size) = record_size(&rest[length..]) {
                if length + size > capacity {
                    break;
                }
                self.settle(cx, &rest[length..], &mut credits);
                length += size;
            }
            if length == 0 {
                // The queue takes no record that is larger than the buffer: this is a bug, and is told as one.
                rest = &rest[record_size(rest).unwrap_or(rest.len())..];
                if let Ok(error) = cx.error("a record is larger than the scratch buffer") {
                    thrown.get_or_insert(error.upcast());
                }
                continue;
            }
            let batch = &rest[..length];
            to.scratch.as_mut_slice(cx)[..length].copy_from_slice(batch);
            rest = &rest[length..];
            if !tell(cx, to, batch, thrown) {
                return;
            }
        }
    }
}

/// JavaScript says in the second word how far it came: after an exception it goes on behind the record that threw. False
/// when it cannot run any more.
fn tell<'cx>(cx: &mut Cx<'cx>, to: &Target<'cx>, batch: &[u8], thrown: &mut Option<Handle<'cx, JsValue>>) -> bool {
    let end = batch.len() / WORD;
    let mut from = 0;
    while from < end {
        let called = cx.try_catch(|cx| Ok(call(cx, to, from, end).is_ok()));
        let value = match called {
            Ok(true) => return true,
            // Nothing was thrown, and nothing ran: a worker that is being terminated.
            Ok(false) => return false,
            Err(value) => value,
        };
        if !can_run(cx) {
            return false;
        }
        thrown.get_or_insert(value);
        let word = to.words.as_slice(cx).get(1).copied().unwrap_or_default();
        let reached = usize::try_from(word).unwrap_or_default().clamp(from, end);
        from = reached + record_size(&batch[reached * WORD..]).unwrap_or(WORD) / WORD;
    }
    true
}

fn call<'cx>(cx: &mut Cx<'cx>, to: &Target<'cx>, from: usize, end: usize) -> NeonResult<()> {
    let position = |cx: &mut Cx<'cx>, at: usize| cx.number(u32::try_from(at).unwrap_or(u32::MAX));
    let (from, end) = (position(cx, from), position(cx, end));
    to.on_completions.bind(cx).arg(from)?.arg(end)?.exec()
}

/// Whether JavaScript can be called: not in a worker that is being terminated.
fn can_run<'cx, C: Context<'cx>>(cx: &C) -> bool {
    let null = std::ptr::null_mut();
    // SAFETY: `env` is valid inside a call; Node refuses to throw no value before it looks at it, unless nothing may run
    // at all. Breach: the worker tests crash.
    unsafe { neon::sys::bindings::throw(cx.to_raw(), null) == Err(neon::sys::bindings::Status::InvalidArg) }
}

/// `counters()`
pub fn counters<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsObject> {
    #[expect(clippy::cast_precision_loss, reason = "JavaScript numbers")]
    let rows = [
        ("bodyBytesCrossed", environment.body_bytes_crossed.get() as f64),
        ("handles", environment.requests.borrow().len() as f64),
        ("roots", f64::from(u8::from(environment.js.is_held()))),
        ("awaited", environment.awaited.get() as f64),
        ("externalMemory", environment.external_memory.told() as f64),
        ("tasks", submission::running() as f64),
        ("givenBack", memory::given_back() as f64),
    ];
    let object = cx.empty_object();
    for (name, value) in rows {
        object.prop(&mut cx, name).set(value)?;
    }
    Ok(object)
}
