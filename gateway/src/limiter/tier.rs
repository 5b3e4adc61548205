//! The tiers of accounts: how much of the exchange each may use.

/// An account's tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// 10 requests a minute.
    Free,
    /// 60 requests a minute.
    Basic,
    /// 300 requests a minute.
    Pro,
    /// 1,000 requests a minute.
    Enterprise,
    /// No limit but the exchange's own: for an exchange that is played with, measured or used by its owner alone.
    Unlimited,
}

/// What a tier allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Requests a minute in the long run.
    pub per_minute: u32,
    /// Requests in an hour that begins with its first.
    pub per_hour: u32,
    /// Requests in a day that begins with its first.
    pub per_day: u32,
    /// Tokens of inference a minute, and at once.
    pub tokens_per_minute: u32,
    /// Requests at once after a quiet time.
    pub burst: u32,
    /// Calls of inference in flight.
    pub concurrent: u32,
}

impl Tier {
    /// All of them.
    pub const ALL: [Tier; 5] = [Tier::Free, Tier::Basic, Tier::Pro, Tier::Enterprise, Tier::Unlimited];

    /// Its numbers; `None` where there are none.
    pub const fn allowed(self) -> Option<Allowed> {
        let (per_minute, per_hour, per_day, tokens_per_minute, burst, concurrent) = match self {
            Tier::Free => (10, 100, 1_000, 10_000, 20, 2),
            Tier::Basic => (60, 1_000, 10_000, 100_000, 100, 5),
            Tier::Pro => (300, 10_000, 100_000, 500_000, 500, 20),
            Tier::Enterprise => (1_000, 50_000, 500_000, 2_000_000, 2_000, 100),
            Tier::Unlimited => return None,
        };
        Some(Allowed { per_minute, per_hour, per_day, tokens_per_minute, burst, concurrent })
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Tier::Free => "free",
            Tier::Basic => "basic",
            Tier::Pro => "pro",
            Tier::Enterprise => "enterprise",
            Tier::Unlimited => "unlimited",
        }
    }

    /// The tier of that name.
    pub fn from_name(name: &str) -> Option<Tier> {
        Tier::ALL.into_iter().find(|tier| tier.name() == name)
    }
}
