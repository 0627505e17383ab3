//! What one JavaScript environment (main thread or worker) owns; Neon instance data. JavaScript's thread only.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use neon::event::Channel;
use neon::handle::Root;
use neon::prelude::*;
use neon::thread::LocalKey;
use neon::types::buffer::TypedArray;
use neon::types::{JsInt32Array, JsUint8Array};
use sluice_core::{Agent, Credit, ReadState, Records};

use crate::completions::{CompletionQueue, FLAG_COMPLETE, FLAG_INFORMATIONAL, Kind, PREFIX_WORDS, WORD};
use crate::event_loop::EventLoop;
use crate::memory;
use crate::request_handle::RequestHandleInstance;
use crate::runtime::Runtime;
use crate::submission;

static ENVIRONMENT: LocalKey<Local> = LocalKey::new();

struct Local(Environment);

// SAFETY: the static holds only the key. The value lives in Neon's instance data, and `LocalKey::get` needs a context,
// which exists on the environment's own thread alone. Breach: the worker tests crash.
unsafe impl Sync for Local {}
// SAFETY: as above; instance data is made and dropped on that thread too.
unsafe impl Send for Local {}

pub struct Environment {
    pub completions: Arc<CompletionQueue>,
    requests: RefCell<HashMap<u32, RequestHandleInstance>>,
    agents: RefCell<HashMap<u32, Agent>>,
    last_agent: Cell<u32>,
    channel: RefCell<Channel>,
    /// Requests that JavaScript awaits; the channel keeps the process alive while there are any.
    awaited: Cell<usize>,
    body_bytes_crossed: Cell<u64>,
    /// Opened for the first wait at a socket; none where there is no libuv.
    event_loop: OnceCell<Option<Rc<EventLoop>>>,
    js: JsSide,
}

struct JsSide {
    scratch: Root<JsUint8Array>,
    words: Root<JsInt32Array>,
    on_completions: Root<JsFunction>,
}

/// Persistent references held by an open environment.
const ROOTS: u32 = 3;

impl Drop for Environment {
    fn drop(&mut self) {
        for (_, request) in self.requests.get_mut().drain() {
            request.abort();
        }
        self.completions.close();
    }
}

impl Environment {
    pub fn get<'cx, C: Context<'cx>>(cx: &mut C) -> NeonResult<&'cx Self> {
        match ENVIRONMENT.get(cx) {
            Some(Local(environment)) => Ok(environment),
            None => cx.throw_error("environmentOpen must be called first"),
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

    /// Forgets a request; it no longer keeps the process alive.
    pub fn remove<'cx, C: Context<'cx>>(&self, cx: &mut C, id: u32) -> Option<RequestHandleInstance> {
        let request = self.requests.borrow_mut().remove(&id)?;
        self.count_awaited(cx, &request, false);
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
            }
        } else {
            self.awaited.set(before - 1);
            if before == 1 {
                self.channel.borrow_mut().unref(cx);
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
        let mut words = self.js.words.to_inner(cx);
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
                    // A body may fail before the pipe that will tell of it has written what came.
                    self.hold(cx, request, request.is_piping());
                    if request.exchange.queue.is_complete() {
                        request.leave_socket();
                    }
                }
            }
            Kind::UploadReady | Kind::Ready | Kind::Connection | Kind::Question => {}
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

/// `environmentOpen(scratch, words, onCompletions, hasLibuv)`
pub fn open(mut cx: FunctionContext) -> JsResult<JsUndefined> {
    let scratch = cx.argument::<JsUint8Array>(0)?.root(&mut cx);
    let words = cx.argument::<JsInt32Array>(1)?.root(&mut cx);
    let on_completions = cx.argument::<JsFunction>(2)?.root(&mut cx);
    let event_loop = OnceCell::new();
    if !cx.argument::<JsBoolean>(3)?.value(&mut cx) {
        let _ = event_loop.set(None);
    }
    let runtime = match Runtime::get() {
        Ok(runtime) => runtime,
        Err(text) => return cx.throw_error(text),
    };
    let mut channel = cx.channel();
    channel.unref(&mut cx);
    let flushing = channel.clone();
    let mut is_new = false;
    ENVIRONMENT.get_or_init(&mut cx, || {
        is_new = true;
        Local(Environment {
            completions: CompletionQueue::start(runtime, flushing),
            requests: RefCell::default(),
            agents: RefCell::default(),
            last_agent: Cell::new(0),
            channel: RefCell::new(channel),
            awaited: Cell::new(0),
            body_bytes_crossed: Cell::new(0),
            event_loop,
            js: JsSide {
                scratch,
                words,
                on_completions,
            },
        })
    });
    if is_new {
        Ok(cx.undefined())
    } else {
        cx.throw_error("this environment is open already")
    }
}

/// Hands every waiting record to JavaScript. The function it calls throws nothing, so that a call that fails is a
/// worker's that is being terminated; an exception left pending there, which Neon would report, ends the process.
pub fn drain(mut cx: Cx<'_>) -> NeonResult<()> {
    let _ = cx.try_catch(|cx| Ok(hand_over(cx).is_ok()));
    Ok(())
}

/// As many records per call as the scratch buffer holds.
fn hand_over<'cx>(cx: &mut Cx<'cx>) -> NeonResult<()> {
    let environment = Environment::get(cx)?;
    let Records { bytes, mut credits } = environment.completions.take();
    let mut scratch = environment.js.scratch.to_inner(cx);
    let on_completions = environment.js.on_completions.to_inner(cx);
    let capacity = scratch.as_slice(cx).len();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let mut length = 0;
        while length < rest.len() {
            let record = &rest[length..];
            let end = length + word(record, 1) as usize * WORD;
            if end > capacity && length > 0 {
                break;
            }
            environment.settle(cx, record, &mut credits);
            length = end;
        }
        if length > capacity {
            // Heads are capped far below the scratch buffer's size, so this is a bug, not a server's doing.
            return cx.throw_error("a completion is larger than the scratch buffer");
        }
        let target = scratch.as_mut_slice(cx);
        target[..length].copy_from_slice(&rest[..length]);
        rest = &rest[length..];
        let length = cx.number(u32::try_from(length).unwrap_or(u32::MAX));
        on_completions.bind(cx).arg(length)?.exec()?;
    }
    Ok(())
}

/// `counters()`
pub fn counters(mut cx: FunctionContext) -> JsResult<JsObject> {
    let environment = Environment::get(&mut cx)?;
    #[expect(clippy::cast_precision_loss, reason = "JavaScript numbers")]
    let rows = [
        ("bodyBytesCrossed", environment.body_bytes_crossed.get() as f64),
        ("handles", environment.requests.borrow().len() as f64),
        ("roots", f64::from(ROOTS)),
        ("awaited", environment.awaited.get() as f64),
        ("tasks", submission::running() as f64),
        ("givenBack", memory::given_back() as f64),
    ];
    let object = cx.empty_object();
    for (name, value) in rows {
        object.prop(&mut cx, name).set(value)?;
    }
    Ok(object)
}
