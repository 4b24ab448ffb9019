//! A table of columns as an Arrow stream of one batch, for whoever reads those: pandas, polars, pyarrow, databases.
//!
//! Source: the Arrow C data and C stream interfaces, and the names of their capsules, as arrow.apache.org specifies them. It
//! knows nothing of runs.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyList, PyString};
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::Arc;

/// `struct ArrowSchema`.
#[repr(C)]
struct Schema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    children_count: i64,
    children: *mut *mut Schema,
    dictionary: *mut Schema,
    release: Option<unsafe extern "C" fn(*mut Schema)>,
    private: *mut c_void,
}

/// `struct ArrowArray`.
#[repr(C)]
struct Array {
    length: i64,
    null_count: i64,
    offset: i64,
    buffers_count: i64,
    children_count: i64,
    buffers: *mut *const c_void,
    children: *mut *mut Array,
    dictionary: *mut Array,
    release: Option<unsafe extern "C" fn(*mut Array)>,
    private: *mut c_void,
}

/// `struct ArrowArrayStream`.
#[repr(C)]
struct Stream {
    schema: unsafe extern "C" fn(*mut Stream, *mut Schema) -> c_int,
    next: unsafe extern "C" fn(*mut Stream, *mut Array) -> c_int,
    last_error: unsafe extern "C" fn(*mut Stream) -> *const c_char,
    release: Option<unsafe extern "C" fn(*mut Stream)>,
    private: *mut c_void,
}

// SAFETY: what it points to is plain data of our own, which no thread changes.
unsafe impl Send for Stream {}

/// The flag of a column that may have nulls.
const NULLABLE: i64 = 2;

/// What stands in a column: numbers of 64 bits as they are, or texts one behind the other with where each begins.
enum Items {
    Whole(Vec<i64>),
    Real(Vec<f64>),
    Text(Vec<i64>, Vec<u8>),
}

struct Column {
    name: CString,
    format: &'static str,
    items: Items,
    length: usize,
    /// A bit a row: whether there is something.
    present: Vec<u8>,
    nulls: usize,
}

