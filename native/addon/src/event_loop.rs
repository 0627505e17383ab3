//! The event loop's own poller, where JavaScript waits for a socket that it reads itself: a wait on the runtime's would
//! take two more wake-ups. libuv's functions are looked up, since not every process that loads an addon has them.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_int};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use crate::completions::CompletionQueue;
use crate::host::{Raw, symbol};

/// A wait ends when so much is there, or all the rest: less is a wake-up for a few reads.
const ENOUGH: u64 = 1024 * 1024;

/// `UV_POLL` of `uv_handle_type`.
const UV_POLL: c_int = 8;
const UV_READABLE: c_int = 1;

type OnClose = unsafe extern "C" fn(Raw);
type OnPoll = unsafe extern "C" fn(Raw, c_int, c_int);
type OnCleanup = unsafe extern "C" fn(Raw, Raw);

macro_rules! symbols {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {
        struct Symbols {
            $($name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Symbols {
            fn find() -> Option<Self> {
                Some(Self {
                    // SAFETY: these are the types that uv.h and node_api.h declare. Breach: every test of waits crashes.
                    $($name: unsafe {
                        std::mem::transmute::<Raw, unsafe extern "C" fn($($argument),*) -> $result>(
                            symbol(CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()).ok()?)?,
                        )
                    },)*
                })
            }
        }
    };
}

symbols! {
    napi_get_uv_event_loop(Raw, *mut Raw) -> c_int;
    napi_add_async_cleanup_hook(Raw, OnCleanup, Raw, *mut Raw) -> c_int;
    napi_remove_async_cleanup_hook(Raw) -> c_int;
    uv_handle_size(c_int) -> usize;
    uv_handle_get_data(Raw) -> Raw;
    uv_handle_set_data(Raw, Raw) -> ();
    uv_unref(Raw) -> ();
    uv_close(Raw, OnClose) -> ();
    uv_poll_init(Raw, Raw, c_int) -> c_int;
    uv_poll_start(Raw, c_int, OnPoll) -> c_int;
    uv_poll_stop(Raw) -> c_int;
}

static SYMBOLS: OnceLock<Option<Symbols>> = OnceLock::new();

/// Of one JavaScript environment; its thread only. Node lets the environment go when the last watch has closed.
pub struct EventLoop {
    symbols: &'static Symbols,
    raw: Raw,
    open: RefCell<Vec<Rc<Handle>>>,
    /// Handles that libuv knows, those that are closing among them.
    known: Cell<usize>,
    is_closed: Cell<bool>,
    /// What Node waits for.
    cleanup: Cell<Option<Raw>>,
    /// The hook that Node has not called, and the reference that it was given.
    hook: Cell<Option<(Raw, *const EventLoop)>>,
}

impl EventLoop {
    /// `env` is the environment's, inside a call of JavaScript's. None where there is no libuv.
    pub fn open(env: Raw) -> Option<Rc<Self>> {
        let symbols = SYMBOLS.get_or_init(Symbols::find).as_ref()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: `env` is valid, and `raw` a place for the answer. Breach: the tests of direct reads crash.
        if unsafe { (symbols.napi_get_uv_event_loop)(env, &raw mut raw) } != 0 || raw.is_null() {
            return None;
        }
        let event_loop = Rc::new(Self {
            symbols,
            raw,
            open: RefCell::default(),
            known: Cell::new(0),
            is_closed: Cell::new(false),
            cleanup: Cell::new(None),
            hook: Cell::new(None),
        });
        let data = Rc::into_raw(Rc::clone(&event_loop));
        let mut hook = std::ptr::null_mut();
        // SAFETY: `env` is valid; `data` is taken back once: by the hook, by `settle` where that was removed before, or
        // below where there is none. Breach: the worker tests crash.
        unsafe {
            if (symbols.napi_add_async_cleanup_hook)(env, on_cleanup, data.cast_mut().cast(), &raw mut hook) != 0 {
                drop(Rc::from_raw(data));
                return None;
            }
        }
        event_loop.hook.set(Some((hook, data)));
        Some(event_loop)
    }

    /// Whose it is ends before the environment does.
    pub fn leave(&self) {
        self.is_closed.set(true);
        for handle in self.open.take() {
            handle.close();
        }
        self.settle();
    }

    /// The environment ends, and waits until nothing is open.
    fn close(&self, cleanup: Raw) {
        self.hook.set(None);
        self.cleanup.set(Some(cleanup));
        self.leave();
    }

    fn settle(&self) {
        if !self.is_closed.get() || self.known.get() > 0 {
            return;
        }
        if let Some(cleanup) = self.cleanup.take() {
            // SAFETY: the hook has been called and not been removed. Breach: the worker tests hang or crash.
            unsafe { (self.symbols.napi_remove_async_cleanup_hook)(cleanup) };
        } else if let Some((hook, data)) = self.hook.take() {
            // SAFETY: the hook has neither been called nor removed, so that the reference which it was given is taken
            // back here alone; the caller holds another. Breach: the tests of copies crash.
            unsafe {
                (self.symbols.napi_remove_async_cleanup_hook)(hook);
                drop(Rc::from_raw(data));
            }
        }
    }
}

unsafe extern "C" fn on_cleanup(hook: Raw, data: Raw) {
    // SAFETY: `data` is what `open` gave away for this one call. Breach: the worker tests crash.
    let event_loop = unsafe { Rc::from_raw(data.cast_const().cast::<EventLoop>()) };
    event_loop.close(hook);
}

/// Where one body's reader waits. JavaScript's thread only; dropped, it gives its handle of the socket up.
pub struct SocketWatch(Rc<Handle>);

/// libuv holds one reference from `uv_poll_init` until it has closed the handle.
struct Handle {
    event_loop: Rc<EventLoop>,
    /// libuv's; it does not move.
    memory: Box<[Cell<u64>]>,
    socket: Cell<Option<TcpStream>>,
    descriptor: c_int,
    id: u32,
    completions: Arc<CompletionQueue>,
    is_waiting: Cell<bool>,
    is_closing: Cell<bool>,
}

impl SocketWatch {
    /// None where libuv refuses, or the environment ends.
    pub fn open(
        event_loop: &Rc<EventLoop>,
        socket: TcpStream,
        id: u32,
        completions: &Arc<CompletionQueue>,
    ) -> Option<Self> {
        if event_loop.is_closed.get() {
            return None;
        }
        let symbols = event_loop.symbols;
        // SAFETY: it only looks at a table. Breach: the tests of direct reads crash.
        let size = unsafe { (symbols.uv_handle_size)(UV_POLL) };
        let handle = Rc::new(Handle {
            event_loop: Rc::clone(event_loop),
            memory: vec![Cell::new(0); size.div_ceil(size_of::<u64>())].into(),
            descriptor: socket.as_raw_fd(),
            socket: Cell::new(Some(socket)),
            id,
            completions: Arc::clone(completions),
            is_waiting: Cell::new(false),
            is_closing: Cell::new(false),
        });
        let raw = handle.raw();
        // SAFETY: the loop is this thread's and runs on; `raw` has the size of a uv_poll_t, and lives until `on_close`
        // drops the reference that libuv holds; the descriptor stays open until `uv_close`. Breach: the worker tests crash
        // in "a wait at a socket".
        unsafe {
            if (symbols.uv_poll_init)(event_loop.raw, raw, handle.descriptor) != 0 {
                return None;
            }
            (symbols.uv_handle_set_data)(raw, Rc::into_raw(Rc::clone(&handle)).cast_mut().cast());
            (symbols.uv_unref)(raw);
        }
        event_loop.known.set(event_loop.known.get() + 1);
        event_loop.open.borrow_mut().push(Rc::clone(&handle));
        Some(Self(handle))
    }

    /// Tells the reader once, when enough of `left` bytes is there, or the socket's end. False if it will not.
    pub fn wait(&self, left: u64) -> bool {
        let handle = &self.0;
        if handle.is_closing.get() {
            return false;
        }
        handle.is_waiting.set(true);
        handle.wants(left.min(ENOUGH));
        // SAFETY: the handle is initialized and not closing. Breach: libuv's assertion ends the tests of direct reads.
        let is_waiting = unsafe { (handle.symbols().uv_poll_start)(handle.raw(), UV_READABLE, on_poll) } == 0;
        if !is_waiting {
            handle.is_waiting.set(false);
            handle.wants(1);
        }
        is_waiting
    }

    pub fn is_waiting(&self) -> bool {
        self.0.is_waiting.get()
    }

    pub fn stop(&self) {
        self.0.stop();
    }
}

impl Drop for SocketWatch {
    fn drop(&mut self) {
        let handle = &self.0;
        handle
            .event_loop
            .open
            .borrow_mut()
            .retain(|open| !Rc::ptr_eq(open, handle));
        handle.close();
    }
}

impl Handle {
    fn symbols(&self) -> &'static Symbols {
        self.event_loop.symbols
    }

    fn raw(&self) -> Raw {
        self.memory.as_ptr().cast_mut().cast()
    }

    /// The runtime must not find the socket wanting more than a byte: only a wait under way does.
    fn stop(&self) {
        if !self.is_waiting.replace(false) {
            return;
        }
        // SAFETY: the handle is initialized and, since it waits, not closing. Breach: as in `wait`.
        unsafe { (self.symbols().uv_poll_stop)(self.raw()) };
        self.wants(1);
    }

    /// So many bytes make the socket readable (`SO_RCVLOWAT`). A system that refuses wakes the reader more often.
    fn wants(&self, bytes: u64) {
        let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
        let size = libc::socklen_t::try_from(size_of::<c_int>()).unwrap_or_default();
        // SAFETY: the descriptor is open until the handle closes, and the option an int. Breach: the option of another
        // socket is set, whose reads the tests of direct reads count.
        unsafe {
            libc::setsockopt(
                self.descriptor,
                libc::SOL_SOCKET,
                libc::SO_RCVLOWAT,
                (&raw const bytes).cast(),
                size,
            );
        }
    }

    fn close(&self) {
        self.stop();
        if self.is_closing.replace(true) {
            return;
        }
        // SAFETY: the handle is initialized, and closed once. Breach: libuv's assertion ends the tests of direct reads.
        unsafe { (self.symbols().uv_close)(self.raw(), on_close) };
        self.socket.take();
    }
}

