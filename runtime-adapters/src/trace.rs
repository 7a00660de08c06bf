//! Events of a driver for subscribers of `tracing`. Without the feature of that name they are not
//! compiled.

/// An event: tracing's macro of that level, and what it takes.
macro_rules! event {
    ($level:ident, $($what:tt)+) => {
        #[cfg(feature = "tracing")]
        ::tracing::$level!(target: "sds_runtime", $($what)+);
    };
}

/// A [`Span`]: tracing's macro for one, and what it takes.
macro_rules! span {
    ($span:ident, $($what:tt)+) => {
        $crate::trace::Span {
            #[cfg(feature = "tracing")]
            span: ::tracing::$span!(target: "sds_runtime", $($what)+),
        }
    };
}

pub(crate) use {event, span};

/// The life of a driver, or one write of its store: what happens belongs to it.
#[derive(Debug)]
pub(crate) struct Span {
    #[cfg(feature = "tracing")]
    pub(crate) span: ::tracing::Span,
}

impl Span {
    pub(crate) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        let _within = self.span.enter();
        work()
    }
}
