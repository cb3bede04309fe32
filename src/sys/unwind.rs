//! The unwinder's functions, for a program that never unwinds.
//!
//! A panic aborts, so only the standard library's backtrace refers to them. Were they not
//! here, libgcc_s would be loaded into every monitor, which costs time and two private pages.
//! A backtrace is empty now; the panic's message and place are printed as ever.

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`: there are no (more) frames.
const END_OF_STACK: c_int = 5;

/// Walks the frames of the stack: none.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_trace: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// Defines functions that can only be called while unwinding, which never happens.
macro_rules! never_called {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> ! {
            std::process::abort()
        }
    )*};
}

never_called! {
    _Unwind_DeleteException
    _Unwind_GetCFA
    _Unwind_GetDataRelBase
    _Unwind_GetIP
    _Unwind_GetIPInfo
    _Unwind_GetLanguageSpecificData
    _Unwind_GetRegionStart
    _Unwind_GetTextRelBase
    _Unwind_FindEnclosingFunction
    _Unwind_RaiseException
    _Unwind_Resume
    _Unwind_SetGR
    _Unwind_SetIP
}
