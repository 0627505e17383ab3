//! Keeps the addon mapped. Node unloads an addon with the worker that loaded it, but the runtime's thread, which is
//! the process's, goes on in its code.

use std::sync::Once;

static PINNED: Once = Once::new();

pub fn pin_module() {
    PINNED.call_once(pin);
}

#[cfg(unix)]
fn pin() {
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    let address: *const libc::c_void = (pin_module as fn() as *const ()).cast();
    // SAFETY: `address` is a function of this module and `info` a valid place for the answer; `dli_fname` stays valid
    // while the module is mapped, which it is, since its code is running. Breach: the worker test crashes.
    unsafe {
        if libc::dladdr(address, &raw mut info) != 0 && !info.dli_fname.is_null() {
            libc::dlopen(info.dli_fname, libc::RTLD_NOW | libc::RTLD_NODELETE | libc::RTLD_NOLOAD);
        }
    }
}

#[cfg(windows)]
fn pin() {
    use windows_sys::Win32::System::LibraryLoader::{
        GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_PIN, GetModuleHandleExW,
    };
    let mut module = std::ptr::null_mut();
    let address: *const u16 = (pin_module as fn() as *const ()).cast();
    // SAFETY: with FROM_ADDRESS the second argument is an address inside the module, which a function of it is. Breach: the
    // worker tests crash.
    unsafe {
        GetModuleHandleExW(
            GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
            address,
            &raw mut module,
        );
    }
}
