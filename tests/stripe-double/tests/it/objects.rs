//! Every object is read by async-stripe, which refuses what lacks a required member: it is the client that the gateway
//! has.

use crate::support::{KEY, get, intent, paid, post, provider, start, transfer};
use gollem_stripe_double::Double;
use std::collections::HashMap;
use stripe::{ApiErrorsCode, Client, ClientBuilder, IdempotencyKey, RequestStrategy, StripeError, StripeRequest};
use stripe_connect::account::{CreateAccount, CreateAccountType, RetrieveAccount};
use stripe_connect::account_link::{CreateAccountLink, CreateAccountLinkType};
use stripe_connect::transfer::{CreateTransfer, ListTransfer, RetrieveTransfer};
use stripe_connect::transfer_reversal::CreateIdTransferReversal;
use stripe_core::balance_transaction::{ListBalanceTransaction, RetrieveBalanceTransaction};
use stripe_core::charge::RetrieveCharge;
use stripe_core::customer::{CreateCustomer, RetrieveCustomer, RetrieveCustomerReturned};
use stripe_core::dispute::ListDispute;
use stripe_core::payment_intent::{
    CancelPaymentIntent, CreatePaymentIntent, CreatePaymentIntentAutomaticPaymentMethods,
    CreatePaymentIntentOffSession, ListPaymentIntent, RetrievePaymentIntent,
};
use stripe_core::payout::{CreatePayout, ListPayout, RetrievePayout};
use stripe_core::refund::{CreateRefund, ListRefund, RetrieveRefund};
use stripe_core::{
    BalanceTransactionSource, BalanceTransactionType, DisputeStatus, PaymentIntentSetupFutureUsage,
    PaymentIntentStatus, RefundReason,
};
use stripe_types::{Currency, Expandable, RangeBoundsTs, RangeQueryTs};

fn client(double: &Double) -> Client {
    ClientBuilder::new(KEY).url(double.url()).build().unwrap()
}

fn metadata(name: &str, value: &str) -> HashMap<String, String> {
    HashMap::from([(name.to_owned(), value.to_owned())])
}

#[tokio::test]
async fn customers_and_intents() {
    let double = start();
    let client = client(&double);
    let customer = CreateCustomer::new().email("ada@example.com").metadata(metadata("account", "7"));
    let customer = customer.send(&client).await.unwrap();
    match RetrieveCustomer::new(customer.id.clone()).send(&client).await.unwrap() {
        RetrieveCustomerReturned::Customer(read) => assert_eq!(read.metadata, Some(metadata("account", "7"))),
        RetrieveCustomerReturned::DeletedCustomer(_) => panic!("it was not deleted"),
    }
    let create = CreatePaymentIntent::new(2_500, Currency::USD)
        .customer(customer.id.as_str())
        .metadata(metadata("purchase", "ab cd&=%"))
        .automatic_payment_methods(CreatePaymentIntentAutomaticPaymentMethods::new(true))
        .setup_future_usage(PaymentIntentSetupFutureUsage::OffSession);
    let key = RequestStrategy::Idempotent(IdempotencyKey::new("purchase-7").unwrap());
    let intent = create.customize().request_strategy(key.clone()).send(&client).await.unwrap();
    assert_eq!(intent.status, PaymentIntentStatus::RequiresPaymentMethod);
    assert_eq!(intent.metadata["purchase"], "ab cd&=%");
    assert!(intent.client_secret.is_some());
    let again = create.customize().request_strategy(key).send(&client).await.unwrap();
    assert_eq!(again.id, intent.id);

    double.pay_fails(&intent.id).unwrap();
    let failed = RetrievePaymentIntent::new(intent.id.clone()).send(&client).await.unwrap();
    let error = failed.last_payment_error.unwrap();
    assert!(error.code == Some(ApiErrorsCode::CardDeclined) && error.payment_method.is_some());
    double.pay(&intent.id).unwrap();
    let paid = RetrievePaymentIntent::new(intent.id.clone()).expand(["latest_charge.balance_transaction".to_owned()]);
    let paid = paid.send(&client).await.unwrap();
    assert_eq!((paid.status, paid.amount_received), (PaymentIntentStatus::Succeeded, 2_500));
    let Some(Expandable::Object(charge)) = paid.latest_charge else { panic!("the charge is expanded") };
    let Some(Expandable::Object(entry)) = &charge.balance_transaction else { panic!("and its entry") };
    assert_eq!((entry.amount, entry.fee, entry.net), (2_500, 103, 2_397));
    let charge = RetrieveCharge::new(charge.id.clone()).send(&client).await.unwrap();
    assert!(charge.payment_intent.is_some_and(|id| id.into_id() == intent.id));

    let other = CreatePaymentIntent::new(900, Currency::USD).send(&client).await.unwrap();
    let canceled = CancelPaymentIntent::new(other.id).send(&client).await.unwrap();
    assert!(canceled.status == PaymentIntentStatus::Canceled && canceled.canceled_at.is_some());
    let list = ListPaymentIntent::new().customer(customer.id.as_str()).send(&client).await.unwrap();
    assert_eq!((list.data.len(), list.has_more), (1, false));
}

