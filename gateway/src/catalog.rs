//! Instruments by name and by number, in memory: every request asks for one.

use gollem_engine::{InstrumentId, InstrumentSpec};
use gollem_projections::InstrumentRow;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The listed instruments.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    by_symbol: RwLock<HashMap<String, Arc<InstrumentRow>>>,
}

impl Catalog {
    pub(crate) fn new(rows: Vec<InstrumentRow>) -> Catalog {
        let catalog = Catalog::default();
        for row in rows {
            catalog.add(row.id, row.spec);
        }
        catalog
    }

    pub(crate) fn add(&self, id: InstrumentId, spec: InstrumentSpec) {
        let symbol = spec.symbol.as_str().to_owned();
        let mut map = self.by_symbol.write().unwrap_or_else(PoisonError::into_inner);
        map.insert(symbol, Arc::new(InstrumentRow { id, spec }));
    }

    pub(crate) fn by_symbol(&self, symbol: &str) -> Option<Arc<InstrumentRow>> {
        self.by_symbol.read().unwrap_or_else(PoisonError::into_inner).get(symbol).cloned()
    }

    /// The name of an instrument.
    pub(crate) fn symbol(&self, id: InstrumentId) -> String {
        let named = |row: &&Arc<InstrumentRow>| row.id == id;
        let map = self.by_symbol.read().unwrap_or_else(PoisonError::into_inner);
        map.values().find(named).map(|row| row.spec.symbol.as_str().to_owned()).unwrap_or_default()
    }

    /// All of them in the order of their numbers.
    pub(crate) fn all(&self) -> Vec<Arc<InstrumentRow>> {
        let map = self.by_symbol.read().unwrap_or_else(PoisonError::into_inner);
        let mut rows: Vec<_> = map.values().cloned().collect();
        rows.sort_by_key(|row| row.id);
        rows
    }
}
