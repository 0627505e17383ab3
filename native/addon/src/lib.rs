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
mod marshal;
mod memory;
mod pin;
mod pipe;
mod questions;
mod request_handle;
mod runtime;
mod starvation;
mod submission;

use neon::prelude::*;

/// Memory is freed on another thread than it was allocated on; glibc's arena lock costs a third of the throughput.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn hello(mut cx: FunctionContext) -> JsResult<JsString> {
    Ok(cx.string(concat!("sluice ", env!("CARGO_PKG_VERSION"))))
}

#[neon::main]
fn main(mut cx: ModuleContext) -> NeonResult<()> {
    pin::pin_module();
    memory::configure();
    cx.export_function("hello", hello)?;
    cx.export_function("environmentOpen", environment::open)?;
    cx.export_function("counters", environment::counters)?;
    cx.export_function("agentCreate", agent::create)?;
    cx.export_function("agentDispatch", submission::dispatch)?;
    cx.export_function("agentClose", agent::close)?;
    cx.export_function("agentDestroy", agent::destroy)?;
    cx.export_function("agentStats", agent::stats)?;
    cx.export_function("requestHandleAbort", request_handle::abort)?;
    cx.export_function("requestHandleProceed", request_handle::proceed)?;
    cx.export_function("requestHandlePause", request_handle::pause)?;
    cx.export_function("requestHandleResume", request_handle::resume)?;
    cx.export_function("requestHandleCancel", request_handle::cancel)?;
    cx.export_function("bodyRead", body::read)?;
    cx.export_function("bodyReadInto", body::read_into)?;
    cx.export_function("bodyWait", body::wait)?;
    cx.export_function("bodyEnd", body::end)?;
    cx.export_function("bodyPipeToFile", pipe::start)?;
    cx.export_function("bodyPipeStop", pipe::stop)?;
    cx.export_function("uploadWrite", request_handle::upload_write)?;
    cx.export_function("questionAnswer", questions::answer)?;
    cx.export_function("unreadResponses", starvation::unread_responses)?;
    cx.export_function("forsakenResponses", starvation::forsaken_responses)?;
    cx.export_function("externalMemoryPress", starvation::press)?;
    cx.export_function("uploadFrom", request_handle::upload_from)?;
    cx.export_function("uploadEnd", request_handle::upload_end)?;
    Ok(())
}