/// The handle whose callback libuv calls.
///
/// # Safety
/// `raw` is a handle's that libuv has not closed yet.
unsafe fn handle_of(raw: Raw) -> *const Handle {
    let symbols = SYMBOLS.get().and_then(Option::as_ref);
    // SAFETY: the caller's promise. Breach: the tests of direct reads crash.
    symbols.map_or(std::ptr::null(), |symbols| unsafe {
        (symbols.uv_handle_get_data)(raw).cast_const().cast()
    })
}

unsafe extern "C" fn on_poll(raw: Raw, _status: c_int, _events: c_int) {
    // SAFETY: libuv calls for a handle that is not closed, whose reference it holds. Breach: the worker tests crash in "a
    // wait at a socket".
    let Some(handle) = (unsafe { handle_of(raw).as_ref() }) else {
        return;
    };
    handle.stop();
    handle.completions.readable_here(handle.id);
}

unsafe extern "C" fn on_close(raw: Raw) {
    // SAFETY: libuv has let the handle go; this is its reference, taken back once. Breach: the worker tests crash in "a
    // wait at a socket".
    let handle = unsafe {
        let handle = handle_of(raw);
        if handle.is_null() {
            return;
        }
        Rc::from_raw(handle)
    };
    let event_loop = &handle.event_loop;
    event_loop.known.set(event_loop.known.get() - 1);
    event_loop.settle();
}
