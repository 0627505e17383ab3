//! The Node-API marshalling of sluice: turns JavaScript calls into core calls and core events into completions.
//! No HTTP logic. `native/binding.ts` is the typed mirror of the export table below.

mod agent;
mod body;
mod completions;
mod environment;
#[cfg(unix)]
mod event_loop;
#[cfg(not(unix))]
#[path = "no_event_loop.rs"]
mod event_loop;
mod external_memory;
mod handler;
mod host;
mod js_side;
mod marshal;
mod memory;
mod pin;
mod pipe;
mod questions;
mod request_handle;
mod runtime;
mod starvation;
mod submission;
#[cfg(debug_assertions)]
mod testing;

use std::rc::Rc;

use neon::prelude::*;

use crate::environment::{Environment, Slot};

/// Memory is freed on another thread than it was allocated on; glibc's arena lock costs a third of the throughput.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn hello(mut cx: FunctionContext) -> JsResult<JsString> {
    Ok(cx.string(concat!("sluice ", env!("CARGO_PKG_VERSION"))))
}

/// `create()`: the functions of one copy of the package. Each holds the copy's environment, and nothing else does.
fn create(mut cx: FunctionContext) -> JsResult<JsObject> {
    let slot = Rc::new(Slot::new());
    let binding = cx.empty_object();
    let opened = Rc::clone(&slot);
    let open = JsFunction::with_name(&mut cx, "open", move |cx: FunctionContext| {
        environment::open(&opened, cx)
    })?;
    binding.prop(&mut cx, "open").set(open)?;
    let mut methods = Methods {
        cx: &mut cx,
        binding,
        slot,
    };
    methods.add("counters", environment::counters)?;
    methods.add("agentCreate", agent::create)?;
    methods.add("agentDispatch", submission::dispatch)?;
    methods.add("agentClose", agent::close)?;
    methods.add("agentDestroy", agent::destroy)?;
    methods.add("agentStats", agent::stats)?;
    methods.add("requestHandleAbort", request_handle::abort)?;
    methods.add("requestHandleProceed", request_handle::proceed)?;
    methods.add("requestHandlePause", request_handle::pause)?;
    methods.add("requestHandleResume", request_handle::resume)?;
    methods.add("requestHandleCancel", request_handle::cancel)?;
    methods.add("bodyRead", body::read)?;
    methods.add("bodyReadInto", body::read_into)?;
    methods.add("bodyWait", body::wait)?;
    methods.add("bodyEnd", body::end)?;
    methods.add("bodyPipeToFile", pipe::start)?;
    methods.add("bodyPipeStop", pipe::stop)?;
    methods.add("uploadWrite", request_handle::upload_write)?;
    methods.add("uploadFrom", request_handle::upload_from)?;
    methods.add("uploadEnd", request_handle::upload_end)?;
    methods.add("questionAnswer", questions::answer)?;
    methods.add("unreadResponses", starvation::unread_responses)?;
    methods.add("externalMemoryPress", starvation::press)?;
    #[cfg(debug_assertions)]
    testing::add(&mut methods)?;
    Ok(binding)
}

type Method<V> = for<'a, 'cx> fn(&'a Environment, FunctionContext<'cx>) -> JsResult<'cx, V>;

struct Methods<'a, 'cx> {
    cx: &'a mut FunctionContext<'cx>,
    binding: Handle<'cx, JsObject>,
    slot: Rc<Slot>,
}

impl Methods<'_, '_> {
    fn add<V: Value + 'static>(&mut self, name: &str, method: Method<V>) -> NeonResult<()> {
        let slot = Rc::clone(&self.slot);
        let function = JsFunction::with_name(self.cx, name, move |mut cx: FunctionContext| match slot.get() {
            Some(environment) => method(environment, cx),
            None => cx.throw_error("open must be called first"),
        })?;
        self.binding.prop(self.cx, name).set(function)?;
        Ok(())
    }
}

#[neon::main]
fn main(mut cx: ModuleContext) -> NeonResult<()> {
    pin::pin_module();
    memory::configure();
    cx.export_function("hello", hello)?;
    cx.export_function("create", create)?;
    Ok(())
}
