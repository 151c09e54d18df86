//! The locks of parking_lot for stile-bench.  The loops are here, so that their fast
//! paths are inlined as they are in the Rust programs that use them.  What each call
//! does, and when it may be called, is in lock_kinds.h.
#![allow(clippy::missing_safety_doc)]

use parking_lot::lock_api::{RawMutex as _, RawReentrantMutex};
use parking_lot::{RawMutex, RawThreadId};
use std::os::raw::{c_uint, c_void};

/// In cache lines that nothing else is in.
#[repr(align(128))]
pub struct Plain(RawMutex);

#[repr(align(128))]
pub struct Reentrant(RawReentrantMutex<RawMutex, RawThreadId>);

#[no_mangle]
pub extern "C" fn bench_parking_lot_create() -> *mut Plain {
    Box::into_raw(Box::new(Plain(RawMutex::INIT)))
}

#[no_mangle]
pub unsafe extern "C" fn bench_parking_lot_destroy(lock: *mut Plain) {
    drop(Box::from_raw(lock));
}

#[no_mangle]
pub unsafe extern "C" fn bench_parking_lot_lock(lock: &Plain) {
    lock.0.lock();
}

#[no_mangle]
pub unsafe extern "C" fn bench_parking_lot_unlock(lock: &Plain) {
    lock.0.unlock();
}

#[no_mangle]
pub unsafe extern "C" fn bench_parking_lot_pairs(lock: &Plain, turns: c_uint) {
    for _ in 0..turns {
        lock.0.lock();
        lock.0.unlock();
    }
}

#[no_mangle]
pub unsafe extern "C" fn bench_parking_lot_sections(
    lock: &Plain,
    turns: c_uint,
    section: unsafe extern "C" fn(*mut c_void),
    context: *mut c_void,
) {
    for _ in 0..turns {
        lock.0.lock();
        section(context);
        lock.0.unlock();
    }
}

#[no_mangle]
pub extern "C" fn bench_reentrant_create() -> *mut Reentrant {
    Box::into_raw(Box::new(Reentrant(RawReentrantMutex::INIT)))
}

#[no_mangle]
pub unsafe extern "C" fn bench_reentrant_destroy(lock: *mut Reentrant) {
    drop(Box::from_raw(lock));
}

#[no_mangle]
pub unsafe extern "C" fn bench_reentrant_pairs(lock: &Reentrant, turns: c_uint) {
    for _ in 0..turns {
        lock.0.lock();
        lock.0.unlock();
    }
}

#[no_mangle]
pub unsafe extern "C" fn bench_reentrant_nested(lock: &Reentrant, turns: c_uint) {
    for _ in 0..turns {
        lock.0.lock();
        lock.0.lock();
        lock.0.lock();
        lock.0.unlock();
        lock.0.unlock();
        lock.0.unlock();
    }
}
