//! The static table: which callback serves which call. The compiler checks it.
//!
//! A table consists of function pointers and static text, so a `static` holds it complete: nothing is built, allocated
//! or hashed at start. The search for a route walks over the few routes that there are. Must not know requests or
//! replies.

use crate::function::callback::{CallFn, HookFn, ObserveFn, ThawFn};
use crate::function::caller_clock::TimeFormat;
use crate::function::path::{self, PathError, same};
use crate::function::per_hook::PerHook;
use crate::function::route::{Kind, Route};
use crate::function::table;
use crate::platform::hooks::Hook;

/// A function: its hooks, its routes and its options. Every callback gets the function's state, of type `S`.
///
/// ```
/// use fc_hooks::{App, Route};
///
/// static APP: App<u64> = App::new(&[
///     Route::initialize(|_, _| Ok("ready".into())),
///     Route::invoke(|served, _, request| {
///         *served += 1;
///         Ok(request.body().to_vec().into())
///     }),
///     Route::get("/served", |served, _, _| Ok(served.to_string().into())),
/// ]);
/// ```
///
/// A mistake in a table is a compile error, for example two callbacks for one call:
///
/// ```compile_fail
/// # use fc_hooks::{App, Route};
/// static APP: App<()> = App::new(&[
///     Route::get("/a", |_, _, _| Ok(().into())),
///     Route::get("/a", |_, _, _| Ok(().into())),
/// ]);
/// ```
pub struct App<S: 'static> {
    routes: &'static [Route<S>],
    hooks: PerHook<Option<HookFn<S>>>,
    pub(crate) on_thaw: Option<ThawFn<S>>,
    pub(crate) invoke: Option<CallFn<S>>,
    fallback: Option<CallFn<S>>,
    pub(crate) observer: Option<ObserveFn<S>>,
    pub(crate) health_path: Option<&'static str>,
    pub(crate) control_path_required: bool,
    /// Callers of HTTP calls read the texts of errors.
    pub(crate) errors_shown: bool,
    /// The header that tells the caller's time, and its form.
    pub(crate) caller_clock: Option<(&'static str, TimeFormat)>,
}

/// The result of the search for a route.
pub(crate) enum Found<S: 'static> {
    Call(CallFn<S>),
    /// Routes have the path but not the method. Their methods, for `Allow`.
    WrongMethod(String),
    Nothing,
}

impl<S> App<S> {
    /// A function from its table, whose rows are routes, hooks and options in any order.
    ///
    /// Closures take the type of the state from the `static`. Options that follow as methods, such as
    /// [`App::health_path`], hide it from them, so use their rows, such as [`Route::health_path`], or name it:
    /// `App::<Shop>::new(&[…]).health_path("/health")`. [`App::builder`] makes the same from a chain of methods.
    ///
    /// # Panics
    /// In a `static` or `const` each of these is a compile error, which names the row:
    /// - a hook, an event callback, a thaw callback, a fallback or an option that occurs twice;
    /// - the same method and path twice, or the same prefix twice;
    /// - a path that is empty, does not begin with `/`, or could never match because it holds `?`, `#`, a blank, a
    ///   control character or a character beyond ASCII;
    /// - a method that holds anything but letters, digits, `-` and `_`;
    /// - a route with the path of a hook, of events, or of the health check.
    pub const fn new(routes: &'static [Route<S>]) -> App<S> {
        let mut app = App {
            routes,
            hooks: PerHook::none(),
            on_thaw: None,
            invoke: None,
            fallback: None,
            observer: None,
            health_path: None,
            control_path_required: false,
            errors_shown: false,
            caller_clock: None,
        };
        let mut index = 0;
        while index < routes.len() {
            table::check_row(routes, index);
            match &routes[index].0 {
                Kind::Hook(hook, callback) => *app.hooks.get_mut(*hook) = Some(*callback),
                Kind::OnThaw(callback) => app.on_thaw = Some(*callback),
                Kind::Invoke(callback) => app.invoke = Some(*callback),
                Kind::Fallback(callback) => app.fallback = Some(*callback),
                Kind::ObserveHooks(observer) => app.observer = Some(*observer),
                Kind::HealthPath(path) => app.health_path = Some(path),
                Kind::RequireControlPath => app.control_path_required = true,
                Kind::ShowErrors => app.errors_shown = true,
                Kind::CallerClock(header, format) => app.caller_clock = Some((header, *format)),
                Kind::Exact(..) | Kind::Prefix(..) | Kind::Vacant => {}
            }
            index += 1;
        }
        app
    }

    /// Answers the platform's health check (C-START-4): `GET` and `HEAD` of this path get 200, without waking the
    /// function. A health check counts neither as a call nor as a thaw.
    ///
    /// # Panics
    /// In a `static` or `const` each of these is a compile error: a malformed path, the path of a hook or of events,
    /// the path of a route.
    pub const fn health_path(mut self, path: &'static str) -> App<S> {
        if let Err(error) = self.check_health_path(path) {
            table::fault(error.message(), "health_path", path, self.routes.len() + 1);
        }
        self.health_path = Some(path);
        self
    }

    /// Whether the health check can have this path beside the routes of the table.
    pub(crate) const fn check_health_path(&self, path: &str) -> Result<(), PathError> {
        if let Err(error) = path::check(path) {
            return Err(error);
        }
        let mut index = 0;
        while index < self.routes.len() {
            if let Kind::Exact(_, known, _) = &self.routes[index].0
                && same(known, path)
            {
                return Err(PathError::Route);
            }
            index += 1;
        }
        Ok(())
    }

