//! Instruments by name and by number, in memory: every request asks for one.

use gollem_engine::InstrumentId;
use gollem_projections::InstrumentRow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// The listed instruments.
#[derive(Debug, Default)]
pub(crate) struct Catalog(RwLock<Listed>);

#[derive(Debug, Default)]
struct Listed {
    by_symbol: HashMap<String, Arc<InstrumentRow>>,
    by_id: BTreeMap<InstrumentId, Arc<InstrumentRow>>,
}

impl Catalog {
    pub(crate) fn new(rows: Vec<InstrumentRow>) -> Catalog {
        let catalog = Catalog::default();
        for row in rows {
            catalog.add(row);
        }
        catalog
    }

    pub(crate) fn add(&self, row: InstrumentRow) {
        let row = Arc::new(row);
        let mut listed = self.0.write().unwrap_or_else(PoisonError::into_inner);
        listed.by_symbol.insert(row.spec.symbol.as_str().to_owned(), Arc::clone(&row));
        listed.by_id.insert(row.id, row);
    }

    pub(crate) fn by_symbol(&self, symbol: &str) -> Option<Arc<InstrumentRow>> {
        self.read().by_symbol.get(symbol).cloned()
    }

    /// The name of an instrument.
    pub(crate) fn symbol(&self, id: InstrumentId) -> String {
        self.read().by_id.get(&id).map(|row| row.spec.symbol.as_str().to_owned()).unwrap_or_default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Listed> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
