//! Workflows declared in Python: what is declared, a run of it, and the threads that carry its functions out.
//!
//! Python values stay Python objects; the engine sees indices. Engine threads never enter the interpreter: they put
//! attempts into a queue, and threads of Python take them out and hand back what came of them.

pub(crate) mod call;
pub(crate) mod places;
pub(crate) mod plan;
pub(crate) mod queue;
pub(crate) mod kept;
pub(crate) mod ends;
pub(crate) mod record;
pub(crate) mod shared;
pub(crate) mod reuse;
pub(crate) mod seat;
pub(crate) mod total;
pub(crate) mod rerun;
pub(crate) mod session;
pub(crate) mod again;
pub(crate) mod columns;
pub(crate) mod follow;
pub(crate) mod crew;
pub(crate) mod line;
