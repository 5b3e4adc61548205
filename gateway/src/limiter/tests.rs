use super::*;
use crate::keys::Scopes;
use crate::routes::ROUTES;

const ORDER: &str = "/v1/orders";
const CANCEL: &str = "/v1/orders/{order}";
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn limiter(default_tier: Tier, flood_per_second: u32) -> Arc<Limiter> {
    Limiter::new(LimiterOptions { default_tier, flood_per_second })
}

fn route(method: &str, path: &str) -> &'static Route {
    ROUTES.iter().find(|route| route.method == method && route.path == path).unwrap()
}

fn payer(limiter: &Limiter, account: u32, own_limit: Option<u32>) -> Payer {
    let caller = Caller { account: Some(AccountId(account)), key: KeyId(1), scopes: Scopes::TRADE };
    limiter.payer(&caller, None, own_limit)
}

#[test]
fn orders_used_up_leave_cancels_and_other_accounts() {
    let limiter = limiter(Tier::Free, 0);
    let (one, other) = (payer(&limiter, 1, None), payer(&limiter, 2, None));
    let (order, cancel) = (route("POST", ORDER), route("DELETE", CANCEL));
    for _ in 0..20 {
        limiter.admit(&one, order).unwrap();
    }
    let refused = limiter.admit(&one, order).expect_err("used up");
    assert_eq!((refused.status.as_u16(), refused.code), (429, "rate_limit_exceeded"));
    assert!((5..=6).contains(&refused.retry_after_s), "one comes back each six seconds: {}", refused.retry_after_s);
    limiter.admit(&one, cancel).unwrap();
    limiter.admit(&other, order).unwrap();
    let left = limiter.allowance(&one, Purse::Ordinary).unwrap().requests;
    assert_eq!((left.limit, left.remaining), (20, 0));
    assert_eq!(limiter.allowance(&one, Purse::Cancel).unwrap().requests.remaining, 19);
}

#[test]
fn a_keys_own_limit_holds_below_that_of_its_account_and_what_the_account_refuses_costs_it_nothing() {
    let limiter = limiter(Tier::Free, 0);
    let (bounded, free) = (payer(&limiter, 1, Some(3)), payer(&limiter, 1, None));
    let order = route("POST", ORDER);
    for _ in 0..3 {
        limiter.admit(&bounded, order).unwrap();
    }
    assert!(limiter.admit(&bounded, order).is_err());
    for _ in 0..17 {
        limiter.admit(&free, order).unwrap();
    }
    assert!(limiter.admit(&free, order).is_err(), "the account's burst of 20 is used up");
    let other = Caller { account: Some(AccountId(1)), key: KeyId(2), scopes: Scopes::TRADE };
    assert!(limiter.admit(&limiter.payer(&other, None, Some(5)), order).is_err());
    assert_eq!(limiter.left_to_key((other.account, other.key), 5, Purse::Ordinary).remaining, 5);
}

#[test]
fn a_keys_own_limit_holds_where_its_account_has_none() {
    let limiter = limiter(Tier::Unlimited, 0);
    let (bounded, free) = (payer(&limiter, 1, Some(3)), payer(&limiter, 1, None));
    let order = route("POST", ORDER);
    for _ in 0..3 {
        limiter.admit(&bounded, order).unwrap();
    }
    assert!(limiter.admit(&bounded, order).is_err());
    limiter.admit(&free, order).unwrap();
    assert_eq!(limiter.allowance(&bounded, Purse::Ordinary).unwrap().requests.remaining, 0);
    assert!(limiter.allowance(&free, Purse::Ordinary).is_none(), "nothing to tell");
}

#[test]
fn an_operators_key_keeps_to_a_limit_of_its_own_and_its_others_have_none() {
    let limiter = limiter(Tier::Free, 0);
    let operator = Caller { account: None, key: KeyId(1), scopes: Scopes::ADMIN };
    let bounded = limiter.payer(&operator, None, Some(3));
    let list = route("POST", "/v1/instruments");
    (0..3).for_each(|_| limiter.admit(&bounded, list).unwrap());
    assert_eq!(limiter.admit(&bounded, list).expect_err("used up").code, "rate_limit_exceeded");
    assert_eq!(limiter.payer(&Caller { key: KeyId(2), ..operator }, None, None), Payer::Unlimited);
    let (one, other) = (payer(&limiter, 1, Some(3)), payer(&limiter, 2, Some(3)));
    (0..3).for_each(|_| limiter.admit(&one, route("POST", ORDER)).unwrap());
    limiter.admit(&other, route("POST", ORDER)).expect("a key of the same number in another account is another");
}

#[test]
fn tokens_are_taken_for_the_worst_case_and_what_was_not_used_comes_back() {
    let limiter = limiter(Tier::Free, 0);
    let account = AccountId(1);
    let taken = limiter.take_tokens(account, Tier::Free, 9_000).unwrap();
    assert_eq!(
        limiter.take_tokens(account, Tier::Free, 2_000).expect_err("1,000 are left").code,
        "rate_limit_exceeded"
    );
    taken.used(100);
    drop(taken);
    let left = limiter.standing(account, Tier::Free.allowed().unwrap()).tokens.remaining;
    assert!((9_900..=10_000).contains(&left), "{left}");
    drop(limiter.take_tokens(account, Tier::Free, 9_900).unwrap());
    let never = limiter.take_tokens(account, Tier::Free, 10_001).expect_err("more than a minute's");
    assert_eq!((never.status.as_u16(), never.code), (400, "tokens_over_tier"));
    drop(limiter.take_tokens(account, Tier::Unlimited, u64::MAX).unwrap());
}

#[test]
fn an_address_is_stopped_at_its_flood_limit_and_its_neighbours_are_not() {
    let limiter = limiter(Tier::Free, 10);
    let public = route("GET", "/health");
    for _ in 0..10 {
        limiter.check_flood(HERE).unwrap();
        limiter.admit(&Payer::Address(HERE), public).unwrap();
    }
    assert_eq!(limiter.check_flood(HERE).expect_err("flooded").code, "rate_limit_exceeded");
    limiter.check_flood("127.0.0.2".parse().unwrap()).unwrap();
    let mapped = "::ffff:127.0.0.1".parse().unwrap();
    assert!(limiter.check_flood(mapped).is_err(), "the same address in other words");
    let [one, same, other] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|text| text.parse().unwrap());
    assert_eq!(network(one), network(same), "one customer has 64 bits");
    assert_ne!(network(one), network(other));
}

#[test]
fn every_call_that_an_account_may_make_fits_the_smallest_tier() {
    let smallest = Tier::Free.allowed().unwrap().burst;
    for route in ROUTES {
        let operators = matches!(route.access, crate::route::Access::Scoped(Scopes::ADMIN));
        assert!(operators || route.weight <= smallest, "{} {}", route.method, route.path);
    }
}
