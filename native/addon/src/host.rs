//! Functions of the process that loaded the addon, looked up by name: not every one has them all.

use std::ffi::{CStr, c_void};

pub type Raw = *mut c_void;

#[cfg(unix)]
pub fn symbol(name: &CStr) -> Option<Raw> {
    // SAFETY: `name` ends with NUL; looking up has no other condition. Breach: no wait at a socket comes about, which the
    // tests of direct reads count.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

#[cfg(windows)]
pub fn symbol(name: &CStr) -> Option<Raw> {
    use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
    // SAFETY: a null name is the program itself, which exports Node-API and stays loaded; `name` ends with NUL.
    // Breach: nothing is found, which the tests of dropped responses see.
    let found = unsafe { GetProcAddress(GetModuleHandleW(std::ptr::null()), name.as_ptr().cast()) };
    found.map(|found| found as Raw)
}