#[tokio::test]
async fn saved_cards_and_their_declines() {
    let double = start();
    let client = client(&double);
    let customer = CreateCustomer::new().send(&client).await.unwrap().id;
    double.add_method(&customer, "pm_good").unwrap();
    double.add_method(&customer, "pm_declined").unwrap();
    let charge = |method: &str| {
        CreatePaymentIntent::new(1_000, Currency::USD)
            .customer(customer.as_str())
            .payment_method(method)
            .off_session(CreatePaymentIntentOffSession::Bool(true))
            .confirm(true)
    };
    assert_eq!(charge("pm_good").send(&client).await.unwrap().status, PaymentIntentStatus::Succeeded);
    match charge("pm_declined").send(&client).await {
        Err(StripeError::Stripe(error, 402)) => {
            assert_eq!(error.code, Some(ApiErrorsCode::CardDeclined));
            assert_eq!(error.decline_code.as_deref(), Some("generic_decline"));
            assert_eq!(error.payment_intent.unwrap().status, PaymentIntentStatus::RequiresPaymentMethod);
        }
        other => panic!("{other:?}"),
    }
    match charge("pm_stranger").send(&client).await {
        Err(StripeError::Stripe(error, 400)) => assert_eq!(error.param.as_deref(), Some("payment_method")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn refunds_and_disputes() {
    let double = start();
    let client = client(&double);
    let intent = paid(&double, 3_000).await;
    let refund = CreateRefund::new()
        .payment_intent(intent.as_str())
        .amount(500)
        .reason(RefundReason::RequestedByCustomer.as_str().parse::<stripe_core::refund::CreateRefundReason>().unwrap())
        .metadata(metadata("refund", "1"));
    let refund = refund.send(&client).await.unwrap();
    assert_eq!((refund.amount, refund.status.as_deref()), (500, Some("succeeded")));
    double.fail_refund(&refund.id).unwrap();
    let failed = RetrieveRefund::new(refund.id.clone()).send(&client).await.unwrap();
    assert!(failed.status.as_deref() == Some("failed") && failed.failure_balance_transaction.is_some());
    let list = ListRefund::new().payment_intent(intent.as_str()).send(&client).await.unwrap();
    assert_eq!(list.data.len(), 1);

    let dispute = double.dispute(&intent, 3_000).unwrap();
    double.close_dispute(&dispute, true).unwrap();
    let list = ListDispute::new().payment_intent(intent.as_str()).send(&client).await.unwrap();
    assert_eq!((list.data[0].amount, &list.data[0].status), (3_000, &DisputeStatus::Won));
    assert_eq!(list.data[0].balance_transactions.len(), 2);
}

#[tokio::test]
async fn connected_accounts_transfers_and_payouts() {
    let double = start();
    let client = client(&double);
    double.top_up(10_000).unwrap();
    let account = CreateAccount::new().type_(CreateAccountType::Express).country("US").metadata(metadata("p", "3"));
    let account = account.send(&client).await.unwrap();
    assert_eq!((account.payouts_enabled, account.details_submitted), (Some(false), Some(false)));
    let link = CreateAccountLink::new(account.id.as_str(), CreateAccountLinkType::AccountOnboarding)
        .refresh_url("http://127.0.0.1/again")
        .return_url("http://127.0.0.1/done");
    assert!(link.send(&client).await.unwrap().url.starts_with(double.url()));
    double.onboard(&account.id).unwrap();
    let read = RetrieveAccount::new(account.id.clone()).send(&client).await.unwrap();
    assert_eq!((read.payouts_enabled, read.details_submitted), (Some(true), Some(true)));

    let transfer = CreateTransfer::new(Currency::USD, account.id.as_str())
        .amount(4_000)
        .transfer_group("week_1")
        .metadata(metadata("payout", "9"));
    let transfer = transfer.send(&client).await.unwrap();
    let reversal = CreateIdTransferReversal::new(transfer.id.clone()).amount(1_000).send(&client).await.unwrap();
    assert_eq!(reversal.transfer.id(), &transfer.id);
    let read = RetrieveTransfer::new(transfer.id.clone()).send(&client).await.unwrap();
    assert_eq!((read.amount_reversed, read.reversed, read.reversals.data.len()), (1_000, false, 1));
    let list = ListTransfer::new().transfer_group("week_1").send(&client).await.unwrap();
    assert_eq!(list.data[0].metadata, metadata("payout", "9"));

    let payout = CreatePayout::new(3_000, Currency::USD).metadata(metadata("payout", "9"));
    let payout = payout.customize().account_id(account.id.clone()).send(&client).await.unwrap();
    assert_eq!(payout.status, "pending");
    double.pay_out(&payout.id).unwrap();
    double.fail_payout(&payout.id).unwrap();
    let read = RetrievePayout::new(payout.id.clone()).customize().account_id(account.id.clone());
    let read = read.send(&client).await.unwrap();
    assert!(read.status == "failed" && read.failure_code.is_some() && read.failure_balance_transaction.is_some());
    let list = ListPayout::new().customize().account_id(account.id.clone()).send(&client).await.unwrap();
    assert_eq!(list.data.len(), 1);
    let theirs = ListBalanceTransaction::new().expand(["data.source".to_owned()]);
    let theirs = theirs.customize().account_id(account.id.clone()).send(&client).await.unwrap();
    assert_eq!(theirs.data.len(), 4);
}

/// One of each kind of balance transaction, with its source in full.
#[tokio::test]
async fn balance_transactions_with_their_sources() {
    let double = start();
    let client = client(&double);
    let (_, first) = intent(&double, 5_000).await;
    double.pay(&first).unwrap();
    let refund = double.refund(&first, 100).unwrap();
    double.fail_refund(&refund).unwrap();
    let dispute = double.dispute(&first, 200).unwrap();
    double.close_dispute(&dispute, true).unwrap();
    double.top_up(5_000).unwrap();
    let account = provider(&double).await;
    let sent = transfer(&double, &account, 500).await.id();
    double.reverse_transfer(&sent, 100).unwrap();

    let since = RangeQueryTs::Bounds(RangeBoundsTs { gt: None, gte: Some(0), lt: Some(i64::MAX), lte: None });
    let list = ListBalanceTransaction::new().created(since).limit(3).expand(["data.source".to_owned()]);
    let pages = list.paginate().stream(&client);
    let entries: Vec<_> = futures_util::TryStreamExt::try_collect(pages).await.unwrap();
    let told: Vec<(BalanceTransactionType, i64, &str)> =
        entries.iter().map(|entry| (entry.type_.clone(), entry.amount, source(entry.source.as_ref()))).collect();
    use BalanceTransactionType::{Adjustment, Charge, Refund, RefundFailure, Topup, Transfer, TransferRefund};
    assert_eq!(
        told,
        [
            (TransferRefund, 100, "transfer_reversal"),
            (Transfer, -500, "transfer"),
            (Topup, 5_000, "topup"),
            (Adjustment, 200, "dispute"),
            (Adjustment, -200, "dispute"),
            (RefundFailure, 100, "refund"),
            (Refund, -100, "refund"),
            (Charge, 5_000, "charge"),
        ]
    );
    let Some(Expandable::Object(charge)) = &entries[7].source else { panic!("it is expanded") };
    let BalanceTransactionSource::Charge(charge) = charge.as_ref() else { panic!("it is a charge") };
    assert_eq!(charge.payment_intent.as_ref().unwrap().id().as_str(), first);
    let one = RetrieveBalanceTransaction::new(entries[7].id.clone()).send(&client).await.unwrap();
    assert_eq!((one.fee, one.fee_details.len()), (175, 1));
    assert!(matches!(one.source, Some(Expandable::Id(_))));
    let typed = ListBalanceTransaction::new().type_("adjustment").send(&client).await.unwrap();
    assert_eq!(typed.data.len(), 2);
}

fn source(source: Option<&Expandable<BalanceTransactionSource>>) -> &'static str {
    match source {
        Some(Expandable::Object(object)) => match object.as_ref() {
            BalanceTransactionSource::Charge(_) => "charge",
            BalanceTransactionSource::Refund(_) => "refund",
            BalanceTransactionSource::Dispute(_) => "dispute",
            BalanceTransactionSource::Transfer(_) => "transfer",
            BalanceTransactionSource::TransferReversal(_) => "transfer_reversal",
            BalanceTransactionSource::Topup(_) => "topup",
            _ => "another",
        },
        _ => "an id",
    }
}

#[tokio::test]
async fn errors_are_read_with_their_codes() {
    let double = start();
    let client = client(&double);
    let missing = RetrievePaymentIntent::new("pi_none").send(&client).await;
    assert!(
        matches!(missing, Err(StripeError::Stripe(error, 404)) if error.code == Some(ApiErrorsCode::ResourceMissing))
    );
    let account = provider(&double).await;
    let short = CreateTransfer::new(Currency::USD, account.as_str()).amount(1).send(&client).await;
    assert!(
        matches!(short, Err(StripeError::Stripe(error, 400)) if error.code == Some(ApiErrorsCode::BalanceInsufficient))
    );
    let stranger = ClientBuilder::new("sk_wrong").url(double.url()).build().unwrap();
    let refused = ListDispute::new().send(&stranger).await;
    assert!(matches!(refused, Err(StripeError::Stripe(_, 401))));
    assert_eq!(get(&double, "/v1/disputes").send().await.status, 200);
    let reused = post(&double, "/v1/customers", "name=a").key("k").send().await;
    assert_eq!(reused.status, 200);
    let other = CreateCustomer::new().name("b").customize();
    let key = RequestStrategy::Idempotent(IdempotencyKey::new("k").unwrap());
    let refused = other.request_strategy(key).send(&client).await;
    assert!(matches!(refused, Err(StripeError::Stripe(_, 400))), "{refused:?}");
}