impl Column {
    fn of(name: &str, kind: &str, values: &Bound<'_, PyList>) -> PyResult<Self> {
        let length = values.len();
        let mut present = vec![0u8; length.div_ceil(8)];
        let mut nulls = 0;
        let mut items = match kind {
            "int" | "moment" => Items::Whole(Vec::with_capacity(length)),
            "float" => Items::Real(Vec::with_capacity(length)),
            "text" => Items::Text(vec![0], Vec::new()),
            _ => return Err(PyValueError::new_err(format!("there are no columns of {kind}"))),
        };
        for (row, value) in values.iter().enumerate() {
            let is_there = !value.is_none();
            nulls += usize::from(!is_there);
            present[row / 8] |= u8::from(is_there) << (row % 8);
            match &mut items {
                Items::Whole(all) => all.push(if is_there { value.extract()? } else { 0 }),
                Items::Real(all) => all.push(if is_there { value.extract()? } else { 0.0 }),
                Items::Text(ends, bytes) => {
                    if is_there {
                        bytes.extend_from_slice(value.cast::<PyString>()?.to_string_lossy().as_bytes());
                    }
                    ends.push(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
                }
            }
        }
        let format = match kind {
            "int" => "l",
            "moment" => "tsm:UTC",
            "float" => "g",
            _ => "U",
        };
        Ok(Self { name: CString::new(name)?, format, items, length, present, nulls })
    }

    fn buffers(&self) -> Vec<*const c_void> {
        let present = self.present.as_ptr().cast();
        match &self.items {
            Items::Whole(all) => vec![present, all.as_ptr().cast()],
            Items::Real(all) => vec![present, all.as_ptr().cast()],
            Items::Text(ends, bytes) => vec![present, ends.as_ptr().cast(), bytes.as_ptr().cast()],
        }
    }
}

/// What a schema owns, until it is released.
struct SchemaOwner {
    format: CString,
    name: CString,
    children: Vec<*mut Schema>,
}

fn schema(format: &str, name: CString, flags: i64, children: Vec<Schema>) -> Schema {
    let children = children.into_iter().map(|child| Box::into_raw(Box::new(child))).collect();
    let format = CString::new(format).unwrap_or_default();
    let mut owner = Box::new(SchemaOwner { format, name, children });
    Schema {
        format: owner.format.as_ptr(),
        name: owner.name.as_ptr(),
        metadata: null(),
        flags,
        children_count: owner.children.len() as i64,
        children: owner.children.as_mut_ptr(),
        dictionary: null_mut(),
        release: Some(release_schema),
        private: Box::into_raw(owner).cast(),
    }
}

unsafe extern "C" fn release_schema(schema: *mut Schema) {
    // SAFETY: the caller has a schema of ours that was not released; its owner and its children were boxed above, and a child
    // that somebody moved away has no release any more.
    unsafe {
        for child in Box::from_raw((*schema).private.cast::<SchemaOwner>()).children {
            let mut child = Box::from_raw(child);
            if let Some(release) = child.release {
                release(&raw mut *child);
            }
        }
        (*schema).release = None;
    }
}

/// What an array owns, until it is released.
struct ArrayOwner {
    _columns: Arc<Vec<Column>>,
    buffers: Vec<*const c_void>,
    children: Vec<*mut Array>,
}

fn array(
    columns: &Arc<Vec<Column>>,
    length: usize,
    nulls: usize,
    buffers: Vec<*const c_void>,
    children: Vec<Array>,
) -> Array {
    let children = children.into_iter().map(|child| Box::into_raw(Box::new(child))).collect();
    let mut owner = Box::new(ArrayOwner { _columns: Arc::clone(columns), buffers, children });
    Array {
        length: length as i64,
        null_count: nulls as i64,
        offset: 0,
        buffers_count: owner.buffers.len() as i64,
        children_count: owner.children.len() as i64,
        buffers: owner.buffers.as_mut_ptr(),
        children: owner.children.as_mut_ptr(),
        dictionary: null_mut(),
        release: Some(release_array),
        private: Box::into_raw(owner).cast(),
    }
}

unsafe extern "C" fn release_array(array: *mut Array) {
    // SAFETY: as for a schema.
    unsafe {
        for child in Box::from_raw((*array).private.cast::<ArrayOwner>()).children {
            let mut child = Box::from_raw(child);
            if let Some(release) = child.release {
                release(&raw mut *child);
            }
        }
        (*array).release = None;
    }
}

/// What a stream has still to give.
struct StreamOwner {
    columns: Arc<Vec<Column>>,
    is_through: bool,
}

unsafe extern "C" fn stream_schema(stream: *mut Stream, out: *mut Schema) -> c_int {
    // SAFETY: the caller has a stream of ours that was not released, and room for a schema.
    unsafe {
        let owner = &*(*stream).private.cast::<StreamOwner>();
        let child = |column: &Column| schema(column.format, column.name.clone(), NULLABLE, Vec::new());
        let children = owner.columns.iter().map(child).collect();
        out.write(schema("+s", CString::default(), 0, children));
    }
    0
}

unsafe extern "C" fn stream_next(stream: *mut Stream, out: *mut Array) -> c_int {
    // SAFETY: the caller has a stream of ours that was not released, and room for an array; all zeros is one that was
    // released, which says that there are no more.
    unsafe {
        let owner = &mut *(*stream).private.cast::<StreamOwner>();
        if std::mem::replace(&mut owner.is_through, true) {
            out.write(std::mem::zeroed());
            return 0;
        }
        let columns = &owner.columns;
        let child =
            |column: &Column| array(columns, column.length, column.nulls, column.buffers(), Vec::new());
        let length = columns.first().map_or(0, |column| column.length);
        out.write(array(columns, length, 0, vec![null()], columns.iter().map(child).collect()));
    }
    0
}

unsafe extern "C" fn stream_last_error(_: *mut Stream) -> *const c_char {
    null()
}

unsafe extern "C" fn release_stream(stream: *mut Stream) {
    // SAFETY: the caller has a stream of ours that was not released.
    unsafe {
        drop(Box::from_raw((*stream).private.cast::<StreamOwner>()));
        (*stream).release = None;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // One that somebody took over has no release any more.
        if let Some(release) = self.release {
            // SAFETY: it is ours, and was not released.
            unsafe { release(&raw mut *self) };
        }
    }
}

/// Columns, each as `(name, kind, values)`, as a capsule with a stream. Kinds are `int`, `float`, `text`, and `moment`, in
/// milliseconds since 1970.
#[pyfunction]
pub(crate) fn arrow_stream<'py>(
    py: Python<'py>,
    columns: Vec<(String, String, Bound<'py, PyList>)>,
) -> PyResult<Bound<'py, PyCapsule>> {
    let made = columns.iter().map(|(name, kind, values)| Column::of(name, kind, values));
    let columns = Arc::new(made.collect::<PyResult<Vec<Column>>>()?);
    if columns.iter().any(|column| column.length != columns[0].length) {
        return Err(PyValueError::new_err("columns of one table have as many rows as each other"));
    }
    let stream = Stream {
        schema: stream_schema,
        next: stream_next,
        last_error: stream_last_error,
        release: Some(release_stream),
        private: Box::into_raw(Box::new(StreamOwner { columns, is_through: false })).cast(),
    };
    PyCapsule::new_with_value_and_destructor(py, stream, c"arrow_array_stream", |stream, _| drop(stream))
}
