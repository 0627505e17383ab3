//! Where sockets are not libuv's to poll, JavaScript waits on the runtime.

use std::convert::Infallible;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;

use crate::completions::CompletionQueue;

pub struct EventLoop(Infallible);

impl EventLoop {
    pub fn open(_env: *mut std::ffi::c_void) -> Option<Rc<Self>> {
        None
    }

    pub fn leave(&self) {
        match self.0 {}
    }
}

pub struct SocketWatch(Infallible);

impl SocketWatch {
    pub fn open(event_loop: &EventLoop, _: TcpStream, _: u32, _: &Arc<CompletionQueue>) -> Option<Self> {
        match event_loop.0 {}
    }

    pub fn wait(&self, _left: u64) -> bool {
        match self.0 {}
    }

    pub fn is_waiting(&self) -> bool {
        match self.0 {}
    }

    pub fn stop(&self) {
        match self.0 {}
    }
}