    /// Refuses hook calls without the header `x-fc-control-path`. The platform's documentation shows the header on
    /// `/pre-freeze` and `/pre-stop` in sample code only (C-DISP-1), and local tools never send it (C-DISP-4).
    pub const fn require_control_path(mut self) -> App<S> {
        self.control_path_required = true;
        self
    }

    /// Reads the time of the caller from this header, where callers other than the platform's gateway send it: a clock
    /// from outside is the only one that a paused machine cannot stop (C-FRZ-10). Without this, the server reads the
    /// time in the platform's request ids (`1-<hex time>-…`). A request whose header is absent or has another form says
    /// nothing about freezes.
    pub const fn caller_clock(mut self, header: &'static str, format: TimeFormat) -> App<S> {
        self.caller_clock = Some((header, format));
        self
    }

    /// Calls this callback after every hook call, for audits and counters.
    pub const fn observe_hooks(mut self, observer: ObserveFn<S>) -> App<S> {
        self.observer = Some(observer);
        self
    }

    /// Tells the callers of HTTP calls the texts of errors and panics, instead of `internal error`. For a function
    /// whose callers may know its inside.
    pub const fn show_errors(mut self) -> App<S> {
        self.errors_shown = true;
        self
    }

    pub(crate) fn hook(&self, hook: Hook) -> Option<HookFn<S>> {
        *self.hooks.get(hook)
    }

    /// Exact routes first, then the longest prefix, then the fallback.
    pub(crate) fn find(&self, method: &str, path: &str) -> Found<S> {
        let mut by_get = None;
        let mut path_known = false;
        let mut longest: Option<(&str, CallFn<S>)> = None;
        for route in self.routes {
            match &route.0 {
                Kind::Exact(known, exact, callback) if *exact == path => {
                    if known.is_empty() || *known == method {
                        return Found::Call(*callback);
                    }
                    if *known == "GET" && method == "HEAD" {
                        by_get = Some(*callback);
                    }
                    path_known = true;
                }
                Kind::Prefix(prefix, callback)
                    if path.starts_with(prefix) && longest.is_none_or(|(known, _)| known.len() < prefix.len()) =>
                {
                    longest = Some((prefix, *callback));
                }
                _ => {}
            }
        }
        match by_get {
            Some(callback) => Found::Call(callback),
            None if path_known => Found::WrongMethod(self.allowed(path)),
            None => match longest.map(|(_, callback)| callback).or(self.fallback) {
                Some(callback) => Found::Call(callback),
                None => Found::Nothing,
            },
        }
    }

    fn allowed(&self, path: &str) -> String {
        let mut methods: Vec<&str> = Vec::new();
        for route in self.routes {
            if let Kind::Exact(method, exact, _) = &route.0
                && *exact == path
            {
                methods.push(method);
            }
        }
        if methods.contains(&"GET") && !methods.contains(&"HEAD") {
            methods.push("HEAD");
        }
        methods.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Reply, Request, Result};

    fn exact(_: &mut (), _: &Context<'_>, _: &Request<'_>) -> Result {
        Ok("exact".into())
    }

    fn other(_: &mut (), _: &Context<'_>, _: &Request<'_>) -> Result {
        Ok(Reply::new())
    }

    static APP: App<()> = App::new(&[
        Route::get("/a", exact),
        Route::post("/a", other),
        Route::get("/b", other),
        Route::on("HEAD", "/b", exact),
        Route::any("/c", exact),
        Route::prefix("/p/", other),
        Route::prefix("/p/long/", exact),
        Route::get("/p/only", exact),
    ]);

    /// Exact routes come before prefixes, longer prefixes before shorter ones, GET answers HEAD, and 405 is for known
    /// paths only.
    #[test]
    fn lookup() {
        let cases: [(&str, &str, &str); 14] = [
            ("GET", "/a", "exact"),
            ("HEAD", "/a", "exact"),
            ("POST", "/a", "other"),
            ("PUT", "/a", "405 GET, POST, HEAD"),
            ("get", "/a", "405 GET, POST, HEAD"),
            ("HEAD", "/b", "exact"),
            ("POST", "/b", "405 GET, HEAD"),
            ("BREW", "/c", "exact"),
            ("GET", "/p/x", "other"),
            ("DELETE", "/p/long/x", "exact"),
            ("POST", "/p/only", "405 GET, HEAD"),
            ("GET", "/p", "404"),
            ("GET", "/a/", "404"),
            ("OPTIONS", "*", "404"),
        ];
        for (method, path, expected) in cases {
            let seen = match APP.find(method, path) {
                Found::Call(callback) if std::ptr::fn_addr_eq(callback, exact as CallFn<()>) => "exact".to_owned(),
                Found::Call(_) => "other".to_owned(),
                Found::WrongMethod(allow) => format!("405 {allow}"),
                Found::Nothing => "404".to_owned(),
            };
            assert_eq!(seen, expected, "{method} {path}");
        }
    }

    #[test]
    fn a_fallback_takes_unknown_paths_only() {
        static APP: App<()> = App::new(&[Route::get("/a", exact), Route::fallback(other)]);
        assert!(matches!(APP.find("GET", "/x"), Found::Call(_)));
        assert!(matches!(APP.find("POST", "/a"), Found::WrongMethod(_)));
    }
}
