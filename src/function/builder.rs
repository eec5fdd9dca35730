//! A table from a chain of methods, where hooks and options are no routes.

use crate::function::app::App;
use crate::function::callback::{CallFn, HookFn, ObserveFn, ThawFn};
use crate::function::caller_clock::TimeFormat;
use crate::function::route::{Kind, Route};
use crate::function::table;

/// The rows that a builder holds. A larger table is a slice, for [`App::new`].
const ROWS_MAX: usize = 32;

/// Makes an [`App`] row by row, in a `static` or `const`. [`App::builder`] begins one.
///
/// ```
/// use fc_hooks::{App, Context, Reply, Request, Result};
///
/// struct Shop {
///     stock: Vec<String>,
/// }
///
/// fn load(shop: &mut Shop, _: &Context) -> Result {
///     shop.stock.push("tea".to_owned());
///     Ok("ready".into())
/// }
///
/// fn list(shop: &mut Shop, _: &Context, _: &Request) -> Result {
///     Reply::json(&shop.stock)
/// }
///
/// static APP: App<Shop> = App::builder()
///     .initialize(load)
///     .get("/stock", list)
///     .health_path("/health")
///     .build();
/// ```
///
/// Closures know the state if it is named: `App::<Shop>::builder()`. Every method checks its row as [`App::new`] does,
/// at compile time; so the compiler points at the call that is wrong.
pub struct AppBuilder<S: 'static> {
    rows: [Route<S>; ROWS_MAX],
    count: usize,
}

impl<S> App<S> {
    /// Begins a table without rows.
    pub const fn builder() -> AppBuilder<S> {
        AppBuilder { rows: [Route(Kind::Vacant); ROWS_MAX], count: 0 }
    }
}

/// One method for each constructor of [`Route`].
macro_rules! methods {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {
        impl<S> AppBuilder<S> {
            $(
                #[doc = concat!("As the row [`Route::", stringify!($name), "`].")]
                #[track_caller]
                pub const fn $name(self, $($argument: $kind),*) -> AppBuilder<S> {
                    self.route(Route::$name($($argument),*))
                }
            )*
        }
    };
}

methods! {
    initialize(callback: HookFn<S>);
    pre_freeze(callback: HookFn<S>);
    pre_stop(callback: HookFn<S>);
    on_thaw(callback: ThawFn<S>);
    invoke(callback: CallFn<S>);
    on(method: &'static str, path: &'static str, callback: CallFn<S>);
    get(path: &'static str, callback: CallFn<S>);
    post(path: &'static str, callback: CallFn<S>);
    put(path: &'static str, callback: CallFn<S>);
    patch(path: &'static str, callback: CallFn<S>);
    delete(path: &'static str, callback: CallFn<S>);
    any(path: &'static str, callback: CallFn<S>);
    prefix(path: &'static str, callback: CallFn<S>);
    fallback(callback: CallFn<S>);
    health_path(path: &'static str);
    require_control_path();
    caller_clock(header: &'static str, format: TimeFormat);
    observe_hooks(observer: ObserveFn<S>);
    show_errors();
}

impl<S> AppBuilder<S> {
    /// Adds a row that was made elsewhere.
    ///
    /// # Panics
    /// In a `static` or `const` it is a compile error if the row does not fit, see [`App::new`], or if it is the 33rd.
    #[track_caller]
    pub const fn route(mut self, row: Route<S>) -> AppBuilder<S> {
        assert!(self.count < ROWS_MAX, "fc-hooks: a builder holds 32 rows; give a larger table to App::new as a slice");
        self.rows[self.count] = row;
        self.count += 1;
        table::check_row(self.rows.split_at(self.count).0, self.count - 1);
        self
    }

    /// The function. In a `static` or `const` the compiler keeps the builder for it.
    pub const fn build(&'static self) -> App<S> {
        App::new(self.rows.split_at(self.count).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::app::Found;
    use crate::{Context, Request, Result};

    fn call(_: &mut u8, _: &Context<'_>, _: &Request<'_>) -> Result {
        Ok(().into())
    }

    static APP: App<u8> = App::<u8>::builder()
        .initialize(|_, _| Ok(().into()))
        .pre_freeze(|_, _| Ok(().into()))
        .pre_stop(|_, _| Ok(().into()))
        .on_thaw(|_, _, _| Ok(()))
        .invoke(call)
        .get("/a", call)
        .post("/a", call)
        .prefix("/p/", |served, _, _| Ok(served.to_string().into()))
        .health_path("/health")
        .require_control_path()
        .caller_clock("x-request-start", TimeFormat::UnixMillis)
        .observe_hooks(|_, _, _, _| {})
        .show_errors()
        .build();

    #[test]
    fn a_builder_makes_the_whole_table() {
        for &hook in crate::Hook::ALL {
            assert!(APP.hook(hook).is_some(), "{}", hook.name());
        }
        assert!(APP.on_thaw.is_some() && APP.invoke.is_some() && APP.observer.is_some());
        assert!(APP.control_path_required && APP.errors_shown && APP.caller_clock.is_some());
        assert_eq!(APP.health_path, Some("/health"));
        for (method, path, found) in
            [("GET", "/a", true), ("POST", "/a", true), ("GET", "/p/x", true), ("GET", "/b", false)]
        {
            assert_eq!(matches!(APP.find(method, path), Found::Call(_)), found, "{method} {path}");
        }
    }
}
