//! Preparation of the rows.

use core::cell::OnceCell;
use std::path::PathBuf;
use std::rc::Rc;

use tempfile::TempDir;

use super::js::Js;
use super::stream::{Recipe, Spoken, Stream};
use crate::cores::Cores;

/// Messages after which the log evicts and the filter has rolled.
pub(crate) const WARM_UP: usize = 12_000;
/// Messages received after that.
pub(crate) const RECEIVED: usize = 8_000;
/// Messages received in reverse: as many as a log has room for.
pub(crate) const REVERSED: u32 = 10_000;
/// A log of `@waku/sds` is sorted anew for each message: with more of them it takes minutes.
const JS_MESSAGES: u32 = 1_000;

/// Streams and programs, made when the first row asks.
pub(crate) struct Setup {
    pub(crate) cores: Rc<Cores>,
    pub(crate) quick: bool,
    folder: TempDir,
    nim: OnceCell<Rc<Stream>>,
    js: OnceCell<Rc<JsSetup>>,
}

/// `@waku/sds`, and what it receives.
pub(crate) struct JsSetup {
    pub(crate) js: Js,
    pub(crate) stream: Stream,
    pub(crate) in_order: PathBuf,
    pub(crate) reversed: PathBuf,
}

impl Setup {
    /// # Errors
    ///
    /// There is no room for temporary files.
    pub(crate) fn new(cores: Cores, quick: bool) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("sds-compare")?;
        let (nim, js) = (OnceCell::new(), OnceCell::new());
        Ok(Self { cores: Rc::new(cores), quick, folder, nim, js })
    }

    /// The stream of the receiving rows.
    pub(crate) fn nim(&self) -> anyhow::Result<Rc<Stream>> {
        cached(&self.nim, || Recipe::plain(Spoken::NimSds, (WARM_UP + RECEIVED) as u32).make())
    }

    pub(crate) fn js(&self) -> anyhow::Result<Rc<JsSetup>> {
        cached(&self.js, || {
            let js = Js::install()?;
            let stream = Recipe::plain(Spoken::Lip109, JS_MESSAGES).make()?;
            let in_order = self.file("lip109", &stream)?;
            let reversed = self.file("lip109-reversed", &stream.reversed())?;
            Ok(JsSetup { js, stream, in_order, reversed })
        })
    }

    pub(crate) fn file(&self, name: &str, stream: &Stream) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join(name);
        stream.write(&path)?;
        Ok(path)
    }
}

fn cached<T>(
    cell: &OnceCell<Rc<T>>,
    make: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<Rc<T>> {
    if let Some(made) = cell.get() {
        return Ok(Rc::clone(made));
    }
    let made = Rc::new(make()?);
    Ok(Rc::clone(cell.get_or_init(|| made)))
}
