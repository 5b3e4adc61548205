//! How long providers take to their first token, as the gateway measured it since its start. The engine's moving average
//! decides; this is for people who watch.

use gollem_engine::AccountId;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Longest time told apart, in milliseconds: no call takes longer.
const TIME_MS_MAX: u64 = 600_000;
/// Providers remembered; further ones are not.
const PROVIDERS_MAX: usize = 1_000;

/// First-token times by provider.
#[derive(Debug, Default)]
pub(crate) struct ProviderTimes(Mutex<BTreeMap<AccountId, Histogram<u64>>>);

impl ProviderTimes {
    /// Counts one delivery in.
    pub(crate) fn record(&self, provider: AccountId, first_token_ms: u32) {
        let mut providers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !providers.contains_key(&provider) {
            let Ok(empty) = Histogram::new_with_max(TIME_MS_MAX, 2) else { return };
            if providers.len() >= PROVIDERS_MAX {
                return;
            }
            providers.insert(provider, empty);
        }
        if let Some(times) = providers.get_mut(&provider) {
            times.saturating_record(first_token_ms.into());
        }
    }

    /// All of them now, in milliseconds.
    pub(crate) fn all(&self) -> Vec<(AccountId, Histogram<u64>)> {
        let providers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        providers.iter().map(|(provider, times)| (*provider, times.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_has_its_own_times_and_there_is_a_bound_on_providers() {
        let times = ProviderTimes::default();
        for ms in [100, 200, 1_000_000] {
            times.record(AccountId(1), ms);
        }
        for provider in 2..2_000 {
            times.record(AccountId(provider), 5);
        }
        let all = times.all();
        assert_eq!(all.len(), PROVIDERS_MAX);
        let (provider, first) = &all[0];
        assert_eq!((*provider, first.len(), first.value_at_quantile(0.3)), (AccountId(1), 3, 100));
    }
}
