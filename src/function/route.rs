//! The rows of a table. A row says what it is; `table` says whether it fits beside the others.

use crate::function::callback::{CallFn, HookFn, ObserveFn, ThawFn};
use crate::function::caller_clock::TimeFormat;
use crate::platform::hooks::Hook;

/// One row of a table: a hook, a route, or an option.
pub struct Route<S: 'static>(pub(crate) Kind<S>);

pub(crate) enum Kind<S: 'static> {
    Hook(Hook, HookFn<S>),
    OnThaw(ThawFn<S>),
    Invoke(CallFn<S>),
    /// Method (empty for any) and path.
    Exact(&'static str, &'static str, CallFn<S>),
    Prefix(&'static str, CallFn<S>),
    Fallback(CallFn<S>),
    ObserveHooks(ObserveFn<S>),
    HealthPath(&'static str),
    RequireControlPath,
    ShowErrors,
    CallerClock(&'static str, TimeFormat),
    /// A place of a builder that no row has taken.
    Vacant,
}

// Not derived, because the state need not be `Copy`.
impl<S> Copy for Route<S> {}

impl<S> Clone for Route<S> {
    fn clone(&self) -> Route<S> {
        *self
    }
}

impl<S> Copy for Kind<S> {}

impl<S> Clone for Kind<S> {
    fn clone(&self) -> Kind<S> {
        *self
    }
}

impl<S> Route<S> {
    /// `POST /initialize`. It runs once, before any traffic (C-INIT-1), and again only after a failure or after a
    /// pre-stop that was not the end (C-INIT-5).
    pub const fn initialize(callback: HookFn<S>) -> Route<S> {
        Route(Kind::Hook(Hook::Initialize, callback))
    }

    /// `GET /pre-freeze`. It runs once before each freeze. FC 3.0 never calls it (C-FRZ-2).
    pub const fn pre_freeze(callback: HookFn<S>) -> Route<S> {
        Route(Kind::Hook(Hook::PreFreeze, callback))
    }

    /// `GET /pre-stop`. It runs once, before the instance is destroyed (C-STOP-1), or at SIGTERM if the platform did
    /// not call it. If calls come after it, life goes on, and it runs again at the next end (C-STOP-5).
    pub const fn pre_stop(callback: HookFn<S>) -> Route<S> {
        Route(Kind::Hook(Hook::PreStop, callback))
    }

    /// Runs before the first request after a freeze. The platform has no such call (C-FRZ-5); the server finds out by
    /// itself.
    pub const fn on_thaw(callback: ThawFn<S>) -> Route<S> {
        Route(Kind::OnThaw(callback))
    }

    /// `POST /invoke`: an event (C-INV-1).
    pub const fn invoke(callback: CallFn<S>) -> Route<S> {
        Route(Kind::Invoke(callback))
    }

    /// An HTTP call with this method and exactly this path, compared as sent.
    pub const fn on(method: &'static str, path: &'static str, callback: CallFn<S>) -> Route<S> {
        Route(Kind::Exact(method, path, callback))
    }

    /// As [`Route::on`] with GET. It also answers HEAD, unless the table has a route for that.
    pub const fn get(path: &'static str, callback: CallFn<S>) -> Route<S> {
        Route::on("GET", path, callback)
    }

    /// As [`Route::on`] with POST.
    pub const fn post(path: &'static str, callback: CallFn<S>) -> Route<S> {
        Route::on("POST", path, callback)
    }

    /// As [`Route::on`] with PUT.
    pub const fn put(path: &'static str, callback: CallFn<S>) -> Route<S> {
        Route::on("PUT", path, callback)
    }

    /// As [`Route::on`] with PATCH.
    pub const fn patch(path: &'static str, callback: CallFn<S>) -> Route<S> {
        Route::on("PATCH", path, callback)
    }

    /// As [`Route::on`] with DELETE.
    pub const fn delete(path: &'static str, callback: CallFn<S>) -> Route<S> {
        Route::on("DELETE", path, callback)
    }

    /// An HTTP call with any method and exactly this path.
    pub const fn any(path: &'static str, callback: CallFn<S>) -> Route<S> {
        Route(Kind::Exact("", path, callback))
    }

    /// HTTP calls with any method whose path begins with this text. A text that ends with `/` matches whole segments.
    /// An exact route comes before it, and a longer prefix before a shorter one.
    pub const fn prefix(path: &'static str, callback: CallFn<S>) -> Route<S> {
        Route(Kind::Prefix(path, callback))
    }

    /// HTTP calls whose path no other route has.
    pub const fn fallback(callback: CallFn<S>) -> Route<S> {
        Route(Kind::Fallback(callback))
    }

    /// The option [`App::health_path`](crate::App::health_path) as a row.
    pub const fn health_path(path: &'static str) -> Route<S> {
        Route(Kind::HealthPath(path))
    }

    /// The option [`App::require_control_path`](crate::App::require_control_path) as a row.
    pub const fn require_control_path() -> Route<S> {
        Route(Kind::RequireControlPath)
    }

    /// The option [`App::caller_clock`](crate::App::caller_clock) as a row.
    pub const fn caller_clock(header: &'static str, format: TimeFormat) -> Route<S> {
        Route(Kind::CallerClock(header, format))
    }

    /// The option [`App::observe_hooks`](crate::App::observe_hooks) as a row.
    pub const fn observe_hooks(observer: ObserveFn<S>) -> Route<S> {
        Route(Kind::ObserveHooks(observer))
    }

    /// The option [`App::show_errors`](crate::App::show_errors) as a row.
    pub const fn show_errors() -> Route<S> {
        Route(Kind::ShowErrors)
    }
}
