//! Data that logos-delivery has kept in its file.

use core::error::Error;
use core::fmt;
use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use sds_proto::ChannelId;
use sds_proto::wire::Limits;
use sds_proto::wire::nim_snapshot::{ChannelData, Row, RowError};

use super::sqlite::{OpenError, OpenReason};

/// The only version of the table that there has been, kept as `user_version`.
const VERSION: i64 = 1;

/// Of all categories, so that it is for [`ChannelData::from_rows`] to tell which mean something.
const ROWS: &str = "SELECT category, key, payload FROM kv";

/// The channels in a SQLite file of logos-delivery, which is not changed. logos-delivery must have
/// ended.
///
/// All of it is read at once. Each channel becomes a state by
/// [`Snapshot::from_nim_sds`](sds_proto::snapshot::Snapshot::from_nim_sds):
///
/// ```no_run
/// use sds_proto::snapshot::Snapshot;
/// use sds_proto::wire::NimForm;
/// use sds_proto::{Config, Dialect, Instant, Now, UnixMillis, stored};
/// use sds_runtime::Wait;
/// use sds_runtime::store::{self, Sqlite, Store};
///
/// let config = Config::chat().participant_id("alice".into()).seed(42);
/// let config = config.dialect(Dialect::NimSds).nim_form(NimForm::V04).build()?;
/// let now = Now::new(Instant::ZERO, UnixMillis(1_767_225_600_000));
/// let mut records = Sqlite::open("alice.db")?;
/// for (channel, data) in store::read_logos_delivery("persistency.db", &Default::default())? {
///     let state = Snapshot::from_nim_sds(&data, &channel, &config, now);
///     records.write(stored::import(&channel, &state)).wait()?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The file cannot be read, has no such table or one of another version, or holds a row that cannot
/// be read; or an id or content is beyond the `limits`.
pub fn read_logos_delivery(
    path: impl AsRef<Path>,
    limits: &Limits,
) -> Result<BTreeMap<ChannelId, ChannelData>, ImportError> {
    let path = path.as_ref();
    let rows = rows(path).map_err(|reason| {
        let path = path.to_owned();
        ImportError::Open(OpenError { path, reason: OpenReason::from(reason) })
    })?;
    ChannelData::from_rows(rows?, limits).map_err(ImportError::Row)
}

fn rows(path: &Path) -> rusqlite::Result<Result<Vec<Row>, ImportError>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // The contents of a file say nothing that is carried out.
    connection.pragma_update(None, "trusted_schema", false)?;
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found != VERSION {
        return Ok(Err(ImportError::Version { found }));
    }
    let mut query = connection.prepare(ROWS)?;
    let row = |row: &rusqlite::Row<'_>| {
        let column = |index| row.get::<_, Vec<u8>>(index).map(Into::into);
        Ok(Row { category: column(0)?, key: column(1)?, payload: column(2)? })
    };
    query.query_map((), row)?.collect::<rusqlite::Result<_>>().map(Ok)
}

/// A file from which nothing was imported.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ImportError {
    /// It cannot be read, or is no file of logos-delivery.
    Open(OpenError),
    /// Its table is of another version, or it is a file of another program.
    Version {
        /// The version.
        found: i64,
    },
    /// One of its rows cannot be read.
    Row(RowError),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Version { found } => write!(
                f,
                "the table is of version {found}, not {VERSION}: name a file of logos-delivery, or \
                 use a newer release of this library"
            ),
            Self::Row(error) => write!(f, "{error}: nothing was imported"),
        }
    }
}

impl Error for ImportError {}
