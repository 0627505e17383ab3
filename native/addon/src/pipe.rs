//! A body that goes into a file without entering JavaScript.

use neon::prelude::*;
use sluice_core::{CoreError, PipeEnd, SystemError, pipe_to_file};
use tokio_util::sync::CancellationToken;

use crate::environment::Environment;
use crate::request_handle::{RequestHandleInstance, id_argument};
use crate::runtime::Runtime;

/// `bodyPipeToFile(id, fd)`: writes at the descriptor's own position, through a duplicate of it.
pub fn start<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    let id = id_argument(&mut cx)?;
    let descriptor = cx.argument::<JsNumber>(1)?.value(&mut cx);
    #[expect(clippy::cast_possible_truncation, reason = "descriptors are small integers")]
    let file = match duplicate(descriptor as i32) {
        Ok(file) => file,
        Err(error) => return cx.throw_error(format!("the file descriptor cannot be duplicated: {error}")),
    };
    let runtime = match Runtime::get() {
        Ok(runtime) => runtime,
        Err(text) => return cx.throw_error(text),
    };
    let stop = CancellationToken::new();
    let started = environment.with(id, |request| {
        request.leave_socket();
        *request.pipe.borrow_mut() = Some(stop.clone());
        environment.hold(&mut cx, request, true);
        request.exchange.clone()
    });
    let Some(exchange) = started else {
        return cx.throw_error("no such request");
    };
    runtime.handle().spawn(async move {
        let (written, end) = pipe_to_file(&exchange.queue, file, &stop).await;
        let error = match &end {
            PipeEnd::File(error) => Some(file_error(error, "write")),
            PipeEnd::Source | PipeEnd::Stopped => None,
        };
        let is_stopped = matches!(end, PipeEnd::Stopped);
        exchange
            .completions
            .piped(exchange.id, written, is_stopped, error.as_ref());
    });
    Ok(cx.undefined())
}

/// `bodyPipeStop(id)`: ends in a `piped` completion.
pub fn stop<'cx>(environment: &Environment, mut cx: FunctionContext<'cx>) -> JsResult<'cx, JsUndefined> {
    let id = id_argument(&mut cx)?;
    environment.with(id, RequestHandleInstance::stop_pipe);
    Ok(cx.undefined())
}

#[cfg(unix)]
pub fn duplicate(descriptor: i32) -> std::io::Result<std::fs::File> {
    use std::os::fd::BorrowedFd;
    if descriptor < 0 {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the caller's FileHandle is open for the whole of this synchronous call and only the duplicate is kept.
    // Breach: EBADF, which the duplication reports.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    Ok(std::fs::File::from(borrowed.try_clone_to_owned()?))
}

#[cfg(not(unix))]
pub fn duplicate(_: i32) -> std::io::Result<std::fs::File> {
    // libuv's descriptors on Windows belong to another C runtime; the JavaScript sink writes there.
    Err(std::io::ErrorKind::Unsupported.into())
}

/// As Node names it.
pub fn file_error(error: &std::io::Error, syscall: &'static str) -> CoreError {
    let errno = error.raw_os_error().unwrap_or(0);
    let code = match errno {
        libc::ENOSPC => "ENOSPC",
        libc::EIO => "EIO",
        libc::EFBIG => "EFBIG",
        libc::EBADF => "EBADF",
        libc::EDQUOT => "EDQUOT",
        libc::EMFILE => "EMFILE",
        libc::EPIPE => "EPIPE",
        libc::EROFS => "EROFS",
        libc::EINVAL => "EINVAL",
        _ => "EIO",
    };
    CoreError::System(SystemError {
        code,
        errno: -errno,
        syscall,
        address: None,
        port: None,
        hostname: None,
    })
}
