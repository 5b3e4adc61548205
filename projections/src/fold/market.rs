//! Instruments, depth, the tape and candles.

use super::Fold;
use crate::keys;
use crate::rows::{CANDLE_SECONDS, CandleRow, InstrumentRow, LevelRow, TradeRow};
use crate::store::{StoreError, family};
use gollem_engine::{InstrumentId, InstrumentSpec, InstrumentState, Price, Trade};

impl Fold<'_> {
    pub(super) fn list(&mut self, id: InstrumentId, spec: &InstrumentSpec) -> Result<(), StoreError> {
        spec.check().map_err(|_| StoreError::Impossible)?;
        self.instruments.add(keys::instrument(id), InstrumentRow { id, spec: *spec, state: InstrumentState::Open });
        self.pending.put(family::SYMBOLS, spec.symbol.as_str().as_bytes(), &(id, self.now.at))
    }

    pub(super) fn set_state(&mut self, id: InstrumentId, state: InstrumentState) -> Result<(), StoreError> {
        self.instruments.change_known(self.views, keys::instrument(id))?.state = state;
        Ok(())
    }

    pub(super) fn set_reference_price(&mut self, id: InstrumentId, price: Price) -> Result<(), StoreError> {
        self.instruments.change_known(self.views, keys::instrument(id))?.spec.reference_price = price;
        Ok(())
    }

    pub(super) fn level(&mut self, instrument: InstrumentId, row: LevelRow) -> Result<(), StoreError> {
        let level = self.levels.change(self.views, keys::level(instrument, row.side, row.price))?;
        let before = std::mem::replace(level, Some(row).filter(|row| row.orders > 0));
        self.level_told(instrument, before, row)
    }

    pub(super) fn trade(&mut self, trade: &Trade) -> Result<(), StoreError> {
        let value = trade.price.notional(trade.quantity).unwrap_or_default();
        let seconds = self.now.at.0 / 1_000_000_000;
        for length in CANDLE_SECONDS {
            let start_s = seconds - seconds % u64::from(length);
            let candle = self.candles.change(self.views, keys::candle(trade.instrument, length, start_s))?;
            match candle {
                Some(candle) => candle.add(trade.price, trade.quantity, value),
                None => *candle = Some(CandleRow::of(start_s, trade.price, trade.quantity, value)),
            }
        }
        let row = TradeRow {
            seq: self.now.seq,
            index: self.now.index,
            at: self.now.at,
            contract: trade.contract,
            taker: trade.taker,
            price: trade.price,
            quantity: trade.quantity,
        };
        let key = keys::happened(trade.instrument.0, row.seq, row.index);
        self.pending.put(family::TRADES, &key, &row)?;
        self.fill(trade, value)?;
        self.open_contract(trade, value)
    }
}
